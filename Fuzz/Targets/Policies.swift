import MusterController
import MusterWire

extension FuzzTarget {
    /// A policy, and after a NUL a request: action, resource, then keys as name=value, a line each. What was saved can be read back and
    /// decides; what is left of it for the action decides alike; a deny is never outvoted; what a boundary does not allow is not allowed.
    static let policies = FuzzTarget(name: "policies", maximumLength: 8192) { bytes in
        var input = FuzzInput(bytes)
        let json = input.part()
        guard let document = try? PolicyDocument(json: json) else { return }
        let (action, resource) = (text(input.part(until: 10)), text(input.part(until: 10)))
        var keys: [String: [String]] = [:]
        while !input.isEmpty {
            let pair = text(input.part(until: 10)).split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
            if pair.count == 2 { keys[pair[0], default: []].append(pair[1]) }
        }
        let request = AccessRequest(action: action, resource: resource, keys: ConditionKeys(keys))
        let given = AttachedPolicy(name: "given", holder: "user fuzz", document: document)
        let decision = PolicySet([given]).decide(request)
        try Finding.unless(PolicySet([given]).explain(request).outcome == decision.outcome, "what explains decides otherwise")
        let narrow = PolicySet([given]).concerning(action)
        var less = request
        for key in request.keys.names where key.hasPrefix("ssm:resourcetag/") && !narrow.resourceTags.contains(String(key.dropFirst(16))) {
            less.keys[key] = nil
        }
        try Finding.unless(narrow.decide(less).outcome == decision.outcome, "what is left for the action decides otherwise")
        let bounded = PolicySet(PolicySet.administrator.policies, boundary: [document]).decide(request)
        try Finding.unless(bounded.isAllowed == decision.isAllowed, "a boundary decides otherwise than the same policy")
        let beside = PolicySet(PolicySet.administrator.policies + [given]).decide(request)
        try Finding.unless(beside.isAllowed == (decision.outcome != .explicitDeny), "a deny was outvoted")
        _ = (decision.reason, beside.reason)
    }
}
