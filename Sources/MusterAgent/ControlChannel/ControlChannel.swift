import FoundationEssentials
package import Logging
import MusterClient
import MusterWire
package import NIOCore
package import ServiceLifecycle

/// The agent's one connection to its controller, on which jobs come in and acknowledgements and replies go out: a WebSocket, or
/// a `MessagePoller` where none gets through.
///
///     GET /v1/control-channel/<node>?role=subscribe&stream=input     under the node's client certificate
///     ──▶ text: OpenControlChannel, with a connection number that is greater than any before
///     ◀── agent_job            ──▶ agent_job_ack      when the job is on the disk
///     ──▶ agent_job_reply      ◀── agent_job_reply_ack
///
/// When and how often it connects is the machine's business, by which transport the choice's; what a job is, the runner's.
///
/// While it polls, a WebSocket is tried now and then, up to the 101 and without a word to the controller. One that opens takes
/// over when the poll has ended: there is never more than one way on which replies go out.
package final class ControlChannel: Service {
    private enum Link: Sendable {
        case webSocket(WebSocketConnection)
        case poll(PollStop)
    }

    /// Connections are counted, so that the end of a former one is not taken for that of the present one.
    private enum Event: Sendable {
        case opened(Int, Link)
        /// The controller has something for this node. Once a connection.
        case served(Int)
        case ended(Int, ControlChannelMachine.Failure?, TransportChoice.End)
        case delayElapsed(ticket: Int)
        case trialDue(Int)
        case trialOpened(Int, WebSocketConnection)
        case trialFailed(Int, String)
        case identityReplaced
        case stopRequested
    }

    /// What `serve` keeps between events.
    private struct Standing {
        /// A try takes up to 25 s where nothing answers; with the pause after it a link that is back is found within a minute.
        var machine = ControlChannelMachine(backoff: Backoff(cap: .seconds(35)))
        var choice: TransportChoice
        var connection = 0
        var link: Link?
        var transport = TransportChoice.Transport.webSocket
        /// Why there is no channel, as it was logged last.
        var reported: ControlChannelMachine.Failure?
        /// A WebSocket that waits for the poll to end.
        var successor: WebSocketConnection?
    }

    /// Acknowledgements and replies that the socket has not taken yet. Beyond this the connection is given up: what is lost with
    /// it is still in the ledger and goes out on the next one.
    private static let maxQueuedMessages = 512

    private let current: CurrentIdentity
    private let runner: any JobReceiver
    private let sessions: (any SessionReceiver)?
    private let keepAlive: TimeAmount
    private let group: any EventLoopGroup
    private let logger: Logger
    private let choice: TransportChoice
    private let online: @Sendable (TransportChoice.Transport) -> Void
    private let denied: @Sendable () -> Void
    private let events: AsyncStream<Event>.Continuation
    private let eventStream: AsyncStream<Event>

    /// - Parameters:
    ///   - sessions: takes what is about sessions; they come over WebSockets only.
    ///   - online: called each time a channel is up, with what it goes by.
    ///   - denied: called each time the controller refuses this identity.
    package init(
        current: CurrentIdentity,
        runner: any JobReceiver,
        sessions: (any SessionReceiver)? = nil,
        keepAlive: TimeAmount,
        choice: TransportChoice = TransportChoice(.auto),
        group: any EventLoopGroup,
        logger: Logger,
        online: @escaping @Sendable (TransportChoice.Transport) -> Void,
        denied: @escaping @Sendable () -> Void
    ) {
        self.current = current
        self.runner = runner
        self.sessions = sessions
        self.keepAlive = keepAlive
        self.group = group
        self.logger = logger
        self.choice = choice
        self.online = online
        self.denied = denied
        // At most one connection and one timer are at work, so few events are ever waiting.
        (eventStream, events) = AsyncStream.makeStream(of: Event.self, bufferingPolicy: .unbounded)
    }

    /// Connects anew, with the identity that is current then.
    package func identityReplaced() {
        events.yield(.identityReplaced)
    }

    package func run() async throws {
        await withGracefulShutdownHandler {
            await withTaskCancellationHandler {
                await serve()
            } onCancel: {
                events.yield(.stopRequested)
            }
        } onGracefulShutdown: {
            self.events.yield(.stopRequested)
        }
    }

    private func serve() async {
        await withDiscardingTaskGroup { group in
            var now = Standing(choice: choice)
            perform(now.machine.start(), &now, in: &group)
            for await event in eventStream {
                let before = now.machine.standing
                let action = handle(event, &now, in: &group)
                if now.machine.standing == .online { now.reported = nil }
                if now.machine.standing == .online, before != .online {
                    logger.info(
                        "connected",
                        metadata: [
                            "controller": "\(current.identity.controller)", "node": "\(current.identity.node)", "by": "\(now.transport)",
                        ])
                    online(now.transport)
                } else if case .opened = event, now.machine.standing == .online {
                    online(now.transport)
                }
                perform(action, &now, in: &group)
                if now.machine.isFinished { break }
            }
            now.successor?.abort()
            group.cancelAll()
        }
    }

    private func handle(_ event: Event, _ now: inout Standing, in group: inout DiscardingTaskGroup) -> ControlChannelMachine.Action {
        switch event {
        case .opened(let connection, let link):
            guard connection == now.connection else { return .none }
            now.link = link
            if case .poll = link { wait(now.choice.pollOpened(), beside: connection, in: &group) }
            return now.machine.opened(at: .now)
        case .served(let connection):
            if connection == now.connection { now.machine.served() }
        case .ended(let connection, let failure, let end):
            guard connection == now.connection else { return .none }
            return ended(failure, end, &now, in: &group)
        case .delayElapsed(let ticket):
            return now.machine.delayElapsed(ticket: ticket)
        case .trialDue(let connection):
            if connection == now.connection, now.machine.isOpen { group.addTask { await self.tryWebSocket(beside: connection) } }
        case .trialFailed(let connection, let reason):
            guard connection == now.connection else { return .none }
            logger.debug("WebSockets still do not get through", metadata: ["reason": "\(reason)"])
            wait(now.choice.trialFailed(), beside: connection, in: &group)
        case .trialOpened(let connection, let socket):
            guard connection == now.connection, now.machine.isOpen, case .poll(let stop) = now.link else {
                socket.abort()
                return .none
            }
            now.successor = socket
            stop.order(goodbye: false)
        case .identityReplaced:
            if !now.machine.isOpen { now.choice.restart() }
            return now.machine.identityReplaced()
        case .stopRequested:
            return now.machine.stopRequested()
        }
        return .none
    }

    private func ended(
        _ failure: ControlChannelMachine.Failure?, _ end: TransportChoice.End, _ now: inout Standing, in group: inout DiscardingTaskGroup
    ) -> ControlChannelMachine.Action {
        let transport = now.transport
        now.link = nil
        if let socket = now.successor {
            now.successor = nil
            if now.machine.isOpen {
                now.choice.trialOpened()
                now.machine.replaced(at: .now)
                now.connection += 1
                now.link = .webSocket(socket)
                now.transport = .webSocket
                logger.info("WebSockets get through again; polling no more")
                group.addTask { [connection = now.connection] in await self.converse(connection, on: socket) }
                return .none
            }
            socket.abort()
        }
        var failure = failure
        switch transport {
        case .webSocket:
            if now.choice.webSocketEnded(end) {
                logger.warning("WebSockets do not get through; polling", metadata: ["reason": "\(failure?.reason ?? "closed")"])
                // Whether this node is accepted, the poll will show.
                failure = .unreachable(failure?.reason ?? "closed")
            }
        case .poll:
            if failure != nil { now.choice.pollEnded() }
        }
        let action = now.machine.ended(failure, at: .now, random: .random(in: 0..<1))
        if case .denied = failure { denied() }
        // An end that was ordered here is no news.
        if case .wait = action {
            report(failure, isNew: failure != now.reported)
            now.reported = failure ?? now.reported
        }
        return action
    }

    private func perform(_ action: ControlChannelMachine.Action, _ now: inout Standing, in group: inout DiscardingTaskGroup) {
        switch action {
        case .none, .finish:
            break
        case .connect:
            now.connection += 1
            now.transport = now.choice.next
            group.addTask { [connection = now.connection, transport = now.transport] in
                switch transport {
                case .webSocket: await self.connect(connection)
                case .poll: await self.poll(connection)
                }
            }
        case .wait(let delay, let ticket):
            group.addTask { [events] in
                guard (try? await Task.sleep(for: delay)) != nil else { return }
                events.yield(.delayElapsed(ticket: ticket))
            }
        case .close:
            group.addTask { [link = now.link] in
                switch link {
                case .webSocket(let socket): await socket.close()
                case .poll(let stop): stop.order(goodbye: true)
                case nil: break
                }
            }
        }
    }

    private func wait(_ pause: Duration?, beside connection: Int, in group: inout DiscardingTaskGroup) {
        guard let pause else { return }
        group.addTask { [events] in
            // A fleet that was cut off together does not come back together.
            guard (try? await Task.sleep(for: pause * Double.random(in: 0.9...1.1))) != nil else { return }
            events.yield(.trialDue(connection))
        }
    }

    private func report(_ failure: ControlChannelMachine.Failure?, isNew: Bool) {
        switch failure {
        case nil:
            logger.info("the controller closed the connection")
        case .unreachable(let reason):
            logger.log(level: isNew ? .warning : .debug, "no connection to the controller; trying again", metadata: ["reason": "\(reason)"])
        case .denied(let reason):
            logger.log(
                level: isNew ? .error : .debug, "the controller does not accept this node; trying again every minute",
                metadata: ["reason": "\(reason)", "node": "\(current.identity.node)"])
        }
    }

    // MARK: One connection

    private func connect(_ connection: Int) async {
        do {
            let socket = try await upgrade()
            await converse(connection, on: socket)
        } catch {
            events.yield(.ended(connection, Self.failure(error), TransportChoice.End(unopened: error)))
        }
    }

    private func converse(_ connection: Int, on socket: WebSocketConnection) async {
        let opened = ContinuousClock.now
        defer { socket.abort() }
        do {
            try await hello(on: socket)
            events.yield(.opened(connection, .webSocket(socket)))
            try await exchange(connection, on: socket)
            events.yield(.ended(connection, nil, .other))
        } catch {
            events.yield(.ended(connection, Self.failure(error), end(error, after: ContinuousClock.now - opened)))
        }
    }

    private func poll(_ connection: Int) async {
        let stop = PollStop()
        let poller = MessagePoller(current: current, runner: runner, group: group, logger: logger)
        do {
            _ = try await poller.run(stop: stop) { [events] in
                // The answer to the first poll says that this node is accepted.
                events.yield(.opened(connection, .poll(stop)))
                events.yield(.served(connection))
            }
            events.yield(.ended(connection, nil, .other))
        } catch {
            events.yield(.ended(connection, Self.failure(error), .other))
        }
    }

    /// As far as the 101. The controller waits a few seconds for the first message.
    private func tryWebSocket(beside connection: Int) async {
        do {
            let socket = try await upgrade()
            if case .terminated = events.yield(.trialOpened(connection, socket)) { socket.abort() }
        } catch {
            events.yield(.trialFailed(connection, "\(error)"))
        }
    }

    private func upgrade() async throws -> WebSocketConnection {
        let identity = current.identity
        let socket = try await current.trust.attempt { [group, keepAlive] tls in
            try await WebSocketConnection.connect(
                endpoint: identity.controller,
                path: "/v1/control-channel/\(identity.node)?role=subscribe&stream=input",
                tls: tls,
                maxMessageBytes: AgentMessage.maximumLength,
                keepAlive: keepAlive,
                group: group,
                deadline: .now() + .seconds(20)
            )
        }
        current.localAddress = socket.localAddress
        if let offset = current.clock.observe(socket.header(ServerClock.header)) { runner.serverTime(offset) }
        return socket
    }

    private func hello(on socket: WebSocketConnection) async throws {
        let open = OpenControlChannel(
            requestID: UUID().uuidString.lowercased(),
            agentVersion: AgentVersion.current,
            connectionNumber: try current.nextConnectionNumber(),
            identityGeneration: current.identity.generation
        )
        try await socket.send(text: String(decoding: JSONCoding.encode(open), as: UTF8.self))
    }

    /// Returns when the other side has closed in order.
    private func exchange(_ connection: Int, on socket: WebSocketConnection) async throws {
        let (outgoing, queue) = AsyncStream.makeStream(of: AgentMessage.self, bufferingPolicy: .bufferingOldest(Self.maxQueuedMessages))
        let send: @Sendable (AgentMessage) -> Void = { [logger] message in
            if case .dropped = queue.yield(message) {
                logger.warning("the controller takes messages too slowly; connecting anew")
                socket.abort()
            }
        }
        runner.attach(send)
        sessions?.attach(send)
        defer {
            runner.detach()
            sessions?.detach()
            queue.finish()
        }
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                for await message in outgoing {
                    var frame = ByteBuffer()
                    frame.writeAgentMessage(message)
                    try await socket.send(binary: frame)
                }
            }
            group.addTask {
                var isFirst = true
                for try await message in socket.inbound {
                    // The protocol has no text from this side.
                    guard case .binary(var frame) = message else { continue }
                    try await self.received(frame.readAgentMessage(), answer: send)
                    if isFirst { self.events.yield(.served(connection)) }
                    isFirst = false
                }
            }
            defer { group.cancelAll() }
            try await group.next()
        }
    }

    private func received(_ message: AgentMessage, answer: @Sendable (AgentMessage) -> Void) async throws {
        switch message.messageType {
        case .agentJob:
            let job = try message.decodePayload(AgentJob.self)
            let acknowledgement = await runner.receive(job, messageID: message.messageID, createdDate: message.createdDate)
            answer(try AgentMessage(.agentJobAck, createdDate: current.clock.now(), payload: acknowledgement))
        case .agentJobReplyAck:
            let acknowledgement = try message.decodePayload(AgentJobReplyAcknowledge.self)
            guard let id = UUID(uuidString: acknowledgement.acknowledgedMessageID) else {
                logger.warning("an acknowledgement names no message", metadata: ["job": "\(acknowledgement.jobID.prefix(128))"])
                return
            }
            await runner.replyAcknowledged(jobID: acknowledgement.jobID, messageID: id)
        case .agentOutput:
            runner.followOutput(try message.decodePayload(AgentOutputRequest.self))
        case .interactiveShell, .channelClosed, .agentTaskAcknowledge:
            sessions?.received(message)
        default:
            // A newer controller may say more than this agent knows.
            logger.debug("ignoring a message", metadata: ["type": "\(message.messageType)"])
        }
    }

    private static func failure(_ error: any Error) -> ControlChannelMachine.Failure {
        if let error = error as? APIError, error.code == "AccessDeniedException" { return .denied(error.description) }
        guard let error = error as? ClientError else { return .unreachable(words(error)) }
        switch error.kind {
        case .denied:
            return .denied(error.description)
        case .refused(let status) where (400..<500).contains(status) && status != 408 && status != 429:
            return .denied(error.description)
        default:
            return .unreachable(error.description)
        }
    }

    /// What the end of one that was open says about them. A denial is about this node.
    private func end(_ error: any Error, after life: Duration) -> TransportChoice.End {
        guard let error = error as? ClientError, error.kind != .denied else { return .other }
        guard error.kind == .timedOut else { return .broke(useful: life, isSilent: false) }
        return .broke(useful: life - .nanoseconds(keepAlive.nanoseconds / 2 * 5), isSilent: true)
    }
}
