internal import MusterWire

/// What happens to a call that others have to agree to: the request that there is, or a new one, in the transaction of the denial.
enum ApprovalQuestion {
    static func ask(
        _ need: ApprovalNeed, _ caller: Caller, requestID: String, region: String, now: Timestamp, in tx: any SQLTransaction
    ) throws -> (id: String?, words: String) {
        if let request = try ApprovalStore.answering(need, now: now, in: tx) { return (request.id, request.words(at: now)) }
        if let missing = need.missing { return (nil, "Before anybody is asked, \(missing).") }
        guard try ApprovalStore.openCount(of: need.principal.userID, now: now, in: tx) < ApprovalStore.mostOpen else {
            return (
                nil,
                "\(ApprovalStore.mostOpen) access requests of \(need.principal.user) wait already; nobody is asked until one is decided."
            )
        }
        let request = ApprovalRequest(id: ApprovalStore.makeID(), need, now: now)
        try insert(request, need, caller, requestID: requestID, region: region, now: now, in: tx)
        return (request.id, request.words(at: now))
    }

    static func insert(
        _ request: ApprovalRequest, _ need: ApprovalNeed, _ caller: Caller, as operation: String = "RequestApproval", requestID: String,
        region: String, now: Timestamp, in tx: any SQLTransaction
    ) throws {
        try ApprovalStore.insert(request, binding: need.subject.binding(need.principal), now: now, in: tx)
        try AuditLog.append(
            AuditEvent(
                time: now, caller: caller, requestID: requestID, region: region, operation: operation, resource: request.id,
                outcome: .success,
                details: [
                    "action": request.subject.action, "document": request.subject.document,
                    "targetCount": String(request.subject.nodes.count),
                    "parametersDigest": request.subject.digest, "reason": request.reason,
                    "approvers": request.requirements.map(\.description).joined(separator: " and "),
                ]), in: tx)
    }
}
