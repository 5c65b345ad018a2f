package import MusterWire

/// A command as its row holds it.
package struct CommandRecord: Sendable, Equatable {
    package var id: CommandID
    package var documentName: String
    /// As the caller wrote it; empty when not given.
    package var documentVersion: String
    /// The whole document, JSON.
    package var document: String
    /// The caller's own, before defaults.
    package var parameters: [String: [String]]
    package var comment: String
    package var instanceIDs: [NodeID]
    package var targets: [Target]
    package var timeoutSeconds: Int
    package var executionTimeoutSeconds: Int
    package var maxConcurrency: String
    package var maxErrors: String
    package var requestedBy: String
    package var progress: CommandProgress
    package var requestedAt: Timestamp
    package var isCancelRequested: Bool
    /// Where copies of the outputs go; empty: nowhere.
    package var outputBucket = ""
    package var outputPrefix = ""

    /// What has not reached its node by then does not start there.
    package var startBy: Timestamp { requestedAt.adding(seconds: Int64(timeoutSeconds)) }
    package var expiresAt: Timestamp { startBy.adding(seconds: Int64(executionTimeoutSeconds)) }

    package init(
        id: CommandID, documentName: String, documentVersion: String, document: String, parameters: [String: [String]],
        comment: String, instanceIDs: [NodeID], targets: [Target], timeoutSeconds: Int, executionTimeoutSeconds: Int,
        maxConcurrency: String, maxErrors: String, requestedBy: String, targetCount: Int, requestedAt: Timestamp
    ) {
        self.id = id
        self.documentName = documentName
        self.documentVersion = documentVersion
        self.document = document
        self.parameters = parameters
        self.comment = comment
        self.instanceIDs = instanceIDs
        self.targets = targets
        self.timeoutSeconds = timeoutSeconds
        self.executionTimeoutSeconds = executionTimeoutSeconds
        self.maxConcurrency = maxConcurrency
        self.maxErrors = maxErrors
        self.requestedBy = requestedBy
        self.progress = CommandProgress(
            status: .pending, targetCount: targetCount, completedCount: 0, errorCount: 0, deliveryTimedOutCount: 0)
        self.requestedAt = requestedAt
        self.isCancelRequested = false
    }
}

/// One target of a command as its row holds it.
package struct InvocationRecord: Sendable, Equatable {
    package var node: NodeID
    package var position: Int
    package var generation: Int
    package var instanceName: String
    package var state: InvocationState
    package var trace: String
    package var isCancelRequested: Bool
    /// Has ended here without a word of its node, which was to be told to stop.
    package var isStray = false

    package init(node: NodeID, position: Int, generation: Int, instanceName: String, state: InvocationState = .pending, trace: String = "")
    {
        self.node = node
        self.position = position
        self.generation = generation
        self.instanceName = instanceName
        self.state = state
        self.trace = trace
        self.isCancelRequested = false
    }
}

/// What one step left on one node.
package struct StepRecord: Sendable, Equatable {
    package var name: String
    package var position: Int
    package var plugin: String
    package var status: CommandPluginStatus
    package var statusDetails: String
    package var code: Int
    package var output: String
    package var standardOutput: String
    package var standardError: String
    package var startedAt: Timestamp?
    package var endedAt: Timestamp?
    /// What the node said of the complete streams, and which of them the texts above hold.
    package var outputs: StepOutputs?
}

/// Everything that one round of the dispatcher makes durable together.
struct CommandChanges: Sendable {
    struct Invocation: Sendable {
        let command: CommandID
        let node: NodeID
        let state: InvocationState
        let trace: String
        /// The node may have the job from here on, and did not before.
        var begins = false
        /// Has ended here, and its node may be running it all the same.
        var isStray = false
    }

    struct Step: Sendable {
        let command: CommandID
        let node: NodeID
        let step: StepRecord
    }

    var invocations: [Invocation] = []
    var steps: [Step] = []
    var progress: [(command: CommandID, progress: CommandProgress)] = []

    var isEmpty: Bool { invocations.isEmpty && steps.isEmpty && progress.isEmpty }

    /// What the audit trail has of them: that an invocation began, and how it ended. Who asked for it is the command's event.
    func events(at now: Timestamp) -> [AuditEvent] {
        var events: [AuditEvent] = []
        for change in invocations where change.begins || change.state.isFinal {
            let (command, node) = (change.command.description, change.node.description)
            if change.begins {
                events.append(AuditEvent(time: now, controllerDid: "StartInvocation", resource: command, related: node))
            }
            if change.state.isFinal {
                events.append(
                    AuditEvent(
                        time: now, controllerDid: "EndInvocation", resource: command, related: node,
                        details: ["status": change.state.status, "statusDetails": change.state.details]))
            }
        }
        return events
    }
}

package enum CommandStore {
    private static let commandColumns = """
        c.command_id, c.document_name, c.document_version, c.document, c.parameters, c.comment, c.instance_ids, c.targets, \
        c.timeout_seconds, c.execution_timeout_seconds, c.max_concurrency, c.max_errors, c.requested_by, c.status, c.status_details, \
        c.target_count, c.completed_count, c.error_count, c.delivery_timed_out_count, c.requested_at, c.cancel_requested, \
        c.output_bucket, c.output_prefix
        """

    // MARK: A command

    package static func insert(
        _ command: CommandRecord, _ invocations: [InvocationRecord], by permit: Permit, in tx: any SQLTransaction
    ) throws {
        try tx.execute(
            """
            INSERT INTO commands (command_id, document_name, document_version, document, parameters, comment, instance_ids, targets,
                timeout_seconds, execution_timeout_seconds, max_concurrency, max_errors, requested_by, status, status_details,
                target_count, requested_at, start_by, expires_at, output_bucket, output_prefix, archive_state, owner)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23)
            """,
            [
                .text(command.id.description), .text(command.documentName), .text(command.documentVersion), .text(command.document),
                .text(try json(command.parameters)), .text(command.comment), .text(try json(command.instanceIDs)),
                .text(try json(command.targets)), .integer(command.timeoutSeconds), .integer(command.executionTimeoutSeconds),
                .text(command.maxConcurrency), .text(command.maxErrors), .text(command.requestedBy),
                .text(command.progress.status.status), .text(command.progress.status.details),
                .integer(command.progress.targetCount), .integer(command.requestedAt.milliseconds),
                .integer(command.startBy.milliseconds), .integer(command.expiresAt.milliseconds), .text(command.outputBucket),
                .text(command.outputPrefix), .integer(command.outputBucket.isEmpty ? 0 : 1),
                .text(permit.access.principal.user),
            ])
        for invocation in invocations {
            try tx.execute(
                """
                INSERT INTO invocations (command_id, node_id, position, generation, instance_name, status, status_details,
                    requested_at, ended_at, trace_output)
                VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
                """,
                [
                    .text(command.id.description), .text(invocation.node.description), .integer(invocation.position),
                    .integer(invocation.generation), .text(invocation.instanceName), .text(invocation.state.status),
                    .text(invocation.state.details), .integer(command.requestedAt.milliseconds),
                    invocation.state.isFinal ? .integer(command.requestedAt.milliseconds) : .null, .text(invocation.trace),
                ])
        }
    }

    /// The user who sent it, in a role as well; empty for one from before there were users.
    package static func owner(of id: CommandID, in tx: any SQLTransaction) throws -> String {
        try tx.first("SELECT owner FROM commands WHERE command_id = $1", [.text(id.description)])?.text("owner") ?? ""
    }

    package static func command(_ id: CommandID, in tx: any SQLTransaction) throws -> CommandRecord? {
        try tx.first("SELECT \(commandColumns) FROM commands c WHERE c.command_id = $1", [.text(id.description)]).map(CommandRecord.init)
    }

    package static func invocations(of id: CommandID, in tx: any SQLTransaction) throws -> [InvocationRecord] {
        try tx.query(
            """
            SELECT node_id, position, generation, instance_name, status, status_details, trace_output, cancel_requested, is_stray
            FROM invocations WHERE command_id = $1 ORDER BY position
            """,
            [.text(id.description)]
        ).map(InvocationRecord.init)
    }

    package static func invocation(_ id: CommandID, _ node: NodeID, in tx: any SQLTransaction) throws -> InvocationRecord? {
        try tx.first(
            """
            SELECT node_id, position, generation, instance_name, status, status_details, trace_output, cancel_requested, is_stray
            FROM invocations WHERE command_id = $1 AND node_id = $2
            """,
            [.text(id.description), .text(node.description)]
        ).map(InvocationRecord.init)
    }

    package static func steps(of id: CommandID, _ node: NodeID, in tx: any SQLTransaction) throws -> [StepRecord] {
        try tx.query(
            """
            SELECT step_name, position, plugin, status, status_details, code, output, standard_output, standard_error, started_at, ended_at
            FROM step_results WHERE command_id = $1 AND node_id = $2 ORDER BY position, step_name
            """,
            [.text(id.description), .text(node.description)]
        ).map(StepRecord.init)
    }

    // MARK: Cancelling

    /// The wish is the caller's alone. The dispatcher reads it and never writes it: what it writes may have been decided before
    /// the wish was there.
    package static func requestCancel(of id: CommandID, in tx: any SQLTransaction) throws {
        try tx.execute("UPDATE commands SET cancel_requested = 1 WHERE command_id = $1", [.text(id.description)])
    }

    package static func requestCancel(of id: CommandID, on node: NodeID, in tx: any SQLTransaction) throws {
        try tx.execute(
            "UPDATE invocations SET cancel_requested = 1 WHERE command_id = $1 AND node_id = $2",
            [.text(id.description), .text(node.description)])
    }

    // MARK: Dispatch

    /// Commands with work left, oldest first. Work is left also where all has ended and a node may be running it still: until its
    /// time is over, after `expired`, the node is told to stop.
    static func openCommands(expired: Timestamp, in tx: any SQLTransaction) throws -> [CommandID] {
        try tx.query(
            """
            SELECT command_id FROM commands WHERE status IN ('Pending', 'InProgress', 'Cancelling')
                OR (expires_at > $1 AND command_id IN (SELECT command_id FROM invocations WHERE is_stray = 1))
            ORDER BY requested_at, command_id
            """,
            [.integer(expired.milliseconds)]
        ).compactMap { CommandID(try $0.text("command_id")) }
    }

    /// Targets whose node has been deregistered since.
    static func orphans(of id: CommandID, in tx: any SQLTransaction) throws -> [NodeID] {
        try tx.query(
            """
            SELECT i.node_id FROM invocations i LEFT JOIN nodes n ON n.node_id = i.node_id
            WHERE i.command_id = $1 AND (n.node_id IS NULL OR n.state = 'deregistered')
            """,
            [.text(id.description)]
        ).compactMap { NodeID(try $0.text("node_id")) }
    }

    /// Makes this process the one dispatcher: whoever holds an older number finds out at its next change.
    static func takeFence(in tx: any SQLTransaction) throws -> Int64 {
        let fence = (try MetaStore.value(.dispatchFence, in: tx).flatMap { Int64($0) } ?? 0) + 1
        try MetaStore.set(.dispatchFence, to: String(fence), in: tx)
        try tx.execute(
            "UPDATE commands SET owner_fence = $1 WHERE status IN ('Pending', 'InProgress', 'Cancelling')", [.integer(fence)])
        return fence
    }

    static func holdsFence(_ fence: Int64, in tx: any SQLTransaction) throws -> Bool {
        try MetaStore.value(.dispatchFence, in: tx) == String(fence)
    }

    static func apply(_ changes: CommandChanges, at now: Timestamp, fence: Int64, in tx: any SQLTransaction) throws {
        for change in changes.invocations {
            let isFinal = change.state.isFinal
            try tx.execute(
                """
                UPDATE invocations SET status = $1, status_details = $2, trace_output = $3,
                    sent_at = COALESCE(sent_at, $4), ended_at = $5, is_stray = $6
                WHERE command_id = $7 AND node_id = $8
                """,
                [
                    .text(change.state.status), .text(change.state.details), .text(change.trace),
                    change.state.isInFlight ? .integer(now.milliseconds) : .null, isFinal ? .integer(now.milliseconds) : .null,
                    .bool(change.isStray), .text(change.command.description), .text(change.node.description),
                ])
        }
        try AuditLog.append(changes.events(at: now), in: tx)
        for change in changes.steps {
            // What a step has ended with stays; a repeated or overtaken reply changes nothing.
            try tx.execute(
                """
                INSERT INTO step_results (command_id, node_id, step_name, position, plugin, status, status_details, code, output,
                    standard_output, standard_error, started_at, ended_at, outputs)
                SELECT i.command_id, i.node_id, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14
                FROM invocations i WHERE i.command_id = $1 AND i.node_id = $2
                ON CONFLICT (command_id, node_id, step_name) DO UPDATE SET plugin = $5, status = $6, status_details = $7, code = $8,
                    output = $9, standard_output = $10, standard_error = $11, started_at = $12, ended_at = $13, outputs = $14
                WHERE step_results.status IN ('Pending', 'InProgress')
                """,
                [
                    .text(change.command.description), .text(change.node.description), .text(change.step.name),
                    .integer(change.step.position), .text(change.step.plugin), .text(change.step.status.rawValue),
                    .text(change.step.statusDetails), .integer(change.step.code), .text(change.step.output),
                    .text(change.step.standardOutput), .text(change.step.standardError),
                    .integer(change.step.startedAt?.milliseconds), .integer(change.step.endedAt?.milliseconds),
                    .text(try change.step.outputs.map(json) ?? ""),
                ])
            for stream in OutputStream.allCases {
                guard let facts = change.step.outputs?[stream], facts.inline != true else { continue }
                try OutputStore.begin(
                    command: change.command, node: change.node, step: change.step.name, stream: stream, at: now, in: tx)
            }
        }
        for (command, progress) in changes.progress {
            try tx.execute(
                """
                UPDATE commands SET status = $1, status_details = $2, target_count = $3, completed_count = $4, error_count = $5,
                    delivery_timed_out_count = $6, finished_at = $7, owner_fence = $8 WHERE command_id = $9
                """,
                [
                    .text(progress.status.status), .text(progress.status.details), .integer(progress.targetCount),
                    .integer(progress.completedCount), .integer(progress.errorCount), .integer(progress.deliveryTimedOutCount),
                    progress.status.isFinal ? .integer(now.milliseconds) : .null, .integer(fence), .text(command.description),
                ])
        }
    }

    /// Ends a command whose rows cannot be read any more, so that it is not in progress for ever.
    static func close(_ id: CommandID, because reason: String, at now: Timestamp, in tx: any SQLTransaction) throws {
        try tx.execute(
            """
            UPDATE invocations SET status = 'Failed', status_details = 'Undeliverable', trace_output = $1, ended_at = $2
            WHERE command_id = $3 AND status IN ('Pending', 'Delayed', 'InProgress', 'Cancelling')
            """,
            [.text(reason), .integer(now.milliseconds), .text(id.description)])
        try tx.execute(
            """
            UPDATE commands SET status = 'Failed', status_details = 'Incomplete', completed_count = target_count, finished_at = $1
            WHERE command_id = $2
            """,
            [.integer(now.milliseconds), .text(id.description)])
        try AuditLog.append(
            AuditEvent(time: now, controllerDid: "CloseCommand", resource: id.description, outcome: .failed, details: ["reason": reason]),
            in: tx)
    }

    // MARK: Lists

    /// Which commands or invocations are wanted; nil members ask nothing.
    package struct Selection: Sendable {
        package var command: CommandID?
        package var node: NodeID?
        package var after: Timestamp?
        package var before: Timestamp?
        package var status: String?
        package var details: String?
        package var documentName: String?
        package var isComplete: Bool?

        package init() {}
    }

    /// The last row of the page before.
    package struct Position: Sendable {
        package var requestedAt: Int64
        package var command: String
        package var target: Int64

        package init(requestedAt: Int64, command: String, target: Int64 = 0) {
            self.requestedAt = requestedAt
            self.command = command
            self.target = target
        }

        package init?(_ text: String) {
            let parts = text.split(separator: " ", omittingEmptySubsequences: false)
            guard parts.count == 3, let requestedAt = Int64(parts[0]), let target = Int64(parts[2]) else { return nil }
            self.init(requestedAt: requestedAt, command: String(parts[1]), target: target)
        }

        package var text: String { "\(requestedAt) \(command) \(target)" }
    }

    private struct Conditions {
        var clauses: [String] = []
        var arguments: [SQLValue] = []

        mutating func add(_ clause: (String) -> String, _ value: SQLValue) {
            arguments.append(value)
            clauses.append(clause("$\(arguments.count)"))
        }

        var text: String { clauses.isEmpty ? "" : "WHERE " + clauses.joined(separator: " AND ") }
    }

    private static func conditions(_ selection: Selection) -> Conditions {
        var conditions = Conditions()
        if let command = selection.command { conditions.add({ "c.command_id = \($0)" }, .text(command.description)) }
        if let after = selection.after { conditions.add({ "c.requested_at > \($0)" }, .integer(after.milliseconds)) }
        if let before = selection.before { conditions.add({ "c.requested_at < \($0)" }, .integer(before.milliseconds)) }
        if let name = selection.documentName { conditions.add({ "c.document_name = \($0)" }, .text(name)) }
        return conditions
    }

    /// Newest first.
    package static func commands(
        _ selection: Selection, after position: Position?, limit: Int, in tx: any SQLTransaction
    ) throws -> [CommandRecord] {
        var conditions = conditions(selection)
        if let node = selection.node {
            conditions.add(
                { "EXISTS (SELECT 1 FROM invocations i WHERE i.command_id = c.command_id AND i.node_id = \($0))" }, .text(node.description))
        }
        if let status = selection.status { conditions.add({ "c.status = \($0)" }, .text(status)) }
        if let details = selection.details { conditions.add({ "c.status_details = \($0)" }, .text(details)) }
        if let isComplete = selection.isComplete {
            conditions.clauses.append(
                "c.status \(isComplete ? "NOT IN" : "IN") ('Pending', 'InProgress', 'Cancelling')")
        }
        if let position {
            conditions.arguments += [.integer(position.requestedAt), .text(position.command)]
            let last = conditions.arguments.count
            conditions.clauses.append("(c.requested_at < $\(last - 1) OR (c.requested_at = $\(last - 1) AND c.command_id < $\(last)))")
        }
        conditions.arguments.append(.integer(limit))
        return try tx.query(
            """
            SELECT \(commandColumns) FROM commands c \(conditions.text)
            ORDER BY c.requested_at DESC, c.command_id DESC LIMIT $\(conditions.arguments.count)
            """,
            conditions.arguments
        ).map(CommandRecord.init)
    }

    package struct ListedInvocation: Sendable {
        package let command: CommandID
        package let documentName: String
        package let documentVersion: String
        package let comment: String
        package let requestedAt: Timestamp
        package let invocation: InvocationRecord
    }

    /// Those of the newest command first, and of one command in the order of its targets.
    package static func invocations(
        _ selection: Selection, after position: Position?, limit: Int, in tx: any SQLTransaction
    ) throws -> [ListedInvocation] {
        var conditions = conditions(selection)
        if let node = selection.node { conditions.add({ "i.node_id = \($0)" }, .text(node.description)) }
        if let status = selection.status { conditions.add({ "i.status = \($0)" }, .text(status)) }
        if let details = selection.details { conditions.add({ "i.status_details = \($0)" }, .text(details)) }
        // Always there, so that the newest commands are walked and not all invocations.
        let position = position ?? Position(requestedAt: .max, command: "")
        conditions.arguments += [.integer(position.requestedAt), .text(position.command), .integer(position.target)]
        let last = conditions.arguments.count
        conditions.clauses.append(
            """
            c.requested_at <= $\(last - 2) AND (c.requested_at < $\(last - 2)
                OR c.command_id < $\(last - 1) OR (c.command_id = $\(last - 1) AND i.position > $\(last)))
            """)
        conditions.arguments.append(.integer(limit))
        return try tx.query(
            """
            SELECT c.command_id, c.document_name, c.document_version, c.comment, c.requested_at,
                i.node_id, i.position, i.generation, i.instance_name, i.status, i.status_details, i.trace_output, i.cancel_requested, i.is_stray
            FROM commands c JOIN invocations i ON i.command_id = c.command_id \(conditions.text)
            ORDER BY c.requested_at DESC, c.command_id DESC, i.position LIMIT $\(conditions.arguments.count)
            """,
            conditions.arguments
        ).map { row in
            let id = try row.text("command_id")
            guard let command = CommandID(id) else { throw StoredValueError(table: "commands", key: id) }
            return ListedInvocation(
                command: command, documentName: try row.text("document_name"), documentVersion: try row.text("document_version"),
                comment: try row.text("comment"), requestedAt: Timestamp(milliseconds: try row.integer("requested_at")),
                invocation: try InvocationRecord(row))
        }
    }

    private static func json(_ value: some Encodable) throws -> String {
        String(decoding: try JSONCoding.encode(value), as: UTF8.self)
    }
}

extension CommandRecord {
    init(_ row: SQLRow) throws {
        let id = try row.text("command_id")
        guard let command = CommandID(id),
            let state = CommandState(status: try row.text("status"), details: try row.text("status_details"))
        else { throw StoredValueError(table: "commands", key: id) }
        self.id = command
        self.documentName = try row.text("document_name")
        self.documentVersion = try row.text("document_version")
        self.document = try row.text("document")
        self.parameters = try JSONCoding.decode([String: [String]].self, from: Array(try row.text("parameters").utf8))
        self.comment = try row.text("comment")
        self.instanceIDs = try JSONCoding.decode([NodeID].self, from: Array(try row.text("instance_ids").utf8))
        self.targets = try JSONCoding.decode([Target].self, from: Array(try row.text("targets").utf8))
        self.timeoutSeconds = Int(try row.integer("timeout_seconds"))
        self.executionTimeoutSeconds = Int(try row.integer("execution_timeout_seconds"))
        self.maxConcurrency = try row.text("max_concurrency")
        self.maxErrors = try row.text("max_errors")
        self.requestedBy = try row.text("requested_by")
        self.progress = CommandProgress(
            status: state, targetCount: Int(try row.integer("target_count")), completedCount: Int(try row.integer("completed_count")),
            errorCount: Int(try row.integer("error_count")), deliveryTimedOutCount: Int(try row.integer("delivery_timed_out_count")))
        self.requestedAt = Timestamp(milliseconds: try row.integer("requested_at"))
        self.isCancelRequested = try row.bool("cancel_requested")
        self.outputBucket = try row.text("output_bucket")
        self.outputPrefix = try row.text("output_prefix")
    }
}

extension InvocationRecord {
    init(_ row: SQLRow) throws {
        let id = try row.text("node_id")
        guard let node = NodeID(id),
            let state = InvocationState(status: try row.text("status"), details: try row.text("status_details"))
        else { throw StoredValueError(table: "invocations", key: id) }
        self.node = node
        self.position = Int(try row.integer("position"))
        self.generation = Int(try row.integer("generation"))
        self.instanceName = try row.text("instance_name")
        self.state = state
        self.trace = try row.text("trace_output")
        self.isCancelRequested = try row.bool("cancel_requested")
        self.isStray = try row.bool("is_stray")
    }
}

extension StepRecord {
    init(_ row: SQLRow) throws {
        let name = try row.text("step_name")
        guard let status = CommandPluginStatus(rawValue: try row.text("status")) else {
            throw StoredValueError(table: "step_results", key: name)
        }
        self.name = name
        self.position = Int(try row.integer("position"))
        self.plugin = try row.text("plugin")
        self.status = status
        self.statusDetails = try row.text("status_details")
        self.code = Int(try row.integer("code"))
        self.output = try row.text("output")
        self.standardOutput = try row.text("standard_output")
        self.standardError = try row.text("standard_error")
        self.startedAt = try row.optionalInteger("started_at").map { Timestamp(milliseconds: $0) }
        self.endedAt = try row.optionalInteger("ended_at").map { Timestamp(milliseconds: $0) }
    }
}
