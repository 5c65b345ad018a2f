import MusterWire

/// What a call about a session concerns. [value]
///
/// A session's id begins with the name of its owner, so `session/${aws:username}-*` are one's own.
enum SessionAccess {
    static func target(_ id: SessionID, _ facts: SessionFacts?, _ context: OperationContext) -> AccessTarget {
        var keys = ConditionKeys()
        if let facts {
            keys["ssm:DocumentName"] = [facts.document]
            keys["muster:SessionType"] = [facts.sessionType]
            keys["muster:Owner"] = [facts.ownerName]
        }
        var target = AccessTarget.session(id.rawValue, context, keys: keys)
        target.node = facts?.node
        return target
    }

    /// What others agree to: these nodes, this document as it is now, these parameters.
    static func subject(
        _ order: SessionOrder, on nodes: [NodeID], parameters: [String: [String]], _ context: OperationContext
    ) throws -> ApprovalSubject {
        let resolved = try order.parameters.sorted { $0.key < $1.key }.flatMap { name, value in
            [name, String(decoding: try JSONCoding.encode(value), as: UTF8.self)]
        }
        return ApprovalSubject(
            action: ApprovalSubject.startSession, nodes: nodes.map { AccessTarget.node($0, context).resource },
            document: AccessTarget.document(order.name, context).resource, parameters: parameters, content: [order.content] + resolved)
    }

    /// StartSession: node and document, each with all that the session is. A shell, a command, a connection and a copy ask the same.
    static func targets(
        _ order: SessionOrder, on node: NodeID, runAs user: String, reason: String?, _ context: OperationContext
    ) -> [AccessTarget] {
        var keys = ConditionKeys([
            "ssm:DocumentName": [order.name], "ssm:SessionDocumentAccessCheck": ["true"], "muster:SessionType": [order.sessionType],
            "muster:TargetCount": ["1"], "muster:Owner": [context.caller.userName],
        ])
        if let reason, !reason.isEmpty { keys["muster:Reason"] = [reason] }
        if let destination = order.destination { keys["muster:Destination"] = [destination] }
        if !user.isEmpty { keys["muster:RunAsUser"] = [user] }
        return [.document(order.name, context, keys: keys), .node(node, context, keys: keys)]
    }
}
