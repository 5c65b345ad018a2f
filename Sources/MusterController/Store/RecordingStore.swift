internal import MusterCrypto
package import MusterWire

/// What the rows know of recordings. The bytes are in `RecordingArchive`.
package enum RecordingStore {
    package static let begun = "BeginRecording"
    package static let resumed = "ResumeRecording"
    package static let committed = RecordingCommitment.committed
    package static let sealed = RecordingCommitment.sealed
    package static let expired = "ExpireRecording"

    package static func insert(_ facts: SessionFacts, state: RecordingState, detail: String, in tx: any SQLTransaction) throws {
        try tx.execute(
            """
            INSERT INTO recordings (session_id, kind, state, detail, facts, node_id, owner, started_at, ended_at, end_reason, length, lines, head, flow)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, '', 0, 0, '', '')
            """,
            [
                .text(facts.id.rawValue), .text(facts.kind.rawValue), .text(state.rawValue), .text(detail),
                .text(String(decoding: try JSONCoding.encode(facts), as: UTF8.self)), .text(facts.node.rawValue), .text(facts.ownerARN),
                .integer(facts.started.milliseconds), .integer(state.isFinal ? facts.started.milliseconds : nil),
            ])
    }

    package struct Progress: Sendable, Equatable {
        package let session: SessionID
        package let mark: RecordingMark
        package let flow: FlowRecord?
        /// As the host has said; empty if it has not.
        package let user: String

        package init(session: SessionID, mark: RecordingMark, flow: FlowRecord? = nil, user: String = "") {
            (self.session, self.mark, self.flow, self.user) = (session, mark, flow, user)
        }
    }

    /// With its audit event, which is the commitment.
    package static func commit(_ progress: Progress, at now: Timestamp, in tx: any SQLTransaction) throws {
        try tx.execute(
            """
            UPDATE recordings SET length = $2, lines = $3, head = $4, flow = CASE WHEN $5 = '' THEN flow ELSE $5 END,
                os_user = CASE WHEN $6 = '' THEN os_user ELSE $6 END, committed_at = $7
            WHERE session_id = $1 AND state = 'open'
            """,
            try arguments(progress) + [.integer(now.milliseconds)])
        guard tx.changes > 0 else { return }
        try AuditLog.append(event(committed, progress, at: now), in: tx)
    }

    package static func finish(
        _ progress: Progress, state: RecordingState, detail: String, endReason: String, at now: Timestamp, in tx: any SQLTransaction
    ) throws {
        try tx.execute(
            """
            UPDATE recordings SET length = $2, lines = $3, head = $4, flow = CASE WHEN $5 = '' THEN flow ELSE $5 END,
                os_user = CASE WHEN $6 = '' THEN os_user ELSE $6 END, committed_at = $7, state = $8, detail = $9, end_reason = $10,
                ended_at = $7
            WHERE session_id = $1 AND state = 'open'
            """,
            try arguments(progress) + [.integer(now.milliseconds), .text(state.rawValue), .text(detail), .text(endReason)])
        guard tx.changes > 0 else { return }
        try AuditLog.append(event(sealed, progress, at: now, ["state": state.rawValue, "reason": endReason]), in: tx)
    }

    private static func arguments(_ progress: Progress) throws -> [SQLValue] {
        let flow = try progress.flow.map { String(decoding: try JSONCoding.encode($0), as: UTF8.self) } ?? ""
        return [
            .text(progress.session.rawValue), .integer(progress.mark.length), .integer(progress.mark.lines), .text(progress.mark.head),
            .text(flow), .text(progress.user),
        ]
    }

    private static func event(
        _ operation: String, _ progress: Progress, at now: Timestamp, _ more: [String: String] = [:]
    ) -> AuditEvent {
        let mark = progress.mark
        var details = ["length": String(mark.length), "lines": String(mark.lines), "head": mark.head]
        if !progress.user.isEmpty { details["runAsUser"] = progress.user }
        // Of pipes the chain has the beginning only.
        if let flow = progress.flow, let text = try? JSONCoding.encode(flow) { details["flow"] = Hex.encode(SHA256.hash(text)) }
        return AuditEvent(
            time: now, controllerDid: operation, resource: progress.session.rawValue, details: details.merging(more) { $1 })
    }

    // MARK: Reading

    package struct Row: Sendable {
        package let facts: SessionFacts
        package let summary: RecordingSummary
    }

    private static let columns =
        "session_id, kind, state, detail, facts, started_at, ended_at, end_reason, length, lines, head, flow, os_user, committed_at"

    package static func row(_ session: SessionID, in tx: any SQLTransaction) throws -> Row? {
        try tx.first("SELECT \(columns) FROM recordings WHERE session_id = $1", [.text(session.rawValue)]).map(row)
    }

    /// Newest first, from behind `after` on.
    package static func list(after: SessionID?, count: Int, in tx: any SQLTransaction) throws -> [Row] {
        guard let after else {
            return try tx.query("SELECT \(columns) FROM recordings ORDER BY started_at DESC, session_id LIMIT $1", [.integer(count)]).map(
                row)
        }
        guard let last = try tx.first("SELECT started_at FROM recordings WHERE session_id = $1", [.text(after.rawValue)]) else { return [] }
        return try tx.query(
            """
            SELECT \(columns) FROM recordings WHERE started_at < $1 OR (started_at = $1 AND session_id > $2)
            ORDER BY started_at DESC, session_id LIMIT $3
            """, [.integer(try last.integer("started_at")), .text(after.rawValue), .integer(count)]
        ).map(row)
    }

    package static func open(in tx: any SQLTransaction) throws -> [Row] {
        try tx.query("SELECT \(columns) FROM recordings WHERE state = 'open' ORDER BY session_id").map(row)
    }

    private static func row(_ row: SQLRow) throws -> Row {
        let facts = try JSONCoding.decode(SessionFacts.self, from: Array(row.text("facts").utf8))
        let (state, flow, user) = (try row.text("state"), try row.text("flow"), try row.text("os_user"))
        guard let known = RecordingState(rawValue: state) else { throw StoredValueError(table: "recordings", key: state) }
        return Row(
            facts: facts,
            summary: RecordingSummary(
                session: facts.id, node: facts.node, owner: facts.ownerARN, document: facts.document, sessionType: facts.sessionType,
                reason: facts.reason, kind: facts.kind, state: known, detail: try row.text("detail"), inputRecorded: facts.inputRecorded,
                started: facts.started, ended: try row.optionalInteger("ended_at").map(Timestamp.init(milliseconds:)),
                endReason: try row.text("end_reason"),
                mark: RecordingMark(length: try row.integer("length"), lines: try row.integer("lines"), head: try row.text("head")),
                committed: try row.optionalInteger("committed_at").map(Timestamp.init(milliseconds:)),
                flow: flow.isEmpty ? nil : try JSONCoding.decode(FlowRecord.self, from: Array(flow.utf8)), command: facts.command,
                user: [user, facts.runAsUser ?? ""].first { !$0.isEmpty }))
    }

    /// As the audit trail has them, oldest first.
    package static func commitments(
        of session: SessionID?, after sequence: Int64, count: Int, in tx: any SQLTransaction
    ) throws -> [RecordingCommitment] {
        let isOf = session == nil ? "" : "AND resource = $3"
        let rows = try tx.query(
            """
            SELECT sequence, record FROM audit_events
            WHERE operation IN ('\(committed)', '\(sealed)') AND sequence > $1 \(isOf) ORDER BY sequence LIMIT $2
            """, [.integer(sequence), .integer(count)] + (session.map { [.text($0.rawValue)] } ?? []))
        return try rows.compactMap { row in
            RecordingCommitment(
                AuditRecord(sequence: try row.integer("sequence"), digest: [], bytes: Array(try row.text("record").utf8)))
        }
    }

    // MARK: Housekeeping

    package static func expirable(before: Timestamp, count: Int, in tx: any SQLTransaction) throws -> [SessionID] {
        try tx.query(
            "SELECT session_id FROM recordings WHERE state NOT IN ('open', 'expired') AND ended_at < $1 ORDER BY ended_at LIMIT $2",
            [.integer(before.milliseconds), .integer(count)]
        ).compactMap { SessionID(try $0.text("session_id")) }
    }

    package static func expire(_ session: SessionID, at now: Timestamp, in tx: any SQLTransaction) throws {
        try tx.execute(
            "UPDATE recordings SET state = 'expired' WHERE session_id = $1 AND state NOT IN ('open', 'expired')",
            [.text(session.rawValue)])
        guard tx.changes > 0 else { return }
        try AuditLog.append(AuditEvent(time: now, controllerDid: expired, resource: session.rawValue), in: tx)
    }
}
