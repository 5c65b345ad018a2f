package import MusterCrypto
internal import MusterWire

/// Removes records that have served their time, behind a signed cut that carries the chain's head there: what remains is proven as before,
/// and that the rest was removed on purpose too. Nothing is removed before every target has it.
struct AuditRetention: Chore {
    private static let bite = 500

    let database: any SQLDatabase
    let authority: @Sendable () -> CertificateAuthority
    let days: Int
    /// Names of the targets that deliver.
    let targets: [String]
    let subject = "old audit records"

    func clean(now: Timestamp) async throws {
        let before = now.adding(seconds: -Int64(days) * 86_400)
        let authority = authority()
        // Not asked of the store: who can write a row there could have the oldest records removed by it.
        let oldest = try await database.read { tx in try AuditStore.oldest(signedBy: [authority.certificate], in: tx).mark }
        // Rows that an earlier cut has left behind, if the controller died between. A former authority's wait for the next cut.
        try await remove(through: oldest.sequence)
        guard let mark = try await last(before: before, from: oldest) else { return }
        try await database.write { tx in
            _ = try AuditStore.checkpoint(.cut, at: mark, time: now, by: authority, in: tx)
            try AuditLog.append(
                AuditEvent(
                    time: now, controllerDid: "CutAuditTrail", resource: "*",
                    details: ["lastRemoved": String(mark.sequence), "digest": mark.digest, "days": String(days)]), in: tx)
        }
        try await remove(through: mark.sequence)
    }

    /// The last of the oldest records that are all older than that, and delivered. Nil when there is nothing to remove.
    private func last(before time: Timestamp, from oldest: AuditMark) async throws -> AuditMark? {
        let targets = targets
        let delivered = try await database.read { tx in
            try targets.map { try AuditStore.position(of: $0, in: tx)?.mark.sequence ?? 0 }.min() ?? .max
        }
        var found = oldest
        while !Task.isCancelled {
            let after = found
            let rows = try await database.read { tx in
                try tx.query(
                    "SELECT sequence, digest, time_ms FROM audit_events WHERE sequence > $1 ORDER BY sequence LIMIT $2",
                    [.integer(after.sequence), .integer(Self.bite)])
            }
            for row in rows {
                guard try row.integer("time_ms") < time.milliseconds, try row.integer("sequence") <= delivered else {
                    return found == oldest ? nil : found
                }
                found = AuditMark(trail: found.trail, sequence: try row.integer("sequence"), digest: try row.text("digest"))
            }
            if rows.count < Self.bite { break }
        }
        return found == oldest ? nil : found
    }

    private func remove(through sequence: Int64) async throws {
        guard sequence > 0 else { return }
        while !Task.isCancelled {
            let removed = try await database.write { tx -> Int in
                try tx.execute(
                    """
                    DELETE FROM audit_events WHERE sequence IN
                        (SELECT sequence FROM audit_events WHERE sequence <= $1 ORDER BY sequence LIMIT $2)
                    """, [.integer(sequence), .integer(Self.bite)])
                return tx.changes
            }
            if removed < Self.bite { break }
        }
        try await database.write { tx in
            try tx.execute(
                """
                DELETE FROM audit_checkpoints WHERE sequence < $1 AND number < (SELECT MAX(number) FROM audit_checkpoints WHERE kind = 'cut')
                """, [.integer(sequence)])
        }
    }
}
