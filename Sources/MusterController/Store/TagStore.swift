import MusterWire

/// Tags of any resource type. Case-sensitive throughout.
package enum TagStore {
    package static let managedInstance = "ManagedInstance"

    /// Nodes that were deregistered: what they have left behind is decided about by their tags as long as it is there. Under a type of their own
    /// nothing else finds them.
    static let formerInstance = "FormerInstance"

    package static func tags(of resource: String, type: String, in tx: any SQLTransaction) throws -> [String: String] {
        var tags: [String: String] = [:]
        for row in try tx.query(
            "SELECT tag_key, tag_value FROM tags WHERE resource_type = $1 AND resource_id = $2",
            [.text(type), .text(resource)])
        {
            tags[try row.text("tag_key")] = try row.text("tag_value")
        }
        return tags
    }

    /// Those of all resources of a type, or of those only that are named, in lower case of ASCII.
    package static func all(of type: String, keys: Set<String>?, in tx: any SQLTransaction) throws -> [String: [String: String]] {
        if keys?.isEmpty == true { return [:] }
        let names = keys.map { $0.sorted() } ?? []
        let only = names.isEmpty ? "" : " AND LOWER(tag_key) IN (\(names.indices.map { "$\($0 + 2)" }.joined(separator: ", ")))"
        var tags: [String: [String: String]] = [:]
        for row in try tx.query(
            "SELECT resource_id, tag_key, tag_value FROM tags WHERE resource_type = $1" + only, [.text(type)] + names.map { .text($0) })
        {
            tags[try row.text("resource_id"), default: [:]][try row.text("tag_key")] = try row.text("tag_value")
        }
        return tags
    }

    /// Adds, or replaces the value of a key that is there.
    package static func set(_ tags: [String: String], of resource: String, type: String, in tx: any SQLTransaction) throws {
        for (key, value) in tags {
            try tx.execute(
                """
                INSERT INTO tags (resource_type, resource_id, tag_key, tag_value) VALUES ($1, $2, $3, $4)
                ON CONFLICT (resource_type, resource_id, tag_key) DO UPDATE SET tag_value = $4
                """,
                [.text(type), .text(resource), .text(key), .text(value)])
        }
    }

    package static func remove(_ keys: [String], of resource: String, type: String, in tx: any SQLTransaction) throws {
        for key in keys {
            try tx.execute(
                "DELETE FROM tags WHERE resource_type = $1 AND resource_id = $2 AND tag_key = $3",
                [.text(type), .text(resource), .text(key)])
        }
    }

    package static func removeAll(of resource: String, type: String, in tx: any SQLTransaction) throws {
        try tx.execute("DELETE FROM tags WHERE resource_type = $1 AND resource_id = $2", [.text(type), .text(resource)])
    }

    /// Of a node that was deregistered.
    static func retire(_ node: NodeID, in tx: any SQLTransaction) throws {
        try tx.execute(
            "UPDATE tags SET resource_type = $2 WHERE resource_type = $1 AND resource_id = $3",
            [.text(managedInstance), .text(formerInstance), .text(node.rawValue)])
    }

    /// Those of a node, also when it is one no more.
    static func decidingTags(of node: NodeID, in tx: any SQLTransaction) throws -> [String: String] {
        let tags = try tags(of: node.rawValue, type: managedInstance, in: tx)
        return tags.isEmpty ? try self.tags(of: node.rawValue, type: formerInstance, in: tx) : tags
    }

    /// Of former nodes of which nothing is left that somebody could ask for.
    static func removeForgotten(limit: Int, in tx: any SQLTransaction) throws -> Int {
        try tx.execute(
            """
            DELETE FROM tags WHERE resource_type = $1 AND resource_id IN (
                SELECT DISTINCT resource_id FROM tags WHERE resource_type = $1
                    AND NOT EXISTS (SELECT 1 FROM invocations WHERE invocations.node_id = tags.resource_id)
                    AND NOT EXISTS (SELECT 1 FROM sessions WHERE sessions.node_id = tags.resource_id)
                    AND NOT EXISTS (SELECT 1 FROM recordings WHERE recordings.node_id = tags.resource_id)
                LIMIT $2)
            """, [.text(formerInstance), .integer(limit)])
        return tx.changes
    }

    /// Who carries the key, and with which value.
    package static func values(of key: String, type: String, in tx: any SQLTransaction) throws -> [String: String] {
        var values: [String: String] = [:]
        for row in try tx.query(
            "SELECT resource_id, tag_value FROM tags WHERE resource_type = $1 AND tag_key = $2", [.text(type), .text(key)])
        {
            values[try row.text("resource_id")] = try row.text("tag_value")
        }
        return values
    }
}
