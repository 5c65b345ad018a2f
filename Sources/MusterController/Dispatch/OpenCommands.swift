import FoundationEssentials
import MusterWire

/// The commands that are not over, their machines, and which nodes they concern. Lives inside one run of the dispatcher;
/// everything in it can be built again from the rows.
struct OpenCommands {
    struct Settings: Sendable {
        /// Added to the total timeout, so that the agent's own report of a time-out does not race the controller's.
        var slack: Int64
        /// After a restart, agents get this long to come back and report before anything is given up.
        var grace: Int64
        var timing: DispatchMachine.Timing
    }

    enum Frame: Sendable {
        case job(CommandID, position: Int, AgentMessage, NodeID)
        case cancellation(AgentMessage, NodeID)
    }

    final class Entry {
        let nodes: [NodeID]
        let generations: [Int]
        let positions: [NodeID: Int]
        let stepPositions: [String: Int]
        var template: JobTemplate
        var machine: DispatchMachine
        /// The frames of each target that have no answer yet. Only those of this life: what another said cannot be told apart.
        var unanswered: [Int: Set<UUID>] = [:]
        var traces: [Int: String] = [:]
        /// When each target was first sent the job; nil of those of which there is nothing more to measure.
        var sentAt: [Int: Int64?] = [:]
        let acceptedAt: Int64
        /// Targets that may have the job, as the rows say.
        var begun: Set<Int> = []
        var isTouched = true

        init(
            _ nodes: [NodeID], _ generations: [Int], _ stepPositions: [String: Int], _ template: JobTemplate, _ machine: DispatchMachine,
            acceptedAt: Int64
        ) {
            self.acceptedAt = acceptedAt
            self.nodes = nodes
            self.generations = generations
            self.positions = Dictionary(zip(nodes, nodes.indices), uniquingKeysWith: { first, _ in first })
            self.stepPositions = stepPositions
            self.template = template
            self.machine = machine
        }
    }

    private static let maximumUnanswered = 64

    let settings: Settings
    private var entries: [CommandID: Entry] = [:]
    private var cancelIDs: [CommandID: CommandID] = [:]
    private var commandsByNode: [NodeID: Set<CommandID>] = [:]
    private var touched: [CommandID] = []
    private(set) var connected: [NodeID: Int]
    private var delays = DispatchMetrics.Delays()

    init(settings: Settings, connected: [NodeID: Int]) {
        self.settings = settings
        self.connected = connected
    }

    var count: Int { entries.count }
    var inFlight: Int { entries.values.reduce(0) { $0 + $1.machine.tally.inFlight } }

    mutating func takeDelays() -> DispatchMetrics.Delays {
        defer { delays = DispatchMetrics.Delays() }
        return delays
    }

    private mutating func answered(_ entry: Entry, _ position: Int, at now: Int64) {
        guard case .some(.some(let sent)) = entry.sentAt[position] else { return }
        delays.untilAnswered.append(now - sent)
        entry.sentAt[position] = .some(nil)
    }

    func contains(_ id: CommandID) -> Bool { entries[id] != nil }

    /// A command as its rows say.
    struct Loaded: Sendable {
        let record: CommandRecord
        let invocations: [InvocationRecord]
        let orphans: [NodeID]
        let template: JobTemplate
        let stepNames: [String]
    }

    mutating func add(_ loaded: Loaded, at now: Int64, isRestart: Bool) {
        let record = loaded.record
        guard entries[record.id] == nil else { return }
        let deadline = record.expiresAt.milliseconds + settings.slack
        let isStarted = loaded.invocations.contains { $0.state.isInFlight }
        let machine = DispatchMachine(
            targets: loaded.invocations.map { .init(generation: $0.generation, status: $0.state, isStray: $0.isStray) },
            maximumConcurrency: RateControl.Limit(record.maxConcurrency) ?? .number(1),
            maximumErrors: RateControl.Limit(record.maxErrors) ?? .number(0),
            startBy: record.startBy.milliseconds,
            deadline: isRestart && isStarted ? max(deadline, now + settings.grace) : deadline,
            isCancelRequested: record.isCancelRequested, shown: record.progress, timing: settings.timing, at: now)
        let entry = Entry(
            loaded.invocations.map(\.node), loaded.invocations.map(\.generation),
            Dictionary(zip(loaded.stepNames, loaded.stepNames.indices), uniquingKeysWith: { first, _ in first }),
            loaded.template, machine, acceptedAt: record.requestedAt.milliseconds)
        // What was sent before a restart is not measured.
        for (position, row) in loaded.invocations.enumerated() where row.state != .pending {
            entry.sentAt[position] = .some(nil)
            if row.state.isInFlight { entry.begun.insert(position) }
        }
        entries[record.id] = entry
        cancelIDs[entry.template.cancelID] = record.id
        touched.append(record.id)
        for orphan in loaded.orphans {
            if let position = entry.positions[orphan] { entry.machine.deregistered(position) }
        }
        for (position, node) in entry.nodes.enumerated() {
            commandsByNode[node, default: []].insert(record.id)
            if let generation = connected[node] { entry.machine.connected(position, generation: generation, at: now) }
        }
        // After who is connected, so that nobody is told twice.
        if record.isCancelRequested { entry.machine.cancel(nil, at: now) }
        let cancelled = loaded.invocations.indices.filter { loaded.invocations[$0].isCancelRequested }
        if !cancelled.isEmpty { entry.machine.cancel(cancelled, at: now) }
    }

    // MARK: Events

    mutating func nodeConnected(_ node: NodeID, generation: Int, at now: Int64) {
        connected[node] = generation
        forEach(of: node) { entry, position in entry.machine.connected(position, generation: generation, at: now) }
    }

    mutating func nodeDisconnected(_ node: NodeID) {
        connected.removeValue(forKey: node)
        forEach(of: node) { entry, position in entry.machine.disconnected(position) }
    }

    mutating func nodeDeregistered(_ node: NodeID) {
        connected.removeValue(forKey: node)
        forEach(of: node) { entry, position in entry.machine.deregistered(position) }
    }

    mutating func cancel(_ id: CommandID, nodes: [NodeID]?, at now: Int64) {
        touch(id)?.machine.cancel(nodes.map { nodes in nodes.compactMap { entries[id]?.positions[$0] } }, at: now)
    }

    mutating func acknowledged(_ job: JobID, messageID: UUID?, code: String, at now: Int64) {
        if let command = cancelIDs[job.command], let entry = touch(command), let position = entry.positions[job.node] {
            if code == JobAcknowledgeCode.accepted.rawValue || code == JobAcknowledgeCode.duplicate.rawValue {
                entry.machine.cancelAcknowledged(position)
            }
            return
        }
        guard let entry = touch(job.command), let position = entry.positions[job.node] else { return }
        answered(entry, position, at: now)
        let isOurs = messageID.map { entry.unanswered[position]?.remove($0) != nil } ?? false
        switch JobAcknowledgeCode(rawValue: code) {
        case .accepted, .duplicate: entry.machine.acknowledged(position, .accepted, at: now)
        case .closed, .bufferFull: if isOurs { entry.machine.acknowledged(position, .noRoom, at: now) }
        default: if isOurs { entry.machine.acknowledged(position, .refused(code: JobReport.cut(code, 16)), at: now) }
        }
    }

    mutating func sendFailed(_ id: CommandID, position: Int, messageID: UUID, at now: Int64) {
        guard let entry = touch(id), entry.unanswered[position]?.remove(messageID) != nil else { return }
        entry.machine.sendFailed(position, at: now)
    }

    /// The steps to be kept are returned, also those of a command that is over.
    mutating func reported(_ job: JobID, _ report: JobReport, at now: Int64) -> [CommandChanges.Step] {
        if let command = cancelIDs[job.command] {
            // A reply about the cancellation itself: it has arrived.
            if let entry = touch(command), let position = entry.positions[job.node] { entry.machine.cancelAcknowledged(position) }
            return []
        }
        let entry = touch(job.command)
        if let entry, let position = entry.positions[job.node] {
            answered(entry, position, at: now)
            if let outcome = report.outcome {
                if !report.trace.isEmpty { entry.traces[position] = report.trace }
                entry.machine.finished(position, outcome)
            } else {
                entry.machine.progressed(position)
            }
        }
        return report.steps.map { step in
            var step = step
            step.position = entry?.stepPositions[step.name] ?? 0
            return CommandChanges.Step(command: job.command, node: job.node, step: step)
        }
    }

    // MARK: Answers

    /// The time at which `collect` has something to do without any event.
    var nextDeadline: Int64? { entries.values.compactMap(\.machine.nextDeadline).min() }

    /// Adds the rows that the events have changed to `changes`, and returns the frames that may go out once they are durable.
    mutating func collect(into changes: inout CommandChanges, at now: Timestamp) throws -> [Frame] {
        for (id, entry) in entries {
            if let next = entry.machine.nextDeadline, next <= now.milliseconds {
                entry.machine.timeReached(at: now.milliseconds)
                if !entry.isTouched {
                    entry.isTouched = true
                    touched.append(id)
                }
            }
        }
        var frames: [Frame] = []
        for id in touched {
            guard let entry = entries[id] else { continue }
            entry.isTouched = false
            let actions = entry.machine.takeActions(at: now.milliseconds)
            for update in actions.updates {
                if !update.status.isInFlight { entry.unanswered.removeValue(forKey: update.target) }
                let trace = update.reason?.text ?? entry.traces[update.target] ?? ""
                var change = CommandChanges.Invocation(
                    command: id, node: entry.nodes[update.target], state: update.status, trace: trace, isStray: update.isStray)
                if update.status.isInFlight {
                    change.begins = entry.begun.insert(update.target).inserted
                } else {
                    entry.begun.remove(update.target)
                }
                changes.invocations.append(change)
            }
            if let progress = actions.command {
                changes.progress.append((command: id, progress: progress))
            }
            for position in actions.jobs {
                let messageID = UUID()
                if entry.sentAt[position] == nil {
                    entry.sentAt[position] = now.milliseconds
                    delays.untilSent.append(now.milliseconds - entry.acceptedAt)
                }
                // A frame that is not remembered stays doubtful, which is the safe side.
                if entry.unanswered[position]?.count ?? 0 < Self.maximumUnanswered {
                    entry.unanswered[position, default: []].insert(messageID)
                }
                let node = entry.nodes[position]
                let job = try entry.template.job(for: node, generation: entry.generations[position], messageID: messageID, at: now)
                frames.append(.job(id, position: position, job, node))
            }
            for position in actions.cancellations {
                let node = entry.nodes[position]
                frames.append(.cancellation(try entry.template.cancellation(for: node, at: now), node))
            }
            if entry.machine.isIdle(at: now.milliseconds) { remove(id, entry) }
        }
        touched.removeAll(keepingCapacity: true)
        return frames
    }

    private mutating func remove(_ id: CommandID, _ entry: Entry) {
        entries.removeValue(forKey: id)
        cancelIDs.removeValue(forKey: entry.template.cancelID)
        for node in entry.nodes {
            commandsByNode[node]?.remove(id)
            if commandsByNode[node]?.isEmpty == true { commandsByNode.removeValue(forKey: node) }
        }
    }

    private mutating func touch(_ id: CommandID) -> Entry? {
        guard let entry = entries[id] else { return nil }
        if !entry.isTouched {
            entry.isTouched = true
            touched.append(id)
        }
        return entry
    }

    private mutating func forEach(of node: NodeID, _ body: (Entry, Int) -> Void) {
        for id in commandsByNode[node] ?? [] {
            if let entry = touch(id), let position = entry.positions[node] { body(entry, position) }
        }
    }
}
