import FoundationEssentials
import Logging
import MusterClient
import MusterCrypto
import MusterTLS
import MusterWire
import NIOCore

/// The control channel where no WebSocket gets through: jobs are fetched, acknowledged and answered with HTTPS calls under the
/// node's certificate.
///
///     GetMessages, held for up to 18 s ──▶ job ──▶ AcknowledgeMessage or FailMessage ──▶ GetMessages …
///     reply ──▶ SendReply, answered when it is durable                                        beside that
///
/// A message that is not acknowledged before the next poll is handed out again, so each is acknowledged before.
struct MessagePoller: Sendable {
    /// Replies that wait to be sent. Beyond this the connection is given up: what is lost with it is still in the ledger.
    private static let maximumQueuedReplies = 512
    private static let maximumOutputRequests = 64
    /// On top of what a poll is held, for a slow network and a new connection.
    private static let slackSeconds: Int64 = 7
    /// An answer without messages that comes sooner than this is not a held poll.
    private static let shortestPoll = Duration.milliseconds(500)

    let current: CurrentIdentity
    let runner: any JobReceiver
    let group: any EventLoopGroup
    let logger: Logger

    /// Why it ended, when nothing went wrong.
    enum End: Sendable {
        /// As ordered.
        case stopped
        /// The controller does not know the connection any more, and will take another.
        case closed
    }

    private struct Session: Sendable {
        let node: NodeID
        let number: Int64
        let polls: APIClient
        let calls: APIClient
        let first: GetMessages.Output

        func shutdown() {
            polls.shutdown()
            calls.shutdown()
        }
    }

    /// - Parameters:
    ///   - stop: ends the polling when it rings, with a goodbye if the order says so.
    ///   - opened: called when the controller has admitted this node.
    func run(stop: PollStop, opened: @Sendable () -> Void) async throws -> End {
        let session = try await open()
        defer { session.shutdown() }
        opened()
        return try await withThrowingTaskGroup(of: End.self) { group in
            group.addTask {
                do {
                    try await self.serve(session)
                } catch let error as APIError where error.code == APIError.connectionNotOpen.code {
                    return .closed
                }
                return .closed
            }
            group.addTask {
                await stop.ordered()
                return .stopped
            }
            defer { group.cancelAll() }
            let end = try await group.next() ?? .closed
            group.cancelAll()
            // Nothing of this session may come after its end.
            while await group.nextResult() != nil {}
            if case .stopped = end, stop.saysGoodbye { await goodbye(session) }
            return end
        }
    }

    private func client(_ identity: Identity, _ tls: TLSContext, timeout: TimeAmount, attempts: Int) -> APIClient {
        APIClient(
            endpoint: identity.controller, credentials: nil, region: "", tls: tls, clock: current.clock, group: group, timeout: timeout,
            attempts: attempts, logger: logger)
    }

    /// A number is never used twice, so an opening that got no answer is not repeated with it.
    private func open() async throws -> Session {
        let identity = current.identity
        return try await current.trust.attempt { tls in
            let number = Int64(clamping: try current.nextConnectionNumber())
            let longest = Int64(GetMessages.longestWaitSeconds) + Self.slackSeconds
            let polls = client(identity, tls, timeout: .seconds(longest), attempts: 1)
            let calls = client(identity, tls, timeout: .seconds(15), attempts: 3)
            do {
                var input = input(identity.node, number)
                input.identityGeneration = identity.generation
                input.opensConnection = true
                let output = try await polls.call(GetMessages.self, input)
                current.localAddress = polls.localAddress
                if let offset = current.clock.offsetMilliseconds { runner.serverTime(offset) }
                return Session(node: identity.node, number: number, polls: polls, calls: calls, first: output)
            } catch {
                polls.shutdown()
                throw error
            }
        }
    }

    private func input(_ node: NodeID, _ number: Int64) -> GetMessages.Input {
        GetMessages.Input(
            destination: node.rawValue, messagesRequestID: UUID().uuidString.lowercased(), visibilityTimeoutInSeconds: 10,
            connectionNumber: number)
    }

    /// The controller would find out by itself, but later.
    private func goodbye(_ session: Session) async {
        var input = input(session.node, session.number)
        input.closesConnection = true
        let last = input
        await withTaskGroup(of: Void.self) { group in
            group.addTask { _ = try? await session.polls.call(GetMessages.self, last) }
            group.addTask { try? await Task.sleep(for: .seconds(2)) }
            await group.next()
            group.cancelAll()
        }
    }

    private func serve(_ session: Session) async throws {
        let (replies, queue) = AsyncStream.makeStream(of: AgentMessage.self, bufferingPolicy: .bufferingOldest(Self.maximumQueuedReplies))
        runner.attach { [logger] message in
            if case .dropped = queue.yield(message) {
                logger.warning("the controller takes replies too slowly; connecting anew")
                queue.finish()
            }
        }
        defer {
            runner.detach()
            queue.finish()
        }
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                for await message in replies { try await self.reply(message, session) }
            }
            group.addTask { try await self.poll(session) }
            defer { group.cancelAll() }
            try await group.next()
        }
    }

    // MARK: In

    private func poll(_ session: Session) async throws {
        var pacing = PollPacing()
        try await take(session.first, session)
        while true {
            try Task.checkCancellation()
            let started = ContinuousClock.now
            var input = input(session.node, session.number)
            input.waitSeconds = pacing.waitSeconds
            let output: GetMessages.Output
            do {
                output = try await session.polls.call(GetMessages.self, input)
            } catch let error as ClientError where [.closed, .timedOut, .unreachable].contains(error.kind) {
                guard pacing.cut(after: ContinuousClock.now - started) == .again else { throw error }
                logger.debug("a poll was cut; polling again", metadata: ["held": "\(pacing.waitSeconds) s", "reason": "\(error)"])
                continue
            }
            pacing.answered()
            if let offset = current.clock.offsetMilliseconds { runner.serverTime(offset) }
            try await take(output, session)
            if output.messages.isEmpty, output.outputRequests == nil, ContinuousClock.now - started < Self.shortestPoll {
                try await Task.sleep(for: .seconds(1))
            }
        }
    }

    private func take(_ output: GetMessages.Output, _ session: Session) async throws {
        for request in (output.outputRequests ?? []).prefix(Self.maximumOutputRequests) { runner.followOutput(request) }
        for message in output.messages {
            guard Hex.encode(SHA256.hash(Array(message.payload.utf8))) == message.payloadDigest.lowercased() else {
                // It is handed out again.
                logger.warning("a message does not match its digest", metadata: ["job": "\(message.messageID.prefix(128))"])
                continue
            }
            let job = AgentJob(content: message.payload, jobID: message.messageID, topic: message.topic)
            let created = Timestamp(iso8601: message.createdDate) ?? current.clock.now()
            let acknowledgement = await runner.receive(job, messageID: UUID(), createdDate: created)
            switch acknowledgement.code {
            case .accepted, .duplicate:
                _ = try await session.calls.call(
                    AcknowledgeMessage.self, .init(messageID: message.messageID, connectionNumber: session.number))
            case let code:
                let type = FailMessage.Input.self
                _ = try await session.calls.call(
                    FailMessage.self,
                    .init(
                        messageID: message.messageID,
                        failureType: code == .unexpectedDocumentType ? type.noHandlerExists : type.internalHandlerException,
                        statusCode: acknowledgement.statusCode, connectionNumber: session.number))
            }
        }
    }

    // MARK: Out

    private func reply(_ message: AgentMessage, _ session: Session) async throws {
        guard message.messageType == .agentJobReply else { return }
        let reply = try message.decodePayload(AgentJobReply.self)
        _ = try await session.calls.call(
            SendReply.self,
            .init(
                messageID: reply.jobID, payload: reply.content, replyID: message.messageID.uuidString.lowercased(),
                connectionNumber: session.number))
        await runner.replyAcknowledged(jobID: reply.jobID, messageID: message.messageID)
    }
}
