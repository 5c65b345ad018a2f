import FoundationEssentials
package import Logging
import MusterClient
import MusterWire
package import NIOCore
package import ServiceLifecycle

/// The agent's one connection to its controller: a WebSocket on which jobs come in and acknowledgements and replies go out.
///
///     GET /v1/control-channel/<node>?role=subscribe&stream=input     under the node's client certificate
///     ──▶ text: OpenControlChannel, with a connection number that is greater than any before
///     ◀── agent_job            ──▶ agent_job_ack      when the job is on the disk
///     ──▶ agent_job_reply      ◀── agent_job_reply_ack
///
/// When and how often it connects is the machine's business; what a job is, the runner's.
package final class ControlChannel: Service {
    private enum Event: Sendable {
        case opened(WebSocketConnection)
        case ended(ControlChannelMachine.Failure?)
        case delayElapsed(ticket: Int)
        case identityReplaced
        case stopRequested
    }

    /// Acknowledgements and replies that the socket has not taken yet. Beyond this the connection is given up: what is lost with
    /// it is still in the ledger and goes out on the next one.
    private static let maxQueuedMessages = 512

    private let current: CurrentIdentity
    private let runner: any JobReceiver
    private let keepAlive: TimeAmount
    private let group: any EventLoopGroup
    private let logger: Logger
    private let online: @Sendable () -> Void
    private let denied: @Sendable () -> Void
    private let events: AsyncStream<Event>.Continuation
    private let eventStream: AsyncStream<Event>

    /// - Parameters:
    ///   - online: called each time a channel is up.
    ///   - denied: called each time the controller refuses this identity.
    package init(
        current: CurrentIdentity,
        runner: any JobReceiver,
        keepAlive: TimeAmount,
        group: any EventLoopGroup,
        logger: Logger,
        online: @escaping @Sendable () -> Void,
        denied: @escaping @Sendable () -> Void
    ) {
        self.current = current
        self.runner = runner
        self.keepAlive = keepAlive
        self.group = group
        self.logger = logger
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
            var machine = ControlChannelMachine()
            var socket: WebSocketConnection?
            perform(machine.start(), socket, in: &group)
            for await event in eventStream {
                let standing = machine.standing
                let action: ControlChannelMachine.Action
                switch event {
                case .opened(let opened):
                    socket = opened
                    action = machine.opened(at: .now)
                    if machine.standing == .online, standing == .online { online() }
                case .ended(let failure):
                    action = machine.ended(failure, at: .now, random: .random(in: 0..<1))
                    if case .denied = failure { denied() }
                    // An end that was ordered here is no news.
                    if case .wait = action { report(failure, isNew: machine.standing != standing) }
                case .delayElapsed(let ticket):
                    action = machine.delayElapsed(ticket: ticket)
                case .identityReplaced:
                    action = machine.identityReplaced()
                case .stopRequested:
                    action = machine.stopRequested()
                }
                if machine.standing == .online, standing != .online {
                    online()
                    logger.info(
                        "connected", metadata: ["controller": "\(current.identity.controller)", "node": "\(current.identity.node)"])
                }
                perform(action, socket, in: &group)
                if case .ended = event { socket = nil }
                if machine.isFinished { break }
            }
            group.cancelAll()
        }
    }

    private func perform(_ action: ControlChannelMachine.Action, _ socket: WebSocketConnection?, in group: inout DiscardingTaskGroup) {
        switch action {
        case .none, .finish:
            break
        case .connect:
            group.addTask { await self.connect() }
        case .wait(let delay, let ticket):
            group.addTask { [events] in
                guard (try? await Task.sleep(for: delay)) != nil else { return }
                events.yield(.delayElapsed(ticket: ticket))
            }
        case .close:
            group.addTask { await socket?.close() }
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

    private func connect() async {
        do {
            let identity = current.identity
            let socket = try await open(identity)
            defer { socket.abort() }
            events.yield(.opened(socket))
            try await exchange(on: socket)
            events.yield(.ended(nil))
        } catch {
            events.yield(.ended(Self.failure(error)))
        }
    }

    private func open(_ identity: Identity) async throws -> WebSocketConnection {
        let number = try current.nextConnectionNumber()
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
        if let offset = current.clock.observe(socket.header(ServerClock.header)) { runner.serverTime(offset) }
        let open = OpenControlChannel(
            requestID: UUID().uuidString.lowercased(),
            agentVersion: AgentVersion.current,
            connectionNumber: number,
            identityGeneration: identity.generation
        )
        do {
            try await socket.send(text: String(decoding: JSONCoding.encode(open), as: UTF8.self))
        } catch {
            socket.abort()
            throw error
        }
        return socket
    }

    /// Returns when the other side has closed in order.
    private func exchange(on socket: WebSocketConnection) async throws {
        let (outgoing, queue) = AsyncStream.makeStream(of: AgentMessage.self, bufferingPolicy: .bufferingOldest(Self.maxQueuedMessages))
        let send: @Sendable (AgentMessage) -> Void = { [logger] message in
            if case .dropped = queue.yield(message) {
                logger.warning("the controller takes messages too slowly; connecting anew")
                socket.abort()
            }
        }
        runner.attach(send)
        defer {
            runner.detach()
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
                for try await message in socket.inbound {
                    // The protocol has no text from this side.
                    guard case .binary(var frame) = message else { continue }
                    try await self.received(frame.readAgentMessage(), answer: send)
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
        default:
            // A newer controller may say more than this agent knows.
            logger.debug("ignoring a message", metadata: ["type": "\(message.messageType)"])
        }
    }

    private static func failure(_ error: any Error) -> ControlChannelMachine.Failure {
        guard let error = error as? ClientError else { return .unreachable("\(error)") }
        switch error.kind {
        case .denied:
            return .denied(error.description)
        case .refused(let status) where (400..<500).contains(status) && status != 408 && status != 429:
            return .denied(error.description)
        default:
            return .unreachable(error.description)
        }
    }
}
