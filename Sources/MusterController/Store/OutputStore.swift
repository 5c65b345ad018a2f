package import MusterDocuments
package import MusterWire

/// What the rows know of outputs. The bytes are in `OutputFolder`, or, when a reply held all of them, in the step's row.
package enum OutputStore {
    package struct Row: Sendable, Equatable {
        package let state: OutputState
        package let length: Int64
        package let sha256: String
        package let lost: Int64
        package let reason: String
    }

    /// Where the bytes of a stream are.
    package enum Source: Sendable, Equatable {
        case file
        /// In the step's row.
        case text
        case nowhere
    }

    package struct Stream: Sendable {
        package let key: OutputKey
        package let source: Source
        package var stored: StoredOutput
    }

    /// The command's document, if the command was sent to the node.
    package static func document(of command: CommandID, for node: NodeID, in tx: any SQLTransaction) throws -> Document? {
        let row = try tx.first(
            """
            SELECT c.document FROM commands c JOIN invocations i ON i.command_id = c.command_id
            WHERE c.command_id = $1 AND i.node_id = $2
            """, [.text(command.description), .text(node.description)])
        return try row.map { try DocumentDecoder.decode(json: Array($0.text("document").utf8)) }
    }

    package static func row(_ key: OutputKey, in tx: any SQLTransaction) throws -> Row? {
        try tx.first(
            "SELECT state, length, sha256, lost, reason FROM step_outputs WHERE command_id = $1 AND node_id = $2 AND step_name = $3 AND stream = $4",
            arguments(key)
        ).map(Row.init)
    }

    /// What the node may bring of a stream.
    package enum Expectation: Sendable, Equatable {
        /// The step has ended without it, or the node has had all the time there is.
        case nothing
        /// The step has ended and left so many bytes.
        case announced(Int64)
        /// The step may still write, or nobody knows how it ended.
        case growing
    }

    /// How long after its end a command's outputs are taken, and kept by a node that cannot send them.
    package static let waitSeconds: Int64 = 15 * 86_400

    package static func expectation(of key: OutputKey, at now: Timestamp, in tx: any SQLTransaction) throws -> Expectation {
        guard
            let row = try tx.first(
                """
                SELECT i.sent_at, i.ended_at, s.status AS step_status, s.outputs
                FROM invocations i LEFT JOIN step_results s
                    ON s.command_id = i.command_id AND s.node_id = i.node_id AND s.step_name = $3
                WHERE i.command_id = $1 AND i.node_id = $2
                """, Array(arguments(key).prefix(3)))
        else { return .nothing }
        if let status = try row.optionalText("step_status"), !["Pending", "InProgress"].contains(status) {
            let text = try row.optionalText("outputs") ?? ""
            guard !text.isEmpty, let facts = try JSONCoding.decode(StepOutputs.self, from: Array(text.utf8))[key.stream],
                facts.inline != true
            else { return .nothing }
            return .announced(facts.length)
        }
        // What was never sent to the node has no output there.
        guard try row.optionalInteger("sent_at") != nil else { return .nothing }
        if let ended = try row.optionalInteger("ended_at"), ended < now.adding(seconds: -waitSeconds).milliseconds { return .nothing }
        return .growing
    }

    /// The stream is on its way. What has been said of it before stays.
    package static func begin(
        command: CommandID, node: NodeID, step: String, stream: OutputStream, at now: Timestamp, in tx: any SQLTransaction
    ) throws {
        try tx.execute(
            """
            INSERT INTO step_outputs (command_id, node_id, step_name, stream, state, length, sha256, lost, reason, updated_at)
            SELECT i.command_id, i.node_id, $3, $4, 'uploading', 0, '', 0, '', $5
            FROM invocations i WHERE i.command_id = $1 AND i.node_id = $2
            ON CONFLICT (command_id, node_id, step_name, stream) DO NOTHING
            """,
            [.text(command.description), .text(node.description), .text(step), .text(stream.rawValue), .integer(now.milliseconds)])
    }

    package static func finish(_ key: OutputKey, _ row: Row, at now: Timestamp, in tx: any SQLTransaction) throws {
        try tx.execute(
            """
            UPDATE step_outputs SET state = $5, length = $6, sha256 = $7, lost = $8, reason = $9, updated_at = $10
            WHERE command_id = $1 AND node_id = $2 AND step_name = $3 AND stream = $4 AND state = 'uploading'
            """,
            arguments(key) + [
                .text(row.state.rawValue), .integer(row.length), .text(row.sha256), .integer(row.lost), .text(row.reason),
                .integer(now.milliseconds),
            ])
    }

    /// The streams of a command on a node, in the order of the document. Lengths of those on their way are the file's to say.
    package static func streams(
        of command: CommandID, _ node: NodeID, _ document: Document, in tx: any SQLTransaction
    ) throws -> [Stream] {
        var facts: [String: (StepOutputs?, Bool)] = [:]
        for row in try tx.query(
            "SELECT step_name, outputs, status FROM step_results WHERE command_id = $1 AND node_id = $2",
            [.text(command.description), .text(node.description)])
        {
            let hasEnded = !["Pending", "InProgress"].contains(try row.text("status"))
            let text = try row.text("outputs")
            facts[try row.text("step_name")] = (
                text.isEmpty ? nil : try JSONCoding.decode(StepOutputs.self, from: Array(text.utf8)), hasEnded
            )
        }
        var rows: [String: Row] = [:]
        for row in try tx.query(
            "SELECT step_name, stream, state, length, sha256, lost, reason FROM step_outputs WHERE command_id = $1 AND node_id = $2",
            [.text(command.description), .text(node.description)])
        {
            rows[try row.text("step_name") + "/" + row.text("stream")] = try Row(row)
        }
        return document.steps.flatMap { step in
            OutputStream.allCases.compactMap { stream in
                let name = step.name.rawValue
                return OutputKey(command: command, node: node, step: name, stream: stream, in: document).map {
                    Self.stream($0, facts[name], rows[name + "/" + stream.rawValue])
                }
            }
        }
    }

    private static func stream(_ key: OutputKey, _ known: (facts: StepOutputs?, hasEnded: Bool)?, _ row: Row?) -> Stream {
        func made(_ source: Source, _ state: OutputState, _ length: Int64 = 0, sha256: String = "", lost: Int64 = 0, reason: String = "")
            -> Stream
        {
            Stream(
                key: key, source: source,
                stored: StoredOutput(
                    step: key.step, stream: key.stream, state: state, length: length, sha256: sha256, lost: lost, reason: reason))
        }
        if let facts = known?.facts?[key.stream], facts.inline == true {
            let lost = facts.lost ?? 0
            return made(.text, lost > 0 ? .truncated : .complete, facts.length, sha256: facts.sha256 ?? "", lost: lost)
        }
        if let row { return made(.file, row.state, row.length, sha256: row.sha256, lost: row.lost, reason: row.reason) }
        guard let known, known.hasEnded else { return made(.nowhere, .unknown) }
        // The step has ended. One that wrote nothing is complete; an agent that says nothing of outputs keeps them to itself.
        if known.facts != nil { return made(.nowhere, .complete, sha256: emptyDigest) }
        return made(.nowhere, .lost, reason: "the node reported no outputs")
    }

    private static let emptyDigest = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

    /// The part of the step's row that is the stream.
    package static func text(_ key: OutputKey, length: Int64, in tx: any SQLTransaction) throws -> [UInt8] {
        let column = key.stream == .standardOutput ? "standard_output" : "standard_error"
        let row = try tx.first(
            "SELECT \(column) AS content FROM step_results WHERE command_id = $1 AND node_id = $2 AND step_name = $3",
            [.text(key.command.description), .text(key.node.description), .text(key.step)])
        return Array(try (row?.text("content") ?? "").utf8.prefix(Int(length)))
    }

    // MARK: Housekeeping

    /// Streams that have been on their way for so long do not come any more.
    package static func giveUp(before: Timestamp, at now: Timestamp, in tx: any SQLTransaction) throws -> Int {
        try tx.execute(
            """
            UPDATE step_outputs SET state = 'lost', reason = 'the node did not send it in time', updated_at = $1
            WHERE state = 'uploading' AND updated_at < $2
            """, [.integer(now.milliseconds), .integer(before.milliseconds)])
        return tx.changes
    }

    /// Whether the command's outputs have served their time; a command that is not known has none.
    package static func isExpired(_ command: CommandID, before: Timestamp, in tx: any SQLTransaction) throws -> Bool {
        guard let row = try tx.first("SELECT finished_at FROM commands WHERE command_id = $1", [.text(command.description)]) else {
            return true
        }
        return try row.optionalInteger("finished_at").map { $0 < before.milliseconds } ?? false
    }

    package static func expire(_ command: CommandID, at now: Timestamp, in tx: any SQLTransaction) throws {
        try tx.execute(
            "UPDATE step_outputs SET state = 'expired', updated_at = $1 WHERE command_id = $2",
            [.integer(now.milliseconds), .text(command.description)])
    }

    private static func arguments(_ key: OutputKey) -> [SQLValue] {
        [.text(key.command.description), .text(key.node.description), .text(key.step), .text(key.stream.rawValue)]
    }
}

extension OutputStore.Row {
    init(_ row: SQLRow) throws {
        let state = try row.text("state")
        guard let known = OutputState(rawValue: state) else { throw StoredValueError(table: "step_outputs", key: state) }
        self.init(
            state: known, length: try row.integer("length"), sha256: try row.text("sha256"), lost: try row.integer("lost"),
            reason: try row.text("reason"))
    }
}
