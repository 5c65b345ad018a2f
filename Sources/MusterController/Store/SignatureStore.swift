package import MusterWire

/// Signatures under which something was changed. SigV4 has no nonce: whoever has got hold of a request could send it again for as long as
/// its time is accepted, also past a restart.
///
/// SDKs repeat a call with a new time and so with a new signature; the same one comes honestly only from a client that makes the same
/// call twice within one second, the grain of that time, and a second is allowed for the way. They share a table with `IdempotencyStore`, under digests that no body has.
package enum SignatureStore {
    package static let graceMilliseconds: Int64 = 2000
    /// Five minutes to either side, and the second that is cut off.
    static let lifetimeSeconds: Int64 = 2 * 300 + 1
    private static let mark = "signature"

    /// False for a signature that was used more than a second ago.
    package static func use(
        _ signature: String, of accessKeyID: String, for operation: String, now: Timestamp, in tx: any SQLTransaction
    ) throws -> Bool {
        let key: [SQLValue] = [.text(accessKeyID), .text(signature), .text(operation), .text(mark)]
        let known = try tx.first(
            """
            SELECT answer FROM idempotent_answers
            WHERE access_key_id = $1 AND invocation_id = $2 AND operation = $3 AND body_digest = $4
            """, key)
        if let known {
            // A clock that was set back makes nothing young again.
            let first = Int64(try known.text("answer")) ?? 0
            return abs(now.milliseconds - first) <= graceMilliseconds
        }
        try tx.execute("DELETE FROM idempotent_answers WHERE expires_at <= $1", [.integer(now.milliseconds)])
        try tx.execute(
            """
            INSERT INTO idempotent_answers (access_key_id, invocation_id, operation, body_digest, answer, expires_at)
            VALUES ($1, $2, $3, $4, $5, $6)
            """,
            key + [.text(String(now.milliseconds)), .integer(now.adding(seconds: lifetimeSeconds).milliseconds)])
        return true
    }
}
