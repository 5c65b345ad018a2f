internal import MusterWire

/// Removes outputs that have served their time, and gives up those that do not come.
struct OutputRetention: Chore {
    let database: any SQLDatabase
    let uploads: OutputUploads
    let days: Int
    let subject = "old outputs"

    func clean(now: Timestamp) async throws {
        let waited = now.adding(seconds: -OutputStore.waitSeconds)
        _ = try await database.write { tx in try OutputStore.giveUp(before: waited, at: now, in: tx) }
        try await uploads.expire(before: now.adding(seconds: -Int64(days) * 86_400))
    }
}
