package import MusterWire

/// A policy with a name of its own, which users and groups have attached.
package struct ManagedPolicy: Sendable, Equatable {
    package let name: String
    package let id: String
    package let description: String
    package var document: String
    /// Counts from 1. Only the newest is kept.
    package var version: Int
    package let createdAt: Timestamp
    package var updatedAt: Timestamp

    package var versionID: String { "v\(version)" }
}

/// Policies and who has them. A document's text is what was given; that it is one was found out before it came here.
package enum PolicyStore {
    package enum Holder: Sendable, Hashable {
        case user(String)
        case group(String)

        package var name: String {
            switch self {
            case .user(let name), .group(let name): name
            }
        }

        package var type: String {
            switch self {
            case .user: "user"
            case .group: "group"
            }
        }

        /// As decisions name it.
        package var description: String { "\(type) \(name)" }
    }

    /// What one holder has: by name, with the text.
    package struct Held: Sendable, Equatable {
        package let name: String
        package let document: String
    }

    // MARK: Managed

    package static func insert(_ policy: ManagedPolicy, in tx: any SQLTransaction) throws {
        try tx.execute(
            """
            INSERT INTO policies (policy_name, policy_id, description, document, version, created_at, updated_at)
            VALUES ($1, $2, $3, $4, $5, $6, $7)
            """,
            [
                .text(policy.name), .text(policy.id), .text(policy.description), .text(policy.document), .integer(policy.version),
                .integer(policy.createdAt.milliseconds), .integer(policy.updatedAt.milliseconds),
            ])
    }

    package static func update(_ policy: ManagedPolicy, in tx: any SQLTransaction) throws {
        try tx.execute(
            "UPDATE policies SET document = $2, version = $3, updated_at = $4 WHERE policy_name = $1",
            [.text(policy.name), .text(policy.document), .integer(policy.version), .integer(policy.updatedAt.milliseconds)])
    }

    package static func policy(_ name: String, in tx: any SQLTransaction) throws -> ManagedPolicy? {
        if let builtIn = BuiltInPolicy.named(name) { return managed(builtIn) }
        return try tx.first("SELECT * FROM policies WHERE policy_name = $1", [.text(name)]).map(policy)
    }

    package static func isTaken(_ name: String, in tx: any SQLTransaction) throws -> Bool {
        try BuiltInPolicy.all.contains { $0.name.lowercased() == name.lowercased() }
            || tx.first("SELECT policy_name FROM policies WHERE LOWER(policy_name) = $1", [.text(name.lowercased())]) != nil
    }

    /// Built-in ones last.
    package static func all(in tx: any SQLTransaction) throws -> [ManagedPolicy] {
        try tx.query("SELECT * FROM policies ORDER BY policy_name").map(policy) + BuiltInPolicy.all.map(managed)
    }

    package static func remove(_ name: String, in tx: any SQLTransaction) throws {
        try tx.execute("DELETE FROM policies WHERE policy_name = $1", [.text(name)])
    }

    private static func managed(_ builtIn: BuiltInPolicy) -> ManagedPolicy {
        ManagedPolicy(
            name: builtIn.name, id: builtIn.id, description: builtIn.description, document: builtIn.document, version: 1,
            createdAt: Timestamp(milliseconds: 0), updatedAt: Timestamp(milliseconds: 0))
    }

    private static func policy(_ row: SQLRow) throws -> ManagedPolicy {
        ManagedPolicy(
            name: try row.text("policy_name"), id: try row.text("policy_id"), description: try row.text("description"),
            document: try row.text("document"), version: Int(try row.integer("version")),
            createdAt: Timestamp(milliseconds: try row.integer("created_at")),
            updatedAt: Timestamp(milliseconds: try row.integer("updated_at")))
    }

    // MARK: Attached

    package static func attach(_ policy: String, to holder: Holder, in tx: any SQLTransaction) throws {
        try tx.execute(
            """
            INSERT INTO policy_attachments (holder_type, holder, policy_name) VALUES ($1, $2, $3)
            ON CONFLICT (holder_type, holder, policy_name) DO NOTHING
            """, [.text(holder.type), .text(holder.name), .text(policy)])
    }

    package static func detach(_ policy: String, from holder: Holder, in tx: any SQLTransaction) throws -> Bool {
        try tx.execute(
            "DELETE FROM policy_attachments WHERE holder_type = $1 AND holder = $2 AND policy_name = $3",
            [.text(holder.type), .text(holder.name), .text(policy)])
        return tx.changes > 0
    }

    package static func attached(to holder: Holder, in tx: any SQLTransaction) throws -> [String] {
        try tx.query(
            "SELECT policy_name FROM policy_attachments WHERE holder_type = $1 AND holder = $2 ORDER BY policy_name",
            [.text(holder.type), .text(holder.name)]
        ).map { try $0.text("policy_name") }
    }

    package static func holders(of policy: String, in tx: any SQLTransaction) throws -> [Holder] {
        try tx.query(
            "SELECT holder_type, holder FROM policy_attachments WHERE policy_name = $1 ORDER BY holder_type DESC, holder", [.text(policy)]
        ).map { row in
            let name = try row.text("holder")
            return try row.text("holder_type") == "user" ? .user(name) : .group(name)
        }
    }

    // MARK: Inline

    package static func put(_ policy: Held, on holder: Holder, in tx: any SQLTransaction) throws {
        try tx.execute(
            """
            INSERT INTO inline_policies (holder_type, holder, policy_name, document) VALUES ($1, $2, $3, $4)
            ON CONFLICT (holder_type, holder, policy_name) DO UPDATE SET document = $4
            """, [.text(holder.type), .text(holder.name), .text(policy.name), .text(policy.document)])
    }

    package static func inline(of holder: Holder, in tx: any SQLTransaction) throws -> [Held] {
        try tx.query(
            "SELECT policy_name, document FROM inline_policies WHERE holder_type = $1 AND holder = $2 ORDER BY policy_name",
            [.text(holder.type), .text(holder.name)]
        ).map { Held(name: try $0.text("policy_name"), document: try $0.text("document")) }
    }

    package static func removeInline(_ policy: String, of holder: Holder, in tx: any SQLTransaction) throws -> Bool {
        try tx.execute(
            "DELETE FROM inline_policies WHERE holder_type = $1 AND holder = $2 AND policy_name = $3",
            [.text(holder.type), .text(holder.name), .text(policy)])
        return tx.changes > 0
    }

    // MARK: All of one

    /// Everything that counts for a holder.
    package static func held(by holder: Holder, in tx: any SQLTransaction) throws -> [Held] {
        try inline(of: holder, in: tx)
            + attached(to: holder, in: tx).compactMap { name in
                try policy(name, in: tx).map { Held(name: $0.name, document: $0.document) }
            }
    }

    package static func removeAll(of holder: Holder, in tx: any SQLTransaction) throws {
        for table in ["policy_attachments", "inline_policies"] {
            try tx.execute(
                "DELETE FROM \(table) WHERE holder_type = $1 AND holder = $2", [.text(holder.type), .text(holder.name)])
        }
    }
}
