/// Turns JSON into a `Document` that is right in every respect, or says what is wrong with it and where.
///
/// https://docs.aws.amazon.com/systems-manager/latest/userguide/documents-syntax-data-elements-parameters.html
package enum DocumentDecoder {
    package static let maximumBytes = 65_536

    package static func decode(json: [UInt8]) throws(DocumentError) -> Document {
        guard json.count <= maximumBytes else {
            throw DocumentError(.size, "The document is \(json.count) bytes; it may be \(maximumBytes).")
        }
        return try document(try DocumentValue(json: json))
    }

    package static func decode(_ value: DocumentValue) throws(DocumentError) -> Document {
        guard !value.isTooDeep else {
            throw DocumentError(.content, "Nested more than \(DocumentValue.maximumDepth) levels deep.")
        }
        let bytes = value.json.utf8.count
        guard bytes <= maximumBytes else {
            throw DocumentError(.size, "The document is \(bytes) bytes; it may be \(maximumBytes).")
        }
        return try document(value)
    }

    private static func document(_ content: DocumentValue) throws(DocumentError) -> Document {
        guard let members = content.object else {
            throw DocumentError(.content, "A document is a JSON object, and this is \(content.kind).")
        }
        guard let versionText = members["schemaVersion"] else {
            throw DocumentError(.schemaVersion, at: "schemaVersion", "Missing. Use the string \"2.2\".")
        }
        guard let version = versionText.string.flatMap(SchemaVersion.init(rawValue:)) else {
            let known = SchemaVersion.allCases.map { "\"\($0)\"" }.joined(separator: ", ")
            throw DocumentError(.schemaVersion, at: "schemaVersion", "Must be one of the strings \(known).")
        }
        let body = version == .v12 ? "runtimeConfig" : "mainSteps"
        guard members["files"] == nil else {
            throw DocumentError(.content, at: "files", "Attachments are not served yet; remove this member.")
        }
        try refuseUnknown(members, besides: ["schemaVersion", "description", "parameters", body], at: "")

        let description = try optionalString(members["description"], at: "description") ?? ""
        var parameters: [String: ParameterDefinition] = [:]
        if let given = members["parameters"], given != .null {
            guard let definitions = given.object else {
                throw DocumentError(.content, at: "parameters", "Must be an object, and is \(given.kind).")
            }
            for (name, definition) in definitions.sorted(by: { $0.key < $1.key }) {
                parameters[name] = try parameter(name, definition, version: version.rawValue, hasEnvironment: version == .v22)
            }
        }
        guard let work = members[body] else {
            throw DocumentError(.content, at: body, "Missing; a document of schema \(version) needs it.")
        }
        let steps =
            try version == .v12
            ? stepsOfRuntimeConfiguration(work, parameters: parameters)
            : mainSteps(work, version: version, parameters: parameters)
        return Document(
            schemaVersion: version, description: description, parameters: parameters, steps: steps, content: content)
    }

    // MARK: Parameters

    static func parameter(
        _ name: String, _ value: DocumentValue, version: String, hasEnvironment: Bool
    ) throws(DocumentError) -> ParameterDefinition {
        guard ParameterDefinition.isName(name) else {
            throw DocumentError(
                .content, at: "parameters", "A parameter's name is 1 to 128 letters and digits; '\(name.prefix(140))' is not.")
        }
        let path = "parameters.\(name)"
        guard let members = value.object else { throw DocumentError(.content, at: path, "Must be an object, and is \(value.kind).") }
        try refuseUnknown(
            members,
            besides: [
                "type", "description", "default", "allowedValues", "allowedPattern", "displayType", "minItems", "maxItems", "minChars",
                "maxChars", "interpolationType",
            ], at: path)
        let kinds = ParameterDefinition.Kind.allCases.map(\.rawValue).joined(separator: ", ")
        guard let kind = members["type"]?.string.flatMap(ParameterDefinition.Kind.init(rawValue:)) else {
            throw DocumentError(.content, at: "\(path).type", "Must be one of \(kinds).")
        }
        var pattern: Pattern?
        if let text = try optionalString(members["allowedPattern"], at: "\(path).allowedPattern"), !text.isEmpty {
            do {
                pattern = try Pattern(text)
            } catch {
                throw DocumentError(.content, at: "\(path).allowedPattern", error.description)
            }
        }
        var allowedValues: [DocumentValue] = []
        if let given = members["allowedValues"] {
            guard case .array(let values) = given, !values.isEmpty else {
                throw DocumentError(.content, at: "\(path).allowedValues", "Must be a list with at least one value.")
            }
            allowedValues = values
        }
        let displayType = try optionalString(members["displayType"], at: "\(path).displayType")
        guard displayType == nil || displayType == "textfield" || displayType == "textarea" else {
            throw DocumentError(.content, at: "\(path).displayType", "Must be textfield or textarea.")
        }
        var interpolation = ParameterDefinition.Interpolation.text
        switch try optionalString(members["interpolationType"], at: "\(path).interpolationType") {
        case nil: break
        case "ENV_VAR":
            guard kind == .string else {
                throw DocumentError(.content, at: "\(path).interpolationType", "ENV_VAR is for parameters of type String.")
            }
            guard hasEnvironment else {
                throw DocumentError(.content, at: "\(path).interpolationType", "ENV_VAR needs schema 2.2; this document is \(version).")
            }
            interpolation = .environmentVariable
        default: throw DocumentError(.content, at: "\(path).interpolationType", "The only type is ENV_VAR.")
        }

        func definition(default defaultValue: DocumentValue?) throws(DocumentError) -> ParameterDefinition {
            ParameterDefinition(
                name: name, kind: kind, description: try optionalString(members["description"], at: "\(path).description") ?? "",
                defaultValue: defaultValue, allowedValues: allowedValues, allowedPattern: pattern, displayType: displayType,
                minimumItems: try count(members["minItems"], at: "\(path).minItems"),
                maximumItems: try count(members["maxItems"], at: "\(path).maxItems"),
                minimumCharacters: try count(members["minChars"], at: "\(path).minChars"),
                maximumCharacters: try count(members["maxChars"], at: "\(path).maxChars"), interpolation: interpolation)
        }
        let bare = try definition(default: nil)
        guard var given = members["default"], given != .null else { return bare }
        do {
            // Numbers and booleans are often written as text.
            if kind == .integer || kind == .boolean, let text = given.string { given = try bare.value(from: [text]) }
            try bare.check(given)
        } catch {
            throw DocumentError(.content, at: "\(path).default", error.reason)
        }
        return try definition(default: given)
    }

    private static func count(_ value: DocumentValue?, at path: String) throws(DocumentError) -> Int? {
        guard let value else { return nil }
        let count = value.integer ?? value.string.flatMap { Int64($0) }
        guard let count, count >= 0, count <= Int64(Int32.max) else {
            throw DocumentError(.content, at: path, "Must be a whole number, 0 or more.")
        }
        return Int(count)
    }

    // MARK: Steps

    private static func mainSteps(
        _ value: DocumentValue, version: SchemaVersion, parameters: [String: ParameterDefinition]
    ) throws(DocumentError) -> [Step] {
        guard case .array(let elements) = value, !elements.isEmpty else {
            throw DocumentError(.content, at: "mainSteps", "Must be a list with at least one step.")
        }
        var steps: [Step] = []
        var names: Set<StepName> = []
        for (index, element) in elements.enumerated() {
            let path = "mainSteps[\(index)]"
            let step = try self.step(element, version: version, parameters: parameters, isLast: index == elements.count - 1, at: path)
            guard names.insert(step.name).inserted else {
                throw DocumentError(.content, at: "\(path).name", "Another step is called '\(step.name)'; names must be unique.")
            }
            steps.append(step)
        }
        return steps
    }

    private static func step(
        _ value: DocumentValue, version: SchemaVersion, parameters: [String: ParameterDefinition], isLast: Bool, at path: String
    ) throws(DocumentError) -> Step {
        guard let members = value.object else { throw DocumentError(.content, at: path, "Must be an object, and is \(value.kind).") }
        try refuseUnknown(
            members,
            besides: ["action", "name", "inputs", "settings", "precondition", "maxAttempts"] + FlowControl.keys + ["timeoutSeconds"],
            at: path)
        guard let name = members["name"]?.string.flatMap(StepName.init(rawValue:)) else {
            throw DocumentError(.content, at: "\(path).name", "Must be 1 to 128 letters, digits, '_' or '-'.")
        }
        let plugin = try self.plugin(members["action"], at: "\(path).action")
        var inputs: [String: DocumentValue] = [:]
        if let given = members["inputs"], given != .null {
            guard let object = given.object else {
                throw DocumentError(.content, at: "\(path).inputs", "Must be an object, and is \(given.kind).")
            }
            inputs = object
        }
        // Written beside the inputs they mean the same as within: agents read them there.
        for key in FlowControl.keys + ["timeoutSeconds"] {
            guard let value = members[key] else { continue }
            guard !inputs.keys.contains(where: { $0.lowercased() == key.lowercased() }) else {
                throw DocumentError(.content, at: "\(path).\(key)", "Given both in the step and in its inputs.")
            }
            inputs[key] = value
        }
        if let attempts = members["maxAttempts"], attempts != .integer(1) {
            throw DocumentError(.content, at: "\(path).maxAttempts", "Repeating a step is not served; only 1 is accepted.")
        }
        try check(inputs, of: plugin, version: version, parameters: parameters, isLast: isLast, at: "\(path).inputs")

        var precondition: Precondition?
        if let given = members["precondition"], given != .null {
            guard version.hasPreconditions else {
                throw DocumentError(.content, at: "\(path).precondition", "Preconditions need schema 2.2; this document is \(version).")
            }
            precondition = try Precondition(given, parameters: parameters, at: "\(path).precondition")
        }
        return Step(
            name: name, action: plugin.rawValue, inputs: inputs, settings: members["settings"] ?? .null, precondition: precondition)
    }

    /// Schema 1.2: a map of plugins, each with one object of properties or a list of them that all run. Each becomes a step, named
    /// after the plugin without its colon; plugins run in the order of their names, since a map has none.
    private static func stepsOfRuntimeConfiguration(
        _ value: DocumentValue, parameters: [String: ParameterDefinition]
    ) throws(DocumentError) -> [Step] {
        guard let plugins = value.object, !plugins.isEmpty else {
            throw DocumentError(.content, at: "runtimeConfig", "Must be an object with at least one plugin.")
        }
        var steps: [Step] = []
        for (name, configuration) in plugins.sorted(by: { $0.key < $1.key }) {
            let path = "runtimeConfig.\(name)"
            let plugin = try self.plugin(.string(name), at: path)
            guard let members = configuration.object else {
                throw DocumentError(.content, at: path, "Must be an object, and is \(configuration.kind).")
            }
            try refuseUnknown(members, besides: ["properties", "settings", "description"], at: path)
            let properties: [DocumentValue] =
                switch members["properties"] {
                case .array(let elements)?: elements
                case let single?: [single]
                case nil: []
                }
            guard !properties.isEmpty else {
                throw DocumentError(.content, at: "\(path).properties", "Must be an object, or a list with at least one.")
            }
            for (index, element) in properties.enumerated() {
                let elementPath = "\(path).properties[\(index)]"
                guard let inputs = element.object else {
                    throw DocumentError(.content, at: elementPath, "Must be an object, and is \(element.kind).")
                }
                let isLast = steps.count == plugins.count - 1 && index == properties.count - 1
                try check(inputs, of: plugin, version: .v12, parameters: parameters, isLast: isLast, at: elementPath)
                let bare = plugin.rawValue.filter { $0 != ":" }
                guard let stepName = StepName(properties.count == 1 ? bare : "\(bare)-\(index)") else { continue }
                steps.append(
                    Step(name: stepName, action: plugin.rawValue, inputs: inputs, settings: members["settings"] ?? .null))
            }
        }
        return steps
    }

    private static func plugin(_ value: DocumentValue?, at path: String) throws(DocumentError) -> PluginKind {
        guard let name = value?.string else { throw DocumentError(.content, at: path, "Must name a plugin, such as aws:runShellScript.") }
        guard let plugin = PluginKind(rawValue: name) else {
            throw DocumentError(.content, at: path, "Unknown plugin '\(name.prefix(100))'.")
        }
        return plugin
    }

    private static func check(
        _ inputs: [String: DocumentValue], of plugin: PluginKind, version: SchemaVersion,
        parameters: [String: ParameterDefinition], isLast: Bool, at path: String
    ) throws(DocumentError) {
        _ = try FlowControl(inputs, isLast: isLast, isTemplate: true, at: path)
        guard plugin.isScript else { return }
        let known =
            ["runCommand", "workingDirectory", "timeoutSeconds", "environment"] + FlowControl.keys + (version == .v12 ? ["id"] : [])
        var seen: Set<String> = []
        for key in inputs.keys.sorted() {
            guard known.contains(where: { $0.lowercased() == key.lowercased() }) else {
                throw DocumentError(
                    .content, at: "\(path).\(key)", "Unknown input; \(plugin.rawValue) takes \(known.joined(separator: ", ")).")
            }
            guard seen.insert(key.lowercased()).inserted else {
                throw DocumentError(.content, at: "\(path).\(key)", "Given twice, in different case.")
            }
        }
        func input(_ key: String) -> DocumentValue? {
            inputs.first { $0.key.lowercased() == key.lowercased() }?.value
        }
        /// The declared parameter that a text is nothing but a reference to.
        func reference(_ text: String) -> ParameterDefinition? {
            guard case .reference(let name, _)? = Template.pieces(of: text).only else { return nil }
            return parameters[name]
        }
        let commands = "\(path).runCommand"
        switch input("runCommand") {
        case nil: throw DocumentError(.content, at: commands, "Missing. Give the script's lines as a list of strings.")
        case .string(let text)?:
            guard let parameter = reference(text), parameter.kind == .stringList else {
                throw DocumentError(.content, at: commands, "Must be a list of strings, or a reference to a StringList parameter.")
            }
        case .array(let lines)?:
            for (index, line) in lines.enumerated() {
                guard let text = line.string else {
                    throw DocumentError(.content, at: "\(commands)[\(index)]", "Must be a string, and is \(line.kind).")
                }
                if let parameter = reference(text), parameter.kind != .string {
                    throw DocumentError(
                        .content, at: "\(commands)[\(index)]",
                        "'\(parameter.name)' is a \(parameter.kind.rawValue); on a line of its own only a String can be. "
                            + "Use \"runCommand\": \"{{ \(parameter.name) }}\" for a list.")
                }
            }
        case let other?: throw DocumentError(.content, at: commands, "Must be a list of strings, and is \(other.kind).")
        }
        if let directory = input("workingDirectory"), directory != .null, directory.string == nil {
            throw DocumentError(.content, at: "\(path).workingDirectory", "Must be a string, and is \(directory.kind).")
        }
        switch input("timeoutSeconds") {
        case nil, .null?, .integer?, .number?, .string?: break
        case let other?: throw DocumentError(.content, at: "\(path).timeoutSeconds", "Must be a number, and is \(other.kind).")
        }
        switch input("environment") {
        case nil, .null?: break
        case .object(let variables)?:
            for (name, value) in variables where value.string == nil {
                throw DocumentError(.content, at: "\(path).environment.\(name)", "Must be a string, and is \(value.kind).")
            }
        case .string(let text)? where reference(text)?.kind == .stringMap: break
        case let other?: throw DocumentError(.content, at: "\(path).environment", "Must be an object of strings, and is \(other.kind).")
        }
    }

    // MARK: Shared

    static func optionalString(_ value: DocumentValue?, at path: String) throws(DocumentError) -> String? {
        switch value {
        case nil, .null?: return nil
        case .string(let text)?: return text
        case let other?: throw DocumentError(.content, at: path, "Must be a string, and is \(other.kind).")
        }
    }

    static func refuseUnknown(
        _ members: [String: DocumentValue], besides known: [String], at path: String
    ) throws(DocumentError) {
        guard let unknown = members.keys.filter({ !known.contains($0) }).min() else { return }
        throw DocumentError(
            .content, at: path, "Unknown member '\(unknown.prefix(100))'. Known here: \(known.sorted().joined(separator: ", ")).")
    }
}

extension Array {
    /// The element of an array of one.
    var only: Element? { count == 1 ? self[0] : nil }
}
