internal import MusterWire
internal import NIOPosix

/// Removes recordings that have served their time. Their rows stay, and the audit trail says when it was done.
struct RecordingRetention: Chore {
    private static let bite = 50

    let database: any SQLDatabase
    let archive: RecordingArchive
    let days: Int
    let subject = "old recordings"

    func clean(now: Timestamp) async throws {
        let before = now.adding(seconds: -Int64(days) * 86_400)
        while !Task.isCancelled {
            // Said before it is done: a row may never promise what is not there.
            let sessions = try await database.write { tx in
                let sessions = try RecordingStore.expirable(before: before, count: Self.bite, in: tx)
                for session in sessions { try RecordingStore.expire(session, at: now, in: tx) }
                return sessions
            }
            if sessions.count < Self.bite { break }
        }
        // By what is there, so that what a power cut left behind goes the next time.
        let archive = archive
        let present = try await NIOThreadPool.singleton.runIfActive { try archive.sessions() }
        for session in present {
            guard try await database.read({ tx in try RecordingStore.row(session, in: tx)?.summary.state == .expired }) else { continue }
            try await NIOThreadPool.singleton.runIfActive { try archive.remove(session) }
        }
    }
}
