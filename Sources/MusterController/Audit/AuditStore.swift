internal import MusterCrypto
package import MusterWire

/// The rows of the audit trail as those read them who bring it elsewhere.
enum AuditStore {
    // MARK: Records and checkpoints, in their order

    /// Lines from behind `sequence` on: the records, and behind each the checkpoints that were made there.
    struct Piece: Sendable {
        var lines: [AuditLine] = []
        /// Where the next piece goes on.
        var mark: AuditMark
        var checkpoint: Int64
        var bytes = 0

        var isEmpty: Bool { lines.isEmpty }
    }

    /// - Parameters:
    ///   - mark: where it goes on; rows before it that were removed since are skipped.
    ///   - checkpoint: the number of the last checkpoint that was read.
    ///   - until: the last sequence wanted.
    static func piece(
        after mark: AuditMark, checkpoint: Int64, until: Int64 = .max, records: Int, bytes: Int, in tx: any SQLTransaction
    ) throws -> Piece {
        var piece = Piece(mark: mark, checkpoint: checkpoint)
        let rows = try tx.query(
            "SELECT sequence, digest, record FROM audit_events WHERE sequence > $1 AND sequence <= $2 ORDER BY sequence LIMIT $3",
            [.integer(mark.sequence), .integer(until), .integer(records)])
        let last = try rows.last?.integer("sequence") ?? mark.sequence
        var checkpoints = try checkpoints(from: mark.sequence, through: last, after: checkpoint, in: tx)[...]
        func take(through sequence: Int64) throws {
            while let next = checkpoints.first, next.sequence <= sequence {
                checkpoints.removeFirst()
                piece.lines.append(.checkpoint(next.checkpoint))
                piece.checkpoint = next.number
                piece.bytes += next.checkpoint.text.utf8.count + next.checkpoint.authority.utf8.count
            }
        }
        try take(through: mark.sequence)
        for row in rows {
            let sequence = try row.integer("sequence")
            guard piece.bytes < bytes else { return piece }
            let digest = try row.text("digest")
            let record = AuditRecord(sequence: sequence, digest: Hex.decode(digest) ?? [], bytes: Array(try row.text("record").utf8))
            piece.lines.append(.record(record))
            piece.bytes += record.bytes.count + 120
            piece.mark = AuditMark(trail: mark.trail, sequence: sequence, digest: digest)
            try take(through: sequence)
        }
        return piece
    }

    private static func checkpoints(
        from sequence: Int64, through last: Int64, after number: Int64, in tx: any SQLTransaction
    ) throws -> [(number: Int64, sequence: Int64, checkpoint: AuditCheckpoint)] {
        try tx.query(
            """
            SELECT number, sequence, checkpoint FROM audit_checkpoints
            WHERE kind <> 'cut' AND sequence >= $1 AND sequence <= $2 AND number > $3 ORDER BY number
            """, [.integer(sequence), .integer(last), .integer(number)]
        ).map { row in
            (
                try row.integer("number"), try row.integer("sequence"),
                try JSONCoding.decode(AuditCheckpoint.self, from: Array(row.text("checkpoint").utf8))
            )
        }
    }

    /// Where the rows begin: behind the last cut, or at the start of the trail. A row that says that it is a cut and holds no signed one
    /// counts for nothing, as if it were not there.
    /// - Parameter authorities: whose signatures count; nil for those that the store names.
    static func oldest(
        signedBy authorities: [Certificate]? = nil, in tx: any SQLTransaction
    ) throws -> (mark: AuditMark, cut: AuditCheckpoint?) {
        let trail = try AuditLog.head(in: tx).trail
        let cuts = try cuts(mostCuts, in: tx)
        guard !cuts.isEmpty else { return (.start(of: trail), nil) }
        let authorities = try authorities ?? AuthorityStore.all(in: tx).map(\.certificate)
        for text in cuts {
            guard let cut = try? JSONCoding.decode(AuditCheckpoint.self, from: Array(text.utf8)), let statement = try? cut.decoded(),
                statement.kind == .cut, statement.mark.trail == trail, AuditChain(statement.mark) != nil,
                authorities.contains(where: { cut.isSigned(by: $0) })
            else { continue }
            return (statement.mark, cut)
        }
        return (.start(of: trail), nil)
    }

    /// The newest row that says that it is a cut, as it stands.
    static func newestCut(in tx: any SQLTransaction) throws -> String? { try cuts(1, in: tx).first }

    /// Two are there while the older one is being removed.
    private static let mostCuts = 100

    private static func cuts(_ count: Int, in tx: any SQLTransaction) throws -> [String] {
        try tx.query("SELECT checkpoint FROM audit_checkpoints WHERE kind = 'cut' ORDER BY number DESC LIMIT $1", [.integer(count)])
            .map { try $0.text("checkpoint") }
    }

    /// The mark at a sequence, as far as its record is still here.
    static func mark(
        at sequence: Int64, signedBy authorities: [Certificate]? = nil, in tx: any SQLTransaction
    ) throws -> AuditMark? {
        let oldest = try oldest(signedBy: authorities, in: tx).mark
        if oldest.sequence == sequence { return oldest }
        guard sequence > oldest.sequence,
            let row = try tx.first("SELECT digest FROM audit_events WHERE sequence = $1", [.integer(sequence)])
        else { return nil }
        return AuditMark(trail: oldest.trail, sequence: sequence, digest: try row.text("digest"))
    }

    // MARK: Checkpoints

    /// Of the head as it is inside this transaction: whoever sees a younger record sees this checkpoint too.
    static func checkpoint(
        _ kind: AuditStatement.Kind, at mark: AuditMark? = nil, time: Timestamp, by authority: CertificateAuthority,
        in tx: any SQLTransaction
    ) throws -> AuditCheckpoint {
        let mark = try mark ?? AuditLog.head(in: tx)
        let last = try tx.first("SELECT MAX(number) AS number FROM audit_checkpoints")?.optionalInteger("number") ?? 0
        let (number, isOver) = last.addingReportingOverflow(1)
        // Nobody has made so many: somebody has written one there.
        if isOver { throw StoredValueError(table: "audit_checkpoints", key: "\(last)") }
        let checkpoint = try AuditCheckpoint(AuditStatement(kind: kind, mark: mark, time: time, number: number), by: authority)
        try tx.execute(
            "INSERT INTO audit_checkpoints (number, kind, sequence, time_ms, checkpoint) VALUES ($1, $2, $3, $4, $5)",
            [
                .integer(number), .text(kind.rawValue), .integer(mark.sequence), .integer(time.milliseconds),
                .text(String(decoding: try JSONCoding.encode(checkpoint), as: UTF8.self)),
            ])
        return checkpoint
    }

    static func latestCheckpoint(in tx: any SQLTransaction) throws -> AuditCheckpoint? {
        try tx.first("SELECT checkpoint FROM audit_checkpoints WHERE kind <> 'cut' ORDER BY number DESC LIMIT 1")
            .map { try JSONCoding.decode(AuditCheckpoint.self, from: Array($0.text("checkpoint").utf8)) }
    }

    // MARK: Deliveries

    struct Position: Sendable, Equatable {
        var mark: AuditMark
        var checkpoint: Int64
    }

    static func position(of target: String, in tx: any SQLTransaction) throws -> Position? {
        try tx.first("SELECT trail, sequence, digest, checkpoint FROM audit_deliveries WHERE target = $1", [.text(target)]).map { row in
            Position(
                mark: AuditMark(trail: try row.text("trail"), sequence: try row.integer("sequence"), digest: try row.text("digest")),
                checkpoint: try row.integer("checkpoint"))
        }
    }

    static func set(_ position: Position, of target: String, in tx: any SQLTransaction) throws {
        try tx.execute(
            """
            INSERT INTO audit_deliveries (target, trail, sequence, digest, checkpoint) VALUES ($1, $2, $3, $4, $5)
            ON CONFLICT (target) DO UPDATE SET trail = $2, sequence = $3, digest = $4, checkpoint = $5
            """,
            [
                .text(target), .text(position.mark.trail), .integer(position.mark.sequence), .text(position.mark.digest),
                .integer(position.checkpoint),
            ])
    }
}
