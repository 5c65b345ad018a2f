package import MusterWire

package struct User: Sendable, Equatable {
    package let name: String
    package let id: String
    package let createdAt: Timestamp
}

/// Users by their exact names, of which no two differ in case only. Their tags are in the table of all tags.
package enum UserStore {
    package static let tagType = "User"

    package static func insert(_ user: User, in tx: any SQLTransaction) throws {
        try tx.execute(
            "INSERT INTO users (user_name, user_id, created_at) VALUES ($1, $2, $3)",
            [.text(user.name), .text(user.id), .integer(user.createdAt.milliseconds)])
    }

    package static func user(_ name: String, in tx: any SQLTransaction) throws -> User? {
        try tx.first("SELECT * FROM users WHERE user_name = $1", [.text(name)]).map(user)
    }

    package static func isTaken(_ name: String, in tx: any SQLTransaction) throws -> Bool {
        try tx.first("SELECT user_name FROM users WHERE LOWER(user_name) = $1", [.text(name.lowercased())]) != nil
    }

    package static func all(in tx: any SQLTransaction) throws -> [User] {
        try tx.query("SELECT * FROM users ORDER BY user_name").map(user)
    }

    package static func count(in tx: any SQLTransaction) throws -> Int {
        Int(try tx.first("SELECT COUNT(*) AS number FROM users")?.integer("number") ?? 0)
    }

    /// With all that only this user had. What refuses it is decided before.
    package static func remove(_ user: User, in tx: any SQLTransaction) throws {
        for table in ["temporary_credentials", "operator_keys", "group_members", "users"] {
            try tx.execute("DELETE FROM \(table) WHERE user_name = $1", [.text(user.name)])
        }
        try PolicyStore.removeAll(of: .user(user.name), in: tx)
        try TagStore.removeAll(of: user.name, type: tagType, in: tx)
    }

    private static func user(_ row: SQLRow) throws -> User {
        User(
            name: try row.text("user_name"), id: try row.text("user_id"),
            createdAt: Timestamp(milliseconds: try row.integer("created_at")))
    }
}
