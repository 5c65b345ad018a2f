package import MusterCrypto
package import MusterWire

/// Users' access keys. SigV4 needs the secret itself and not a digest of it, so secrets are sealed under a key that
/// lies in a file of its own: a copy of the database alone signs nothing.
package struct OperatorKeyStore: Sendable {
    /// Of one user.
    package static let most = 5

    private let database: any SQLDatabase
    package let cipher: AuthenticatedCipher

    package init(database: any SQLDatabase, cipher: AuthenticatedCipher) {
        self.database = database
        self.cipher = cipher
    }

    /// What an access key id stands for, with what has to be shown for it.
    package struct Key: Sendable {
        package let credentials: Credentials
        package let principal: Principal
        package var userName: String { principal.user }
        package let lastUsedAt: Timestamp?
    }

    /// All but the secret.
    package struct Listed: Sendable, Equatable {
        package let accessKeyID: String
        package let user: String
        package let isActive: Bool
        package let createdAt: Timestamp
        package let lastUsed: Use?

        package var status: String { isActive ? "Active" : "Inactive" }
    }

    package struct Use: Sendable, Equatable {
        package let at: Timestamp
        package let service: String
        package let region: String
    }

    // MARK: Making

    /// A new key. The secret is returned this once.
    package func create(userName: String, now: Timestamp, audit: AuditEvent) async throws -> Credentials {
        let cipher = cipher
        return try await database.write { tx in
            let credentials = try Self.create(userName: userName, now: now, cipher: cipher, in: tx)
            try AuditLog.append(audit, in: tx)
            return credentials
        }
    }

    package static func create(
        userName: String, now: Timestamp, cipher: AuthenticatedCipher, in tx: any SQLTransaction
    ) throws -> Credentials {
        let credentials = Credentials(
            accessKeyID: "MUSTER" + CallerID.letters(14), secretAccessKey: Base64.encode(RandomBytes.make(30)), sessionToken: nil)
        let sealed = try cipher.seal(Array(credentials.secretAccessKey.utf8), authenticating: Array(credentials.accessKeyID.utf8))
        try tx.execute(
            """
            INSERT INTO operator_keys (access_key_id, secret_sealed, user_name, status, created_at)
            VALUES ($1, $2, $3, 'Active', $4)
            """,
            [
                .text(credentials.accessKeyID), .text(Base64.encode(sealed)), .text(userName), .integer(now.milliseconds),
            ])
        return credentials
    }

    // MARK: Proving

    /// Nil for a key that does not exist, is not active, or whose user is gone, and for temporary credentials without their own token: a
    /// caller is told the same for all. Credentials that were right once and have expired are told so.
    package func key(_ accessKeyID: String, token: String? = nil, now: Timestamp = .now()) async throws -> Key? {
        let (cipher, database) = (cipher, database)
        let found = try await database.read { tx in
            try token == nil ? Self.permanent(accessKeyID, in: tx) : Self.temporary(accessKeyID, token ?? "", now: now, in: tx)
        }
        guard let found, let sealed = Base64.decode(found.sealed) else { return nil }
        let secret = try cipher.open(sealed, authenticating: Array(accessKeyID.utf8))
        return Key(
            credentials: Credentials(
                accessKeyID: accessKeyID, secretAccessKey: String(decoding: secret, as: UTF8.self), sessionToken: token),
            principal: found.principal, lastUsedAt: found.lastUsedAt)
    }

    private struct Found: Sendable {
        let principal: Principal
        let sealed: String
        let lastUsedAt: Timestamp?
    }

    private static func permanent(_ accessKeyID: String, in tx: any SQLTransaction) throws -> Found? {
        guard
            let row = try tx.first(
                """
                SELECT k.secret_sealed, k.last_used_at, u.user_name, u.user_id FROM operator_keys k
                JOIN users u ON u.user_name = k.user_name WHERE k.access_key_id = $1 AND k.status = 'Active'
                """, [.text(accessKeyID)])
        else { return nil }
        return Found(
            principal: Principal(user: try row.text("user_name"), userID: try row.text("user_id"), accessKeyID: accessKeyID),
            sealed: try row.text("secret_sealed"), lastUsedAt: try row.optionalInteger("last_used_at").map { Timestamp(milliseconds: $0) })
    }

    /// The token before the time, and the time before anything else: who has not the token learns nothing.
    private static func temporary(_ accessKeyID: String, _ token: String, now: Timestamp, in tx: any SQLTransaction) throws -> Found? {
        guard let found = try TemporaryCredentialStore.find(accessKeyID, in: tx),
            equalInConstantTime(TemporaryCredentialStore.digest(token), found.tokenDigest)
        else { return nil }
        guard now < found.expiresAt else { throw APIError.expiredToken }
        guard let parent = try permanent(found.principal.accessKeyID, in: tx), parent.principal.userID == found.principal.userID else {
            return nil
        }
        return Found(principal: found.principal, sealed: found.sealedSecret, lastUsedAt: parent.lastUsedAt)
    }

    /// Whether the key that a principal goes back to still counts, and is still that user's.
    package static func isAlive(_ principal: Principal, in tx: any SQLTransaction) throws -> Bool {
        try permanent(principal.accessKeyID, in: tx)?.principal.userID == principal.userID
    }

    package func used(_ accessKeyID: String, service: String = "", region: String = "", now: Timestamp) async throws {
        try await database.write { tx in
            try tx.execute(
                "UPDATE operator_keys SET last_used_at = $2, last_used_service = $3, last_used_region = $4 WHERE access_key_id = $1",
                [.text(accessKeyID), .integer(now.milliseconds), .text(service), .text(region)])
        }
    }

    // MARK: Keeping

    package func count() async throws -> Int {
        try await database.read { tx in
            Int(try tx.first("SELECT COUNT(*) AS number FROM operator_keys WHERE status = 'Active'")?.integer("number") ?? 0)
        }
    }

    package static func keys(of user: String, in tx: any SQLTransaction) throws -> [Listed] {
        try tx.query("SELECT * FROM operator_keys WHERE user_name = $1 ORDER BY created_at, access_key_id", [.text(user)]).map(listed)
    }

    package static func listed(_ accessKeyID: String, in tx: any SQLTransaction) throws -> Listed? {
        try tx.first("SELECT * FROM operator_keys WHERE access_key_id = $1", [.text(accessKeyID)]).map(listed)
    }

    package static func setActive(_ isActive: Bool, _ accessKeyID: String, in tx: any SQLTransaction) throws {
        try tx.execute(
            "UPDATE operator_keys SET status = $2 WHERE access_key_id = $1", [.text(accessKeyID), .text(isActive ? "Active" : "Inactive")])
    }

    package static func remove(_ accessKeyID: String, in tx: any SQLTransaction) throws {
        try tx.execute("DELETE FROM temporary_credentials WHERE parent_key = $1", [.text(accessKeyID)])
        try tx.execute("DELETE FROM operator_keys WHERE access_key_id = $1", [.text(accessKeyID)])
    }

    private static func listed(_ row: SQLRow) throws -> Listed {
        let use = try row.optionalInteger("last_used_at").map { time in
            Use(
                at: Timestamp(milliseconds: time), service: try row.text("last_used_service"), region: try row.text("last_used_region"))
        }
        return Listed(
            accessKeyID: try row.text("access_key_id"), user: try row.text("user_name"), isActive: try row.text("status") == "Active",
            createdAt: Timestamp(milliseconds: try row.integer("created_at")), lastUsed: use)
    }
}
