package import MusterWire

/// What a set of policies says to a question, in words. [value]
package enum PolicySimulation {
    package static func answer(_ set: PolicySet, _ request: AccessRequest) -> SimulationAnswer {
        let decision = set.explain(request)
        return SimulationAnswer(
            decision: word(decision.outcome), reason: decision.reason, statements: decision.trace.map(\.description))
    }

    /// One policy from a file, that nobody need have. With the names of all actions, as if it were saved.
    package static func answer(
        policy text: [UInt8], named name: String, action: String, resource: String, context: [String: [String]], now: Timestamp
    ) throws(PolicyError) -> SimulationAnswer {
        let document = try PolicyDocument(json: text, actions: PolicyActions.all)
        let keys = ConditionKeys(["aws:CurrentTime": [now.iso8601], "aws:EpochTime": [String(now.milliseconds / 1000)]])
            .merging(ConditionKeys(context))
        return answer(
            PolicySet([AttachedPolicy(name: name, holder: "", document: document)]),
            AccessRequest(action: action, resource: resource, keys: keys))
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
