package import FoundationEssentials
package import MusterWire

/// What one polling node has yet to be told, and who waits for it. [value]
///
///     offered ──► queued ──polled──► handed out ──acknowledged──► gone
///                    ▲                    │
///                    └── polled again ────┘      an agent acknowledges before it polls again, so what it has not
///                                                acknowledged by then never reached it
///
/// At most one poll is held. A newer one takes its place, for the older one's connection is dead or forgotten.
///
/// Who watches a command is told beside the messages, once: it is said again as long as somebody watches.
package struct PollSession: Sendable {
    package static let maximumMessages = 64
    package static let maximumBytes = 4 << 20
    /// Of one answer.
    package static let maximumBatch = 16
    package static let maximumBatchBytes = 1 << 20
    /// After that it waits to be offered anew: whoever offers it has a back-off.
    package static let maximumHandouts = 3
    /// Commands whose output is asked for and has not been told yet.
    package static let maximumOutputs = 64
    /// Of a node that lives: the longest poll, what its client waits for a lost answer beyond that, and a new connection.
    package static let longestSilence = Duration.seconds(GetMessages.longestWaitSeconds + 15)
    /// From the end of the connection under a held poll to the next call. An agent whose poll was cut polls again at once.
    package static let longestGap = Duration.seconds(5)

    package struct Message: Sendable, Equatable {
        package let job: AgentJob
        package let messageID: UUID
        package let createdDate: Timestamp

        package init(job: AgentJob, messageID: UUID, createdDate: Timestamp) {
            self.job = job
            self.messageID = messageID
            self.createdDate = createdDate
        }
    }

    package enum Action: Sendable, Equatable {
        case answer(poll: UInt64, [Message], outputs: [AgentOutputRequest] = [])
    }

    private struct Entry: Sendable {
        var message: Message
        var isHandedOut = false
        var handouts = 0
    }

    private var entries: [Entry] = []
    private var bytes = 0
    private var outputs: [AgentOutputRequest] = []
    private var held: UInt64?
    private var brokenSince: ContinuousClock.Instant?
    package private(set) var lastHeard: ContinuousClock.Instant

    package init(at now: ContinuousClock.Instant) {
        lastHeard = now
    }

    /// Whether a further message has to wait for an acknowledgement.
    package var isFull: Bool {
        entries.count >= Self.maximumMessages || (!entries.isEmpty && bytes >= Self.maximumBytes)
    }

    package mutating func heard(at now: ContinuousClock.Instant) {
        lastHeard = max(lastHeard, now)
        brokenSince = nil
    }

    /// Whether the node has to be taken for dead or cut off.
    package func isLost(at now: ContinuousClock.Instant) -> Bool {
        if let brokenSince, now - brokenSince >= Self.longestGap { return true }
        return now - lastHeard >= Self.longestSilence
    }

    /// The same job again takes the place of the one that is there: its sender has given that one up.
    package mutating func offered(_ message: Message) -> [Action] {
        if let index = entries.firstIndex(where: { $0.message.job.jobID == message.job.jobID }) {
            bytes += message.size - entries[index].message.size
            entries[index] = Entry(message: message)
        } else {
            bytes += message.size
            entries.append(Entry(message: message))
        }
        return answerHeld()
    }

    /// Somebody watches a command. What finds no room is said again by whoever asks.
    package mutating func asked(_ request: AgentOutputRequest) -> [Action] {
        if let index = outputs.firstIndex(where: { $0.commandID == request.commandID }) {
            outputs[index] = request
        } else if outputs.count < Self.maximumOutputs {
            outputs.append(request)
        }
        return answerHeld()
    }

    package mutating func polled(_ poll: UInt64, at now: ContinuousClock.Instant) -> [Action] {
        heard(at: now)
        var actions: [Action] = []
        if let held { actions.append(.answer(poll: held, [])) }
        held = poll
        for index in entries.indices { entries[index].isHandedOut = false }
        for entry in entries where entry.handouts >= Self.maximumHandouts { bytes -= entry.message.size }
        entries.removeAll { $0.handouts >= Self.maximumHandouts }
        return actions + answerHeld()
    }

    /// The connection under the poll has closed.
    package mutating func broken(_ poll: UInt64, at now: ContinuousClock.Instant) -> [Action] {
        guard held == poll else { return [] }
        brokenSince = now
        return released(poll)
    }

    /// The poll's time is over, or its caller has given up.
    package mutating func released(_ poll: UInt64) -> [Action] {
        guard held == poll else { return [] }
        held = nil
        return [.answer(poll: poll, [])]
    }

    /// The message that the node has taken or refused; nil if it was not waiting for that.
    package mutating func acknowledged(_ jobID: String, at now: ContinuousClock.Instant) -> Message? {
        heard(at: now)
        guard let index = entries.firstIndex(where: { $0.message.job.jobID == jobID }) else { return nil }
        let message = entries.remove(at: index).message
        bytes -= message.size
        return message
    }

    private mutating func answerHeld() -> [Action] {
        guard let poll = held else { return [] }
        var batch: [Message] = []
        var size = 0
        for index in entries.indices where !entries[index].isHandedOut {
            let message = entries[index].message
            guard batch.isEmpty || (batch.count < Self.maximumBatch && size + message.size <= Self.maximumBatchBytes) else { break }
            entries[index].isHandedOut = true
            entries[index].handouts += 1
            size += message.size
            batch.append(message)
        }
        guard !batch.isEmpty || !outputs.isEmpty else { return [] }
        held = nil
        defer { outputs = [] }
        return [.answer(poll: poll, batch, outputs: outputs)]
    }
}

extension PollSession.Message {
    fileprivate var size: Int { job.content.utf8.count + job.jobID.utf8.count + job.topic.utf8.count }
}
