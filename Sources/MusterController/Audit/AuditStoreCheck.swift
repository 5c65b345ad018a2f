internal import FoundationEssentials
package import MusterCrypto
package import MusterWire

/// `muster-controller audit verify`: the store itself, row by row, while the controller runs or not.
package struct AuditStoreCheck: Sendable {
    private static let page = 1_000

    let directory: DataDirectory

    package init(configuration: ControllerConfiguration) {
        directory = DataDirectory(configuration.dataDirectory)
    }

    package struct Outcome: Sendable {
        package let verdict: AuditVerifier.Verdict
        /// A copy in a row's columns that says something else than its record; searches would be misled by it.
        package let columns: String?

        package var isProven: Bool { verdict.isProven && columns == nil }
    }

    package struct Report: Sendable {
        package let words: String
        package let isProven: Bool
    }

    /// For people. Files hold one checkpoint a line, alone or among other lines of a trail.
    package func report(checkpointFiles: [String]) async throws -> Report {
        var checkpoints: [AuditCheckpoint] = []
        for path in checkpointFiles {
            let found = try DataDirectory.text(at: path).split(separator: "\n").compactMap { line -> AuditCheckpoint? in
                let bytes = Array(line.utf8)
                if let checkpoint = try? JSONCoding.decode(AuditCheckpoint.self, from: bytes) { return checkpoint }
                if case .checkpoint(let checkpoint)? = AuditLine(bytes) { return checkpoint }
                return nil
            }
            guard !found.isEmpty else { throw ControllerError.badSetting("There is no checkpoint in \(path).") }
            checkpoints += found
        }
        let outcome = try await run(checkpoints: checkpoints)
        let words = outcome.verdict.words + (outcome.columns.map { "; BROKEN: \($0)" } ?? "")
        return Report(words: words, isProven: outcome.isProven)
    }

    /// - Parameter checkpoints: from outside; the one beside the store is added.
    package func run(checkpoints: [AuditCheckpoint]) async throws -> Outcome {
        try directory.verifyFiles()
        guard directory.exists(.database) else { throw ControllerError.notInitialised(directory.path) }
        let database = try SQLiteDatabase(path: directory.path(of: .database))
        defer { try? database.close() }
        var outside = checkpoints
        // Read before the head, so that it cannot be younger.
        if directory.exists(.auditCheckpoint) {
            outside.append(
                try JSONCoding.decode(AuditCheckpoint.self, from: Array(try directory.text(.auditCheckpoint).utf8)))
        }
        return try await Self.run(database, checkpoints: outside)
    }

    package static func run(_ database: any SQLDatabase, checkpoints: [AuditCheckpoint]) async throws -> Outcome {
        let (head, oldest, authorities) = try await database.read { tx in
            (try AuditLog.head(in: tx), try AuditStore.oldest(in: tx), try AuthorityStore.all(in: tx).map(\.certificate))
        }
        var verifier = AuditVerifier(authorities: authorities, outside: checkpoints)
        verifier.take(.trail(oldest.mark))
        if let cut = oldest.cut { verifier.take(.checkpoint(cut)) }
        var columns: String?
        var position = (mark: oldest.mark, checkpoint: Int64(0))
        while !verifier.isSettled {
            let from = position
            let (piece, strange) = try await database.read { tx in
                let piece = try AuditStore.piece(
                    after: from.mark, checkpoint: from.checkpoint, until: head.sequence, records: page, bytes: .max, in: tx)
                return (piece, try Self.strange(after: from.mark.sequence, through: piece.mark.sequence, in: tx))
            }
            if columns == nil { columns = strange }
            for line in piece.lines { verifier.take(line) }
            if piece.mark == position.mark { break }
            position = (piece.mark, piece.checkpoint)
        }
        if position.mark != head, !verifier.isSettled {
            // The head's row says how far the trail goes: what is missing before it was cut off.
            verifier.expect(head)
        }
        return Outcome(verdict: verifier.end(), columns: columns)
    }

    private static func strange(after first: Int64, through last: Int64, in tx: any SQLTransaction) throws -> String? {
        for row in try tx.query(
            """
            SELECT sequence, event_id, time_ms, operation, outcome, record FROM audit_events
            WHERE sequence > $1 AND sequence <= $2 ORDER BY sequence
            """, [.integer(first), .integer(last)])
        {
            let sequence = try row.integer("sequence")
            let record = AuditRecord(sequence: sequence, digest: [], bytes: Array(try row.text("record").utf8))
            guard let fields = try? record.decoded() else { return "record \(sequence) is not readable" }
            let isSuccess = try row.text("outcome") == AuditEvent.Outcome.success.rawValue
            guard fields.eventID == (try row.text("event_id")), fields.eventName == (try row.text("operation")),
                fields.time?.milliseconds == (try row.integer("time_ms")), isSuccess == (fields.errorCode == nil)
            else { return "the columns of row \(sequence) say something else than its record" }
        }
        return nil
    }
}
