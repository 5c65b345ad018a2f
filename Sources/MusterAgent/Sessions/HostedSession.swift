import FoundationEssentials
import Logging
import MusterClient
import MusterWire
import NIOCore

/// One session in the session host: its data channel on one side, its worker on the other, its life by `SessionMachine`.
///
///     DataChannel ─deliver─▶ HostedSession ─input─▶ SessionWorker ─▶ program, connections
///     DataChannel ◀─write── HostedSession ◀─output── SessionWorker
///
/// Everything happens on the host's one event loop, which is what makes it Sendable.
final class HostedSession: DataChannelReceiver, SessionWorkerOwner, @unchecked Sendable {
    let id: SessionID
    let channel: DataChannel
    private let plan: SessionPlan
    private let client: SessionClient
    /// For the record; nil where nothing is run.
    private let user: String?
    private let loop: any EventLoop
    private let logger: Logger
    private let makeWorker: (HostedSession) throws -> any SessionWorker
    private let finished: (HostedSession, SessionResult, [SessionTransfer]) -> Void
    private let beside: (AgentMessage) -> Void

    private var machine: SessionMachine
    private var worker: (any SessionWorker)?
    private var request: HandshakeRequest?
    private var handshakeBegan = NIODeadline.now()
    private var timer: Scheduled<Void>?
    /// Output that the stream has no room for: no more than what one wake-up read.
    private var pending = CircularBuffer<(type: PayloadType, bytes: ByteBuffer)>()
    private var cutters: [PayloadType: UTF8Cutter] = [:]
    private var transfers: [SessionTransfer] = []
    /// Of a session that ends before its program.
    private var abandoned: SessionResult?
    private var drainDeadline: NIODeadline?
    private var size: TerminalSize?

    private static let handshakeTime = TimeAmount.seconds(15)
    /// How long a client may take nothing of the rest before it is taken for gone.
    private static let drainStall = TimeAmount.seconds(5)
    /// Longer than the controller waits for a client that is away.
    private static let drainTime = TimeAmount.seconds(150)
    /// Longer than the end of a process tree takes.
    private static let endTime = TimeAmount.seconds(15)

    init(
        id: SessionID, plan: SessionPlan, client: SessionClient, user: String?, channel: DataChannel, loop: any EventLoop, logger: Logger,
        makeWorker: @escaping (HostedSession) throws -> any SessionWorker,
        beside: @escaping (AgentMessage) -> Void,
        finished: @escaping (HostedSession, SessionResult, [SessionTransfer]) -> Void
    ) {
        self.id = id
        self.plan = plan
        self.client = client
        self.user = user
        self.channel = channel
        self.loop = loop
        self.logger = logger
        self.makeWorker = makeWorker
        self.beside = beside
        self.finished = finished
        // The stock client learns from a handshake, or from the first output, what kind of session it has, and takes no keys before: a
        // program that says nothing would never get its input. Ours knows.
        machine = SessionMachine(shakesHands: plan.shakesHands || !client.isNative, isHandshakeNeeded: plan.shakesHands)
    }

    // MARK: The data channel

    func deliver(_ incoming: DataChannel.Incoming) {
        switch incoming {
        case .connected:
            // Said anew on each connection, before anything else.
            let payload = AgentSessionState(.connected, sessionID: id, runAsUser: user)
            if let state = try? AgentMessage(.agentSessionState, createdDate: .now(), payload: payload) {
                channel.post(state.flagged)
            }
            perform(machine.connected())
        case .disconnected:
            break
        case .channelClosed:
            perform(machine.closed())
        case .message(let message) where message.messageType == .sessionNotice:
            notice(message)
        case .message(let message):
            beside(message)
        case .data(let type, let payload, let isLast):
            data(type, payload, isLast: isLast)
        }
    }

    /// Words of the controller on a line of their own, between what the program writes.
    private func notice(_ message: AgentMessage) {
        guard !plan.isPort, machine.takesInput, let notice = try? message.decodePayload(SessionNotice.self), notice.sessionID == id else {
            return
        }
        send(.output, ByteBuffer(string: "\r\n[muster] \(notice.line)\r\n"))
    }

    private func data(_ type: PayloadType, _ payload: ByteBuffer, isLast: Bool) {
        if machine.awaitsHandshake {
            switch type {
            case .handshakeResponse: return handshakeAnswered(payload)
            case .output, .size: perform(machine.handshakeSkipped())
            default: return
            }
            if machine.awaitsHandshake { return }
            timer?.cancel()
        }
        switch type {
        case .size:
            guard payload.readableBytes <= 256, let size = try? JSONCoding.decode(TerminalSize.self, from: Array(payload.readableBytesView))
            else { return }
            self.size = size
            worker?.resize(size)
        case .output:
            if machine.takesInput { worker?.input(payload, isLast: isLast) }
        case .flag:
            if let flag = StreamFlag(payload: payload) { worker?.flag(flag) }
        default:
            break
        }
    }

    func acknowledged() {
        flushPending()
        if machine.isDraining { checkDrained() } else if takesOutput { worker?.mayRead() }
    }

    /// The data channel cannot come back.
    func channelEnded(_ end: DataChannelEnd) {
        switch end {
        case .closed: perform(machine.closed())
        case .gone(let reason): perform(machine.gone("The way to the controller was lost: \(reason)"))
        case .finished: perform(machine.gone("The session host is ending."))
        }
    }

    /// `channel_closed` by way of the agent.
    func close() {
        perform(machine.closed())
    }

    // MARK: Life

    private func perform(_ action: SessionMachine.Action) {
        switch action {
        case .none:
            break
        case .requestHandshake:
            requestHandshake()
        case .completeHandshake:
            timer?.cancel()
            let elapsed = (NIODeadline.now() - handshakeBegan).nanoseconds
            if let complete = try? JSONCoding.encode(HandshakeComplete(nanoseconds: elapsed)) {
                send(.handshakeComplete, ByteBuffer(bytes: complete))
            }
            startWork()
        case .startWork:
            startWork()
        case .drain(let result):
            drain(result)
        case .abandon(let result):
            abandon(result)
        case .finish(let result):
            finish(result)
        }
    }

    private func requestHandshake() {
        let request = HandshakeRequest(
            agentVersion: AgentVersion.current, sessionType: plan.sessionType, properties: plan.isPort ? plan.properties : .null)
        self.request = request
        handshakeBegan = .now()
        if let bytes = try? JSONCoding.encode(request) { send(.handshakeRequest, ByteBuffer(bytes: bytes)) }
        timer = loop.scheduleTask(in: Self.handshakeTime) { [weak self] in self.map { $0.perform($0.machine.handshakeTimedOut()) } }
    }

    private func handshakeAnswered(_ payload: ByteBuffer) {
        guard let request else { return }
        let refusal: String?
        do {
            let response = try JSONCoding.decode(HandshakeResponse.self, from: Array(payload.readableBytesView))
            clientVersion = response.clientVersion
            refusal = response.refusal(of: request)
        } catch {
            refusal = "The client's answer to the handshake cannot be read."
        }
        perform(machine.handshakeAnswered(refusal: refusal))
    }

    /// As the handshake told it, or the controller.
    private(set) lazy var clientVersion = client.clientVersion

    private func startWork() {
        do {
            let worker = try makeWorker(self)
            self.worker = worker
            if let size { worker.resize(size) }
            worker.start()
        } catch {
            perform(machine.workEnded(.failed("\(error)")))
        }
    }

    private func drain(_ result: SessionResult) {
        worker = nil
        for type in [PayloadType.output, .standardError] {
            if var cutter = cutters[type] {
                let rest = cutter.finish()
                if rest.readableBytes > 0 { pending.append((type, rest)) }
            }
        }
        cutters = [:]
        if !plan.isPort, let code = result.exitCode, client.isNative || plan.separatesOutput {
            pending.append((.exitCode, ExitCode(code).payload))
        }
        flushPending()
        drainDeadline = .now() + Self.drainTime
        checkDrained()
        if machine.isDraining { watchDrain(unacknowledged: -1) }
    }

    private func checkDrained() {
        guard pending.isEmpty, channel.isDrained else { return }
        perform(machine.drained())
    }

    /// A client that is there and takes nothing is not waited for; one that is away is, as long as the controller does.
    private func watchDrain(unacknowledged before: Int) {
        timer?.cancel()
        timer = loop.scheduleTask(in: Self.drainStall) { [weak self] in
            guard let self, self.machine.isDraining else { return }
            let now = self.channel.unacknowledgedBytes + self.pending.reduce(0) { $0 + $1.bytes.readableBytes }
            let isAway = !self.channel.isConnected || self.channel.isPaused
            if (now == before && !isAway) || self.drainDeadline.map({ $0 <= .now() }) ?? true {
                self.perform(self.machine.drained())
            } else {
                self.watchDrain(unacknowledged: isAway ? -1 : now)
            }
        }
    }

    private func abandon(_ result: SessionResult) {
        timer?.cancel()
        pending.removeAll()
        guard let worker else { return finish(result) }
        abandoned = result
        worker.end()
        guard abandoned != nil else { return }
        timer = loop.scheduleTask(in: Self.endTime) { [weak self] in
            guard let self, let result = self.abandoned else { return }
            self.abandoned = nil
            self.finish(result)
        }
    }

    private func finish(_ result: SessionResult) {
        timer?.cancel()
        worker = nil
        // The stock agent says nothing at the end of a port session, nor when it failed: the words come with the report, and would be
        // too late behind this.
        if !plan.isPort, result.isSuccess,
            let state = try? AgentMessage(
                .agentSessionState, createdDate: .now(),
                payload: AgentSessionState(.terminating, sessionID: id, exitCode: result.exitCode))
        {
            channel.post(state.flagged)
        }
        finished(self, result, transfers)
    }

    // MARK: The worker

    var takesOutput: Bool { pending.isEmpty && !machine.isOver && channel.room > 0 }

    var outputRoom: Int { pending.isEmpty ? channel.room : 0 }

    func output(_ type: PayloadType, _ payload: ByteBuffer) {
        guard machine.takesInput else { return }
        var payload = payload
        if !client.isNative, !plan.isPort, type == .output || type == .standardError {
            payload = cutters[type, default: UTF8Cutter()].push(payload)
            return channel.together { sendCharacters(type, payload) }
        }
        if payload.readableBytes > 0 { send(type, payload) }
    }

    /// A frame ends with a character too.
    private func sendCharacters(_ type: PayloadType, _ payload: ByteBuffer) {
        var payload = payload
        while payload.readableBytes > client.limits.maximumPayload {
            let length = UTF8Cutter.prefix(of: payload, limit: client.limits.maximumPayload)
            guard let piece = payload.readSlice(length: length) else { break }
            send(type, piece)
        }
        if payload.readableBytes > 0 { send(type, payload) }
    }

    private func send(_ type: PayloadType, _ payload: ByteBuffer) {
        var rest = payload
        if pending.isEmpty, channel.write(type, &rest) { return }
        pending.append((type, rest))
    }

    private func flushPending() {
        while var first = pending.first {
            let isDone = channel.write(first.type, &first.bytes)
            if !isDone {
                pending[pending.startIndex] = first
                return
            }
            pending.removeFirst()
        }
    }

    func inputFull() { channel.pauseDelivery() }
    func inputDrained() { channel.resumeDelivery() }

    /// For our client only: the flag of the protocol says that it failed, and not why.
    func explain(_ words: String) {
        guard client.isNative, machine.takesInput else { return }
        send(.error, ByteBuffer(string: String(words.prefix(SessionWords.longest))))
    }

    func transferred(_ transfer: SessionTransfer) {
        if transfers.count < SessionTransfer.largestList { transfers.append(transfer) }
    }

    func ended(_ result: SessionResult) {
        worker = nil
        if let abandoned {
            self.abandoned = nil
            finish(SessionResult(isSuccess: abandoned.isSuccess, exitCode: result.exitCode, output: abandoned.output))
        } else {
            perform(machine.workEnded(result))
        }
    }
}

extension AgentMessage {
    /// As the stock agent marks its states.
    fileprivate var flagged: AgentMessage {
        var message = self
        message.flags = 3
        return message
    }
}
