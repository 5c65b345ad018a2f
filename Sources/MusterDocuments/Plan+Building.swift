extension Plan {
    /// What a host of this platform does with a document and these parameters.
    ///
    /// `values` are checked and completed here once more: a host takes nobody's word for it. `plugins` are those the host has; nil
    /// stands for all that exist on its platform.
    package static func build(
        document: Document, values: [String: DocumentValue], platform: Platform = .linux, plugins: Set<String>? = nil
    ) throws(DocumentError) -> Plan {
        let bindings = try ParameterBindings(delivered: values, for: document)
        let template = Template(values: bindings.values)
        let bytes = document.steps.reduce(0) { sum, step in
            let operands: [DocumentValue] =
                if case .equal(let left, let right)? = step.precondition { [.string(left), .string(right)] } else { [] }
            return sum + template.size(of: .array([.object(step.inputs), step.settings] + operands))
        }
        guard bytes <= maximumBytes else {
            throw DocumentError(
                .size, "With the parameters in place the steps are \(bytes) bytes; they may be \(maximumBytes).")
        }
        let last = document.steps.count - 1
        var items: [Item] = []
        for (index, step) in document.steps.enumerated() {
            items.append(
                item(step, of: document, values: bindings.values, platform: platform, plugins: plugins, isLast: index == last))
        }
        return Plan(items: items)
    }

    /// What the steps may have with their parameters in place. A little more than a document and its parameters, since JSON's own
    /// signs are counted differently.
    package static let maximumBytes = DocumentDecoder.maximumBytes * 2

    private static func item(
        _ step: Step, of document: Document, values: [String: DocumentValue], platform: Platform, plugins: Set<String>?, isLast: Bool
    ) -> Item {
        let kind = PluginKind(rawValue: step.action)
        let isScript = kind?.isScript ?? false
        let template = Template(values: values)
        var inputs: DocumentValue
        var flow: FlowControl?
        var readiness = readiness(of: step, document, template: template, platform: platform, plugins: plugins)

        if isScript {
            // Such a parameter stays out of the script's text, where it would be read as code.
            let asData = document.parameters.values.filter { $0.interpolation == .environmentVariable }
            inputs = Template(values: values.filter { value in !asData.contains { $0.name == value.key } }).resolve(.object(step.inputs))
            inputs = inputs.adding(
                environment: asData.compactMap { definition in
                    values[definition.name].map { (definition.environmentName, $0) }
                })
        } else {
            inputs = template.resolve(.object(step.inputs))
        }
        var timeoutSeconds = ScriptInputs.defaultTimeoutSeconds
        do {
            flow = try FlowControl(inputs.object ?? [:], isLast: isLast, isTemplate: false, at: "inputs")
            if isScript, readiness == .ready {
                let script = try ScriptInputs(inputs)
                timeoutSeconds = script.timeoutSeconds
                if kind == .runShellScript { _ = try script.absoluteWorkingDirectory() }
            } else {
                timeoutSeconds = ScriptInputs.timeoutSeconds(inputs[caseInsensitive: "timeoutSeconds"])
            }
        } catch {
            if readiness == .ready { readiness = .refused(reason: "Step failed: invalid inputs: \(error)") }
        }
        return Item(
            name: step.name, action: step.action, inputs: inputs, settings: template.resolve(step.settings), readiness: readiness,
            onFailure: flow?.onFailure ?? .goOn, onSuccess: flow?.onSuccess ?? .goOn, isFinally: flow?.isFinally ?? false,
            timeoutSeconds: timeoutSeconds)
    }

    private static func readiness(
        of step: Step, _ document: Document, template: Template, platform: Platform, plugins: Set<String>?
    ) -> Item.Readiness {
        guard let kind = PluginKind(rawValue: step.action) else {
            return .refused(reason: "Step failed: unknown plugin \(step.action).")
        }
        switch step.precondition?.evaluate(template: template, platform: platform) {
        case nil, .met?: break
        case .unmet(let reason)?: return .skipped(reason: reason)
        case .malformed(let reason)?: return .refused(reason: reason)
        }
        guard kind.platforms.contains(platform) else {
            let reason = "plugin \(step.action) does not exist on \(platform)."
            return document.schemaVersion.hasPreconditions
                ? .skipped(reason: "Step skipped: \(reason)") : .refused(reason: "Step failed: \(reason)")
        }
        guard plugins?.contains(step.action) ?? true else {
            return .refused(reason: "Step failed: this agent does not serve plugin \(step.action).")
        }
        return .ready
    }
}

extension DocumentValue {
    package subscript(caseInsensitive key: String) -> DocumentValue? {
        object?.first { $0.key.lowercased() == key.lowercased() }?.value
    }

    /// Inputs with more environment variables; those given here win.
    fileprivate func adding(environment variables: [(String, DocumentValue)]) -> DocumentValue {
        guard !variables.isEmpty, case .object(var members) = self else { return self }
        let key = members.keys.first { $0.lowercased() == "environment" } ?? "environment"
        switch members[key] {
        case nil, .null?: members[key] = .object([:])
        case .object?: break
        default: return self  // Malformed, and refused as such.
        }
        guard case .object(var environment)? = members[key] else { return self }
        for (name, value) in variables { environment[name] = value }
        members[key] = .object(environment)
        return .object(members)
    }
}
