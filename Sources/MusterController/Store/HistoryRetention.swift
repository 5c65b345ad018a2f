internal import MusterWire

/// Removes commands, sessions and remembered answers that have served their time. Small bites, so that no other write waits long.
struct HistoryRetention: Chore {
    private static let bite = 20

    let database: any SQLDatabase
    let days: Int
    let subject = "old records"

    func clean(now: Timestamp) async throws {
        try await database.write { tx in
            try tx.execute("DELETE FROM idempotent_answers WHERE expires_at <= $1", [.integer(now.milliseconds)])
        }
        let oldest = now.adding(seconds: -Int64(days) * 86_400)
        while !Task.isCancelled {
            let removed = try await database.write { tx in try SessionStore.removeEnded(before: oldest, limit: Self.bite, in: tx) }
            if removed < Self.bite { break }
        }
        while !Task.isCancelled {
            // Only what has ended: a command may be younger than its own deadline and still old.
            let removed = try await database.write { tx in
                let ended = """
                    SELECT command_id FROM commands WHERE finished_at IS NOT NULL AND requested_at < $1
                    ORDER BY requested_at LIMIT $2
                    """
                try tx.execute("DELETE FROM commands WHERE command_id IN (\(ended))", [.integer(oldest.milliseconds), .integer(Self.bite)])
                return tx.changes
            }
            if removed < Self.bite { break }
        }
        while !Task.isCancelled {
            // Last: it is what came before that they decide about.
            let removed = try await database.write { tx in try TagStore.removeForgotten(limit: Self.bite, in: tx) }
            if removed == 0 { return }
        }
    }
}
