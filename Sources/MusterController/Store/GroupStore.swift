package import MusterWire

package struct Group: Sendable, Equatable {
    package let name: String
    package let id: String
    package let createdAt: Timestamp
}

/// Groups and who is in them.
package enum GroupStore {
    package static func insert(_ group: Group, in tx: any SQLTransaction) throws {
        try tx.execute(
            "INSERT INTO user_groups (group_name, group_id, created_at) VALUES ($1, $2, $3)",
            [.text(group.name), .text(group.id), .integer(group.createdAt.milliseconds)])
    }

    package static func group(_ name: String, in tx: any SQLTransaction) throws -> Group? {
        try tx.first("SELECT * FROM user_groups WHERE group_name = $1", [.text(name)]).map(group)
    }

    package static func isTaken(_ name: String, in tx: any SQLTransaction) throws -> Bool {
        try tx.first("SELECT group_name FROM user_groups WHERE LOWER(group_name) = $1", [.text(name.lowercased())]) != nil
    }

    package static func all(in tx: any SQLTransaction) throws -> [Group] {
        try tx.query("SELECT * FROM user_groups ORDER BY group_name").map(group)
    }

    package static func remove(_ group: Group, in tx: any SQLTransaction) throws {
        try tx.execute("DELETE FROM temporary_credentials WHERE group_name = $1", [.text(group.name)])
        try tx.execute("DELETE FROM group_members WHERE group_name = $1", [.text(group.name)])
        try tx.execute("DELETE FROM user_groups WHERE group_name = $1", [.text(group.name)])
        try PolicyStore.removeAll(of: .group(group.name), in: tx)
    }

    // MARK: Members

    package static func add(_ user: String, to group: String, in tx: any SQLTransaction) throws {
        try tx.execute(
            "INSERT INTO group_members (group_name, user_name) VALUES ($1, $2) ON CONFLICT (group_name, user_name) DO NOTHING",
            [.text(group), .text(user)])
    }

    package static func remove(_ user: String, from group: String, in tx: any SQLTransaction) throws -> Bool {
        try tx.execute("DELETE FROM group_members WHERE group_name = $1 AND user_name = $2", [.text(group), .text(user)])
        return tx.changes > 0
    }

    package static func members(of group: String, in tx: any SQLTransaction) throws -> [User] {
        let names = try tx.query("SELECT user_name FROM group_members WHERE group_name = $1 ORDER BY user_name", [.text(group)])
        return try names.compactMap { try UserStore.user(try $0.text("user_name"), in: tx) }
    }

    package static func groups(of user: String, in tx: any SQLTransaction) throws -> [Group] {
        try tx.query(
            """
            SELECT g.group_name, g.group_id, g.created_at FROM user_groups g
            JOIN group_members m ON m.group_name = g.group_name WHERE m.user_name = $1 ORDER BY g.group_name
            """, [.text(user)]
        ).map(group)
    }

    package static func isMember(_ user: String, of group: String, in tx: any SQLTransaction) throws -> Bool {
        try tx.first(
            "SELECT user_name FROM group_members WHERE group_name = $1 AND user_name = $2", [.text(group), .text(user)]) != nil
    }

    private static func group(_ row: SQLRow) throws -> Group {
        Group(
            name: try row.text("group_name"), id: try row.text("group_id"),
            createdAt: Timestamp(milliseconds: try row.integer("created_at")))
    }
}
