package import MusterWire

/// An activation: the right to enrol a number of nodes until a time.
package struct Activation: Sendable, Equatable {
    package let id: ActivationID
    /// SHA-256 of the code, hexadecimal. The code itself is nowhere but with whoever was given it.
    package let codeDigest: String
    package var description: String?
    package var defaultInstanceName: String?
    package var iamRole: String
    package var registrationLimit: Int
    package var registrationsCount: Int
    package var expiresAt: Timestamp
    package var createdAt: Timestamp
    package var tags: [String: String]
    package var isDeleted: Bool

    package init(
        id: ActivationID, codeDigest: String, description: String?, defaultInstanceName: String?, iamRole: String,
        registrationLimit: Int, expiresAt: Timestamp, createdAt: Timestamp, tags: [String: String]
    ) {
        self.id = id
        self.codeDigest = codeDigest
        self.description = description
        self.defaultInstanceName = defaultInstanceName
        self.iamRole = iamRole
        self.registrationLimit = registrationLimit
        self.registrationsCount = 0
        self.expiresAt = expiresAt
        self.createdAt = createdAt
        self.tags = tags
        self.isDeleted = false
    }

    package func isExpired(at now: Timestamp) -> Bool {
        expiresAt <= now
    }
}

extension Activation {
    init(_ row: SQLRow) throws {
        let id = try row.text("activation_id")
        guard let activation = ActivationID(id) else { throw StoredValueError(table: "activations", key: id) }
        self.id = activation
        self.codeDigest = try row.text("code_digest")
        self.description = try row.optionalText("description")
        self.defaultInstanceName = try row.optionalText("default_instance_name")
        self.iamRole = try row.text("iam_role")
        self.registrationLimit = Int(try row.integer("registration_limit"))
        self.registrationsCount = Int(try row.integer("registrations_count"))
        self.expiresAt = Timestamp(milliseconds: try row.integer("expires_at"))
        self.createdAt = Timestamp(milliseconds: try row.integer("created_at"))
        self.tags = try JSONCoding.decode([String: String].self, from: Array(try row.text("tags").utf8))
        self.isDeleted = try row.bool("deleted")
    }
}

package enum ActivationStore {
    private static let columns = """
        activation_id, code_digest, description, default_instance_name, iam_role, registration_limit, registrations_count, \
        expires_at, created_at, tags, deleted
        """

    package static func activation(_ id: ActivationID, in tx: any SQLTransaction) throws -> Activation? {
        try tx.first("SELECT \(columns) FROM activations WHERE activation_id = $1", [.text(id.description)]).map(Activation.init)
    }

    /// Those that have not been deleted, by id, after `position`.
    package static func page(after position: String, limit: Int, in tx: any SQLTransaction) throws -> [Activation] {
        try tx.query(
            "SELECT \(columns) FROM activations WHERE activation_id > $1 AND deleted = 0 ORDER BY activation_id LIMIT $2",
            [.text(position), .integer(limit)]
        ).map(Activation.init)
    }

    package static func insert(_ activation: Activation, in tx: any SQLTransaction) throws {
        let tags = String(decoding: try JSONCoding.encode(activation.tags), as: UTF8.self)
        try tx.execute(
            """
            INSERT INTO activations (activation_id, code_digest, description, default_instance_name, iam_role,
                registration_limit, registrations_count, expires_at, created_at, tags)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
            """,
            [
                .text(activation.id.description), .text(activation.codeDigest), .text(activation.description),
                .text(activation.defaultInstanceName), .text(activation.iamRole), .integer(activation.registrationLimit),
                .integer(activation.registrationsCount), .integer(activation.expiresAt.milliseconds),
                .integer(activation.createdAt.milliseconds), .text(tags),
            ])
    }

    /// Takes one of the slots. False when none is left: the count and the limit are compared by the store itself, so any
    /// number of registrations at the same moment cannot take more than there are.
    package static func takeSlot(of id: ActivationID, in tx: any SQLTransaction) throws -> Bool {
        try tx.execute(
            """
            UPDATE activations SET registrations_count = registrations_count + 1
            WHERE activation_id = $1 AND deleted = 0 AND registrations_count < registration_limit
            """,
            [.text(id.description)])
        return tx.changes == 1
    }

    package static func delete(_ id: ActivationID, in tx: any SQLTransaction) throws {
        try tx.execute("UPDATE activations SET deleted = 1 WHERE activation_id = $1", [.text(id.description)])
    }
}
