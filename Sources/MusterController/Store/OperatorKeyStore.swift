package import MusterCrypto
package import MusterWire

/// Operators' access keys. SigV4 needs the secret itself and not a digest of it, so secrets are sealed under a key that
/// lies in a file of its own: a copy of the database alone signs nothing.
package struct OperatorKeyStore: Sendable {
    private let database: any SQLDatabase
    private let cipher: AuthenticatedCipher

    package init(database: any SQLDatabase, cipher: AuthenticatedCipher) {
        self.database = database
        self.cipher = cipher
    }

    package struct Key: Sendable {
        package let credentials: Credentials
        package let userName: String
        package let lastUsedAt: Timestamp?
    }

    /// A new key. The secret is returned this once.
    package func create(userName: String, now: Timestamp, audit: AuditEvent) async throws -> Credentials {
        let credentials = Credentials(
            accessKeyID: "MUSTER" + Self.letters(14), secretAccessKey: Base64.encode(RandomBytes.make(30)), sessionToken: nil)
        let sealed = try cipher.seal(Array(credentials.secretAccessKey.utf8), authenticating: Array(credentials.accessKeyID.utf8))
        let accessKeyID = credentials.accessKeyID
        try await database.write { tx in
            try tx.execute(
                """
                INSERT INTO operator_keys (access_key_id, secret_sealed, user_name, status, created_at)
                VALUES ($1, $2, $3, 'Active', $4)
                """,
                [.text(accessKeyID), .text(Base64.encode(sealed)), .text(userName), .integer(now.milliseconds)])
            try AuditLog.append(audit, in: tx)
        }
        return credentials
    }

    /// Nil for a key that does not exist or is not active: a caller is told the same for both.
    package func key(_ accessKeyID: String) async throws -> Key? {
        let row = try await database.read { tx in
            try tx.first(
                "SELECT secret_sealed, user_name, last_used_at FROM operator_keys WHERE access_key_id = $1 AND status = 'Active'",
                [.text(accessKeyID)])
        }
        guard let row, let sealed = Base64.decode(try row.text("secret_sealed")) else { return nil }
        let secret = try cipher.open(sealed, authenticating: Array(accessKeyID.utf8))
        return Key(
            credentials: Credentials(
                accessKeyID: accessKeyID, secretAccessKey: String(decoding: secret, as: UTF8.self), sessionToken: nil),
            userName: try row.text("user_name"),
            lastUsedAt: try row.optionalInteger("last_used_at").map { Timestamp(milliseconds: $0) })
    }

    package func used(_ accessKeyID: String, now: Timestamp) async throws {
        try await database.write { tx in
            try tx.execute(
                "UPDATE operator_keys SET last_used_at = $2 WHERE access_key_id = $1",
                [.text(accessKeyID), .integer(now.milliseconds)])
        }
    }

    package func count() async throws -> Int {
        try await database.read { tx in
            Int(try tx.first("SELECT COUNT(*) AS number FROM operator_keys WHERE status = 'Active'")?.integer("number") ?? 0)
        }
    }

    /// The alphabet of access key ids: capitals and digits that cannot be mistaken for one another.
    private static func letters(_ count: Int) -> String {
        let alphabet = Array("ABCDEFGHJKLMNPQRSTUVWXYZ23456789")
        return String(RandomBytes.make(count).map { alphabet[Int($0) % alphabet.count] })
    }
}
