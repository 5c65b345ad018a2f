package import MusterCrypto
package import MusterWire

/// Credentials with an end. The secret is sealed as a key's is; of the token only a digest is here. Each is worth something only as long as
/// the user, the user's key it goes back to and, for a role, the membership are there: that is asked at every call.
package enum TemporaryCredentialStore {
    /// Of one user at a time.
    package static let most = 500

    package struct Issued: Sendable {
        package let credentials: Credentials
        package let expiresAt: Timestamp
    }

    package static func issue(
        to principal: Principal, seconds: Int, now: Timestamp, cipher: AuthenticatedCipher, in tx: any SQLTransaction
    ) throws -> Issued {
        try removeExpired(now: now, in: tx)
        let number = try tx.first(
            "SELECT COUNT(*) AS number FROM temporary_credentials WHERE user_name = $1", [.text(principal.user)])?.integer("number")
        guard number ?? 0 < Int64(most) else {
            throw APIError.limitExceeded(
                "User \(principal.user) has \(most) temporary credentials already; the first of them expire by themselves.")
        }
        let token = Base64.encode(RandomBytes.make(48))
        let credentials = Credentials(
            accessKeyID: "MUSTEMP" + CallerID.letters(13), secretAccessKey: Base64.encode(RandomBytes.make(30)), sessionToken: token)
        let sealed = try cipher.seal(Array(credentials.secretAccessKey.utf8), authenticating: Array(credentials.accessKeyID.utf8))
        let expiresAt = now.adding(seconds: Int64(seconds))
        try tx.execute(
            """
            INSERT INTO temporary_credentials (access_key_id, secret_sealed, token_digest, user_name, user_id, group_name, group_id,
                session_name, boundary, parent_key, issued_at, expires_at)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
            """,
            [
                .text(credentials.accessKeyID), .text(Base64.encode(sealed)), .text(Hex.encode(digest(token))), .text(principal.user),
                .text(principal.userID), .text(principal.role?.group), .text(principal.role?.groupID), .text(principal.role?.session),
                .text(String(decoding: try JSONCoding.encode(principal.boundary), as: UTF8.self)), .text(principal.accessKeyID),
                .integer(now.milliseconds), .integer(expiresAt.milliseconds),
            ])
        return Issued(credentials: credentials, expiresAt: expiresAt)
    }

    struct Found: Sendable {
        let principal: Principal
        let sealedSecret: String
        let tokenDigest: [UInt8]
        let expiresAt: Timestamp
    }

    static func find(_ accessKeyID: String, in tx: any SQLTransaction) throws -> Found? {
        guard let row = try tx.first("SELECT * FROM temporary_credentials WHERE access_key_id = $1", [.text(accessKeyID)]) else {
            return nil
        }
        var role: Principal.Role?
        if let group = try row.optionalText("group_name"), let id = try row.optionalText("group_id") {
            role = Principal.Role(group: group, groupID: id, session: try row.optionalText("session_name") ?? "")
        }
        guard let tokenDigest = Hex.decode(try row.text("token_digest")),
            let boundary = try? JSONCoding.decode([String].self, from: Array(try row.text("boundary").utf8))
        else { throw StoredValueError(table: "temporary_credentials", key: accessKeyID) }
        return Found(
            principal: Principal(
                user: try row.text("user_name"), userID: try row.text("user_id"), role: role, accessKeyID: try row.text("parent_key"),
                issuedAt: Timestamp(milliseconds: try row.integer("issued_at")), boundary: boundary),
            sealedSecret: try row.text("secret_sealed"), tokenDigest: tokenDigest,
            expiresAt: Timestamp(milliseconds: try row.integer("expires_at")))
    }

    static func digest(_ token: String) -> [UInt8] {
        SHA256.hash(Array("muster-session-credentials-1".utf8) + Array(token.utf8))
    }

    /// An hour longer than they are worth something, so that their holder hears of the expiry.
    package static func removeExpired(now: Timestamp, in tx: any SQLTransaction) throws {
        try tx.execute("DELETE FROM temporary_credentials WHERE expires_at < $1", [.integer(now.adding(seconds: -3_600).milliseconds)])
    }
}

/// Of users who are gone, too.
struct CredentialRetention: Chore {
    let database: any SQLDatabase
    let subject = "expired credentials"

    func clean(now: Timestamp) async throws {
        try await database.write { tx in try TemporaryCredentialStore.removeExpired(now: now, in: tx) }
    }
}
