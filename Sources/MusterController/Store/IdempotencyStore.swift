package import MusterWire

/// First answers of changing calls, so that an SDK's retry is answered and not done again.
///
/// Same access key, invocation id, operation and body within 15 minutes. It must be asked and told inside the transaction
/// of the change, or a crash between the two would do the work twice.
package enum IdempotencyStore {
    package static let lifetimeSeconds: Int64 = 15 * 60

    package static func answer(for key: RetryKey, now: Timestamp, in tx: any SQLTransaction) throws -> [UInt8]? {
        let row = try tx.first(
            """
            SELECT answer FROM idempotent_answers
            WHERE access_key_id = $1 AND invocation_id = $2 AND operation = $3 AND body_digest = $4 AND expires_at > $5
            """,
            arguments(of: key) + [.integer(now.milliseconds)])
        return try row.map { Array(try $0.text("answer").utf8) }
    }

    package static func remember(_ answer: [UInt8], for key: RetryKey, now: Timestamp, in tx: any SQLTransaction) throws {
        try tx.execute("DELETE FROM idempotent_answers WHERE expires_at <= $1", [.integer(now.milliseconds)])
        try tx.execute(
            """
            INSERT INTO idempotent_answers (access_key_id, invocation_id, operation, body_digest, answer, expires_at)
            VALUES ($1, $2, $3, $4, $5, $6)
            """,
            arguments(of: key) + [
                .text(String(decoding: answer, as: UTF8.self)),
                .integer(now.adding(seconds: lifetimeSeconds).milliseconds),
            ])
    }

    /// The usual shape: the remembered answer, or the work and its answer remembered, in the caller's transaction.
    package static func once<Output: Codable & Sendable>(
        _ key: RetryKey?, now: Timestamp, in tx: any SQLTransaction, _ work: () throws -> Output
    ) throws -> (output: Output, isRepeat: Bool) {
        guard let key else { return (try work(), false) }
        if let answer = try answer(for: key, now: now, in: tx) {
            return (try JSONCoding.decode(Output.self, from: answer), true)
        }
        let output = try work()
        try remember(try JSONCoding.encode(output), for: key, now: now, in: tx)
        return (output, false)
    }

    private static func arguments(of key: RetryKey) -> [SQLValue] {
        [.text(key.accessKeyID), .text(key.invocationID), .text(key.operation), .text(key.bodyDigest)]
    }
}
