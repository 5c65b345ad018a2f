internal import MusterWire

/// Removes commands and remembered answers that have served their time. Small bites, so that no other write waits long.
struct HistoryRetention: Chore {
    private static let bite = 20

    let database: any SQLDatabase
    let days: Int
    let subject = "old records"

    func clean(now: Timestamp) async throws {
        try await database.write { tx in
            try tx.execute("DELETE FROM idempotent_answers WHERE expires_at <= $1", [.integer(now.milliseconds)])
        }
        let oldest = now.adding(seconds: -Int64(days) * 86_400).milliseconds
        while !Task.isCancelled {
            // Only what has ended: a command may be younger than its own deadline and still old.
            let removed = try await database.write { tx in
                let ended = """
                    SELECT command_id FROM commands WHERE finished_at IS NOT NULL AND requested_at < $1
                    ORDER BY requested_at LIMIT $2
                    """
                try tx.execute("DELETE FROM commands WHERE command_id IN (\(ended))", [.integer(oldest), .integer(Self.bite)])
                return tx.changes
            }
            if removed < Self.bite { return }
        }
    }
}
