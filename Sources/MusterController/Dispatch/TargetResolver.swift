package import MusterWire

/// Which nodes a command is for. The answer is frozen with the command: who gets a tag later is not in it.
///
/// Values of one target are alternatives, several targets all have to hold.
/// https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_Target.html
package enum TargetResolver {
    package struct Resolved: Sendable, Equatable {
        package let node: NodeID
        package let generation: Int
        package let name: String
        /// As the agent reported it; nil before its first report.
        package let platform: String?
    }

    /// Above this many ids, one walk over all nodes is cheaper than asking for each.
    private static let walkAbove = 200

    /// By id: all of them have to be registered, and none named twice. They need not be connected.
    package static func resolve(ids: [String], account: String, in tx: any SQLTransaction) throws -> [Resolved] {
        guard Set(ids).count == ids.count else { throw APIError.duplicateInstanceID() }
        return try known(ids, account: account, in: tx)
    }

    /// By id, tag or tag key, in the order of their ids.
    package static func resolve(_ targets: [Target], account: String, in tx: any SQLTransaction) throws -> [Resolved] {
        var found: Set<String>?
        for (index, target) in targets.enumerated() {
            let matching = try matching(target, index: index, account: account, in: tx)
            found = found?.intersection(matching) ?? matching
        }
        return try nodes(found ?? [], in: tx)
    }

    private static func matching(_ target: Target, index: Int, account: String, in tx: any SQLTransaction) throws -> Set<String> {
        let path = "targets.\(index + 1).member"
        let key = try target.key.required("\(path).key")
        let values = target.values ?? []
        if key.lowercased() == "instanceids" {
            guard !values.isEmpty else { throw noValues(key) }
            // Ours: every registered node. It has to be said in so many words, and alone.
            if values == ["*"] {
                return Set(try tx.query("SELECT node_id FROM nodes WHERE state = 'registered'").map { try $0.text("node_id") })
            }
            return Set(try known(Array(Set(values)), account: account, in: tx).map(\.node.description))
        }
        if key == "tag-key" {
            guard !values.isEmpty else { throw noValues(key) }
            return try values.reduce(into: []) { found, name in
                found.formUnion(try TagStore.values(of: name, type: TagStore.managedInstance, in: tx).keys)
            }
        }
        if key.hasPrefix("tag:"), key.utf8.count > 4 {
            guard !values.isEmpty else { throw noValues(key) }
            let wanted = Set(values)
            let tagged = try TagStore.values(of: String(key.dropFirst(4)), type: TagStore.managedInstance, in: tx)
            return Set(tagged.filter { wanted.contains($0.value) }.keys)
        }
        if key.hasPrefix("resource-groups:") {
            throw APIError.validation("SendCommand does not serve targets with the key \(key) yet: use InstanceIds, tag:KEY or tag-key.")
        }
        throw APIError.validation("'\(key)' is not a target key: use InstanceIds, tag:KEY or tag-key.")
    }

    private static func noValues(_ key: String) -> APIError {
        .validation("The target with the key \(key) has no values.")
    }

    private static func known(_ ids: [String], account: String, in tx: any SQLTransaction) throws -> [Resolved] {
        var found: [Resolved] = []
        var unknown: [String] = []
        for id in ids {
            let row = try tx.first(
                "SELECT node_id, generation, name, computer_name, platform_type FROM nodes WHERE node_id = $1 AND state = 'registered'",
                [.text(id)])
            if let row { found.append(try Resolved(row)) } else { unknown.append(id) }
        }
        guard unknown.isEmpty else {
            let list = unknown.sorted().joined(separator: ", ")
            throw APIError.invalidInstanceID("Instances [[\(list)]] not in a valid state for account \(account)")
        }
        return found
    }

    private static func nodes(_ ids: Set<String>, in tx: any SQLTransaction) throws -> [Resolved] {
        let columns = "node_id, generation, name, computer_name, platform_type"
        if ids.count > walkAbove {
            return try tx.query("SELECT \(columns) FROM nodes WHERE state <> 'deregistered' ORDER BY node_id")
                .filter { ids.contains(try $0.text("node_id")) }.map(Resolved.init)
        }
        return try ids.sorted().compactMap { id in
            try tx.first("SELECT \(columns) FROM nodes WHERE node_id = $1 AND state <> 'deregistered'", [.text(id)]).map(Resolved.init)
        }
    }
}

extension TargetResolver.Resolved {
    fileprivate init(_ row: SQLRow) throws {
        let id = try row.text("node_id")
        guard let node = NodeID(id) else { throw StoredValueError(table: "nodes", key: id) }
        self.node = node
        self.generation = Int(try row.integer("generation"))
        // What an operator gave comes first: a node may report any name, also another's.
        self.name = try row.optionalText("name") ?? row.optionalText("computer_name") ?? ""
        self.platform = try row.optionalText("platform_type")
    }
}
