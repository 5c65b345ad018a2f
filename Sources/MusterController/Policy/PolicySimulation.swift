internal import MusterConfiguration
package import MusterWire

/// What a set of policies says to a question, in words. [value]
package enum PolicySimulation {
    package static func answer(_ set: PolicySet, _ request: AccessRequest) -> SimulationAnswer {
        let decision = set.explain(request)
        return SimulationAnswer(
            decision: word(decision.outcome), reason: decision.reason, statements: decision.trace.map(\.description))
    }

    /// What a question says has to exist: a misspelt action or key would be answered as if it were right.
    package static func check(action: String, context: [String: [String]]) throws(PolicyError) {
        let wanted = asciiLowercased(action)
        guard PolicyActions.all.contains(where: { asciiLowercased($0) == wanted }) else {
            let nearest = nearestName(to: action, among: PolicyActions.all.sorted())
            throw PolicyError(
                at: "Action", "There is no action '\(action.prefix(100))'" + (nearest.map { "; did you mean '\($0)'?" } ?? "."))
        }
        for name in context.keys.sorted() { _ = try ConditionKey.named(name, at: "Context") }
    }

    /// One policy from a file, that nobody need have. With the names of all actions, as if it were saved.
    package static func answer(
        policy text: [UInt8], named name: String, action: String, resource: String, context: [String: [String]], now: Timestamp
    ) throws(PolicyError) -> SimulationAnswer {
        let document = try PolicyDocument(json: text, actions: PolicyActions.all)
        try check(action: action, context: context)
        let keys = ConditionKeys(["aws:CurrentTime": [now.iso8601], "aws:EpochTime": [String(now.milliseconds / 1000)]])
            .merging(ConditionKeys(context))
        return answer(
            PolicySet([AttachedPolicy(name: name, holder: "", document: document)]),
            AccessRequest(action: action, resource: resource, keys: keys))
    }

    /// For the local administrator, who needs no controller for it: the answer in words, and whether it is allowed. `context` is KEY=VALUE.
    package static func report(
        policy text: [UInt8], named name: String, action: String, resource: String, context: [String]
    ) throws -> (words: String, isAllowed: Bool) {
        var keys: [String: [String]] = [:]
        for text in context {
            guard let split = text.firstIndex(of: "="), split != text.startIndex else {
                throw ControllerError.badSetting("\"\(text)\" is not KEY=VALUE.")
            }
            keys[String(text[..<split]), default: []].append(String(text[text.index(after: split)...]))
        }
        let answer = try answer(policy: text, named: name, action: action, resource: resource, context: keys, now: .now())
        let lines = ["\(answer.decision): \(action) on \(resource) \(answer.reason)"] + answer.statements.map { "  " + $0 }
        return (lines.joined(separator: "\n"), answer.decision == "allowed")
    }

    private static func word(_ outcome: PolicyDecision.Outcome) -> String {
        switch outcome {
        case .allowed: "allowed"
        case .explicitDeny: "explicitDeny"
        case .implicitDeny: "implicitDeny"
        case .approvalNeeded: "approvalNeeded"
        }
    }
}
