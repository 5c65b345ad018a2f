import MusterWire

/// What a call about a command that exists concerns: its node, its document, and whose it is. [value]
enum CommandAccess {
    static func target(
        _ id: CommandID, _ node: NodeID, _ context: OperationContext, in tx: any SQLTransaction
    ) throws -> AccessTarget {
        .node(node, context, keys: try keys(id, in: tx))
    }

    /// Of those nodes, or of all that it was sent to. Of a command that does not exist a caller hears only if it might be about anything.
    static func targets(
        _ id: CommandID, _ nodes: [String], _ context: OperationContext, in tx: any SQLTransaction
    ) throws -> [AccessTarget] {
        let keys = try keys(id, in: tx)
        guard nodes.isEmpty else { return nodes.map { .node(named: $0, context, keys: keys) } }
        let all = try CommandStore.invocations(of: id, in: tx).map(\.node)
        return all.isEmpty ? [AccessTarget("*", keys: keys)] : all.map { .node($0, context, keys: keys) }
    }

    /// A list of everything is asked for on `*`. Whoever may not have that may have one command, if allowed on each of its nodes: with
    /// `muster:Owner` those are one's own. A refusal is the same for another's command as for none.
    static func authorizeList(of commandID: String?, _ context: OperationContext, in tx: any SQLTransaction) throws {
        do {
            try context.access.authorize([.anything], in: tx)
        } catch let denial as AccessDenial {
            guard denial.decision.outcome != .explicitDeny, let id = commandID.flatMap({ CommandID($0) }) else { throw denial }
            do {
                try context.access.authorize(targets(id, [], context, in: tx), in: tx)
            } catch is AccessDenial {
                throw denial
            }
        }
    }

    private static func keys(_ id: CommandID, in tx: any SQLTransaction) throws -> ConditionKeys {
        guard let command = try CommandStore.command(id, in: tx) else { return ConditionKeys() }
        var keys = ConditionKeys(["ssm:DocumentName": [command.documentName]])
        let owner = try CommandStore.owner(of: id, in: tx)
        if !owner.isEmpty { keys["muster:Owner"] = [owner] }
        return keys
    }
}
