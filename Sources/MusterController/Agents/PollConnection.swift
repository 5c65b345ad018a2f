package import FoundationEssentials
package import MusterCrypto
package import MusterWire
import NIOConcurrencyHelpers
package import NIOCore

/// A polling node, in the shape of a control channel.
///
/// The calls of the node become the frames that it would send, and the frames for it become answers to its calls. So
/// admission, the rule that finds clones, the registry and the dispatcher know one kind of agent only.
///
///     GetMessages         ◄── agent_job, agent_output
///     AcknowledgeMessage  ──► agent_job_ack, with the code 200        FailMessage ──► agent_job_ack, with another
///     SendReply           ──► agent_job_reply                         its answer  ◄── agent_job_reply_ack
package final class PollConnection: WebSocketTransport {
    package enum Failure: Error, Sendable {
        /// It is over, or was never admitted; the reason is for the node.
        case closed(WebSocketPeer.CloseCode, reason: String)
        case tooManyCalls
        case timedOut
    }

    /// What one poll brings.
    package struct Batch: Sendable, Equatable {
        package var messages: [PollSession.Message] = []
        package var outputs: [AgentOutputRequest] = []
    }

    private struct Waiter {
        let continuation: CheckedContinuation<Void, any Error>
        let deadline: ContinuousClock.Instant
    }

    private struct State {
        var session: PollSession
        var isAdmitted = false
        var closed: (code: WebSocketPeer.CloseCode, reason: String)?
        var lastPoll: UInt64 = 0
        var polls: [UInt64: CheckedContinuation<Batch, any Error>] = [:]
        /// Calls that have been told of a poll's end before they waited for it.
        var early: [UInt64: Batch] = [:]
        var opening: [CheckedContinuation<Void, any Error>] = []
        /// Jobs that find no room while the node has too much that it has not acknowledged; the outbox above bounds them.
        var waiting: [(job: PollSession.Message, written: @Sendable () -> Void)] = []
        var replies: [UUID: [Waiter]] = [:]
        var unread = 0
    }

    private static let maximumUnread = 64
    private static let replySeconds = 60

    let node: NodeIdentity
    let number: UInt64
    private let state: NIOLockedValueBox<State>
    private let stream: AsyncStream<WebSocketPeer.Message>
    private let continuation: AsyncStream<WebSocketPeer.Message>.Continuation
    package let certificate: Certificate?
    private let remoteAddress: String

    package init(node: NodeIdentity, number: UInt64, certificate: Certificate?, remoteAddress: String) {
        self.node = node
        self.number = number
        self.certificate = certificate
        self.remoteAddress = remoteAddress
        state = NIOLockedValueBox(State(session: PollSession(at: .now)))
        // Bounded by `maximumUnread`.
        (stream, continuation) = AsyncStream.makeStream(bufferingPolicy: .unbounded)
    }

    package var peer: WebSocketPeer { WebSocketPeer(transport: self, remoteAddress: remoteAddress) }

    /// What the node says, as frames. Read by one task only.
    package var messages: some AsyncSequence<WebSocketPeer.Message, Never> & Sendable {
        stream.map { [state] message in
            state.withLockedValue { $0.unread -= 1 }
            return message
        }
    }

    package var isOpen: Bool { state.withLockedValue { $0.isAdmitted && $0.closed == nil } }

    // MARK: The node's calls

    /// Says hello in the node's name and returns when it has been admitted.
    package func open(_ hello: OpenControlChannel) async throws {
        try say(.text(String(decoding: try JSONCoding.encode(hello), as: UTF8.self)))
        try await withCheckedThrowingContinuation { continuation in
            let outcome = state.withLockedValue { state -> Result<Void, any Error>? in
                if let closed = state.closed { return .failure(Failure.closed(closed.code, reason: closed.reason)) }
                if state.isAdmitted { return .success(()) }
                state.opening.append(continuation)
                return nil
            }
            if let outcome { continuation.resume(with: outcome) }
        }
    }

    /// The next messages; none when the time is over, when a newer poll came, or when the controller stops.
    ///
    /// - Parameter client: the connection that the poll came on; when it closes, nobody waits for the answer.
    package func poll(for limit: Duration, client: ConnectionEnd? = nil) async throws -> Batch {
        let poll = try take { state -> UInt64 in
            if let closed = state.closed { throw Failure.closed(closed.code, reason: closed.reason) }
            state.lastPoll += 1
            return state.lastPoll
        }
        act { $0.session.polled(poll, at: .now) }
        let watch = client?.notify { [weak self] in self?.act { $0.session.broken(poll, at: .now) } }
        defer { if let watch { client?.forget(watch) } }
        return try await withThrowingTaskGroup(of: Batch?.self) { group in
            group.addTask { try await self.answer(to: poll) }
            group.addTask {
                // Cancelled as soon as there is an answer.
                try? await Task.sleep(for: limit)
                self.release(poll)
                return nil
            }
            defer { group.cancelAll() }
            while let result = try await group.next() {
                if let result { return result }
            }
            return Batch()
        }
    }

    private func release(_ poll: UInt64) {
        act { $0.session.released(poll) }
    }

    private func answer(to poll: UInt64) async throws -> Batch {
        try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                let outcome = state.withLockedValue { state -> Result<Batch, any Error>? in
                    if let batch = state.early.removeValue(forKey: poll) { return .success(batch) }
                    if let closed = state.closed { return .failure(Failure.closed(closed.code, reason: closed.reason)) }
                    state.polls[poll] = continuation
                    return nil
                }
                if let outcome { continuation.resume(with: outcome) }
            }
        } onCancel: {
            release(poll)
        }
    }

    package func acknowledge(_ jobID: String, code: String, message: String) throws {
        let known = try take { state in
            if let closed = state.closed { throw Failure.closed(closed.code, reason: closed.reason) }
            return state.session.acknowledged(jobID, at: .now)
        }
        offerWaiting()
        let acknowledgement = AgentJobAcknowledge(
            jobID: jobID, acknowledgedMessageID: known?.messageID.uuidString.lowercased() ?? "",
            createdDate: known?.createdDate.iso8601 ?? "", statusCode: code, errorMessage: message)
        try say(try AgentMessage(.agentJobAck, createdDate: .now(), payload: acknowledgement))
    }

    /// Returns when the reply is durable.
    package func reply(_ reply: AgentJobReply, id: UUID) async throws {
        act { state in
            state.session.heard(at: .now)
            return []
        }
        let frame = try AgentMessage(.agentJobReply, createdDate: .now(), messageID: id, payload: reply)
        let deadline = ContinuousClock.now + .seconds(Self.replySeconds)
        try await withCheckedThrowingContinuation { continuation in
            state.withLockedValue { $0.replies[id, default: []].append(Waiter(continuation: continuation, deadline: deadline)) }
            do {
                try say(frame)
            } catch {
                let waiters = state.withLockedValue { $0.replies.removeValue(forKey: id) }
                for waiter in waiters ?? [] { waiter.continuation.resume(throwing: error) }
            }
        }
    }

    private func say(_ frame: AgentMessage) throws {
        var bytes = ByteBuffer()
        bytes.writeAgentMessage(frame)
        try say(.binary(bytes))
    }

    private func say(_ message: WebSocketPeer.Message) throws {
        try take { state in
            if let closed = state.closed { throw Failure.closed(closed.code, reason: closed.reason) }
            guard state.unread < Self.maximumUnread else { throw Failure.tooManyCalls }
            state.unread += 1
            // Inside the lock, so that messages keep their order and none comes after the end.
            continuation.yield(message)
        }
    }

    // MARK: Time

    /// Ends waits that have taken too long. True when the node has to be taken for lost.
    package func look() -> Bool {
        let now = ContinuousClock.now
        let (isLost, late) = state.withLockedValue { state -> (Bool, [Waiter]) in
            var late: [Waiter] = []
            for (id, waiters) in state.replies {
                late += waiters.filter { $0.deadline <= now }
                let left = waiters.filter { $0.deadline > now }
                state.replies[id] = left.isEmpty ? nil : left
            }
            return (state.session.isLost(at: now), late)
        }
        for waiter in late { waiter.continuation.resume(throwing: Failure.timedOut) }
        return isLost
    }

    /// Answers the held poll with nothing: the process is about to end.
    package func releaseAll() {
        let polls = state.withLockedValue { Array($0.polls.keys) }
        for poll in polls { release(poll) }
    }

    // MARK: The controller's side

    package func admitted() async {
        let opening = state.withLockedValue { state in
            state.isAdmitted = true
            defer { state.opening = [] }
            return state.opening
        }
        for continuation in opening { continuation.resume() }
    }

    package var isWebSocket: Bool { false }

    package func send(_ message: WebSocketPeer.Message) async throws {
        // The protocol has no text from this side.
        guard case .binary(let bytes) = message else { return }
        post(bytes) {}
    }

    package func post(_ bytes: ByteBuffer, written: @escaping @Sendable () -> Void) {
        var bytes = bytes
        guard let frame = try? bytes.readAgentMessage() else { return written() }
        switch frame.messageType {
        case .agentJob:
            guard let job = try? frame.decodePayload(AgentJob.self) else { return written() }
            let message = PollSession.Message(job: job, messageID: frame.messageID, createdDate: frame.createdDate)
            let isOpen = state.withLockedValue { state in
                guard state.closed == nil else { return false }
                state.waiting.append((message, written))
                return true
            }
            if isOpen { offerWaiting() } else { written() }
        case .agentJobReplyAck:
            defer { written() }
            guard let acknowledgement = try? frame.decodePayload(AgentJobReplyAcknowledge.self),
                let id = UUID(uuidString: acknowledgement.acknowledgedMessageID)
            else { return }
            let waiters = state.withLockedValue { $0.replies.removeValue(forKey: id) }
            for waiter in waiters ?? [] { waiter.continuation.resume() }
        case .agentOutput:
            defer { written() }
            guard let request = try? frame.decodePayload(AgentOutputRequest.self) else { return }
            act { $0.session.asked(request) }
        default:
            written()
        }
    }

    /// As many as the session has room for, in their order.
    private func offerWaiting() {
        var done: [@Sendable () -> Void] = []
        act { state in
            var actions: [PollSession.Action] = []
            while !state.session.isFull, !state.waiting.isEmpty {
                let next = state.waiting.removeFirst()
                actions += state.session.offered(next.job)
                done.append(next.written)
            }
            return actions
        }
        for written in done { written() }
    }

    /// The polls themselves are the signs of life.
    package func ping() async throws {}

    package func close(_ code: WebSocketPeer.CloseCode, reason: String) async {
        let ended = state.withLockedValue { state -> State? in
            guard state.closed == nil else { return nil }
            state.closed = (code, reason)
            continuation.finish()
            let ended = state
            state.polls = [:]
            state.opening = []
            state.waiting = []
            state.replies = [:]
            return ended
        }
        guard let ended else { return }
        let failure = Failure.closed(code, reason: reason)
        for poll in ended.polls.values { poll.resume(throwing: failure) }
        for waiter in ended.opening { waiter.resume(throwing: failure) }
        for job in ended.waiting { job.written() }
        for waiter in ended.replies.values.joined() { waiter.continuation.resume(throwing: failure) }
    }

    // MARK: State

    private func act(_ body: (inout State) -> [PollSession.Action]) {
        let answers = state.withLockedValue { state -> [(CheckedContinuation<Batch, any Error>, Batch)] in
            body(&state).compactMap { action in
                guard case .answer(let poll, let messages, let outputs) = action else { return nil }
                let batch = Batch(messages: messages, outputs: outputs)
                guard let waiting = state.polls.removeValue(forKey: poll) else {
                    if state.closed == nil { state.early[poll] = batch }
                    return nil
                }
                return (waiting, batch)
            }
        }
        for (waiting, batch) in answers { waiting.resume(returning: batch) }
    }

    private func take<T>(_ body: (inout State) throws -> T) throws -> T {
        try state.withLockedValue(body)
    }
}
