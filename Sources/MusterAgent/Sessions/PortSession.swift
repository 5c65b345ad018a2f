import Glibc
import MusterWire
import NIOCore

/// Connections from the node to one target: one at a time as raw bytes, or many in smux.
final class PortSession: SessionWorker {
    /// The first client version that speaks smux.
    private static let firstMultiplexing = SessionVersion("1.1.70.0")
    /// Less room than this is waited out: a frame for a few bytes costs as much as a full one.
    private static let leastRoom = 512
    /// What one read brings.
    static let largestRead = 64 << 10
    /// What came from the client for a connection that is not there yet.
    private static let maximumEarly = 1 << 20

    /// One connection to the target.
    private final class Connection {
        let started = Timestamp.now()
        var channel: (any Channel)?
        /// From the client, before there was a connection.
        var early: [ByteBuffer] = []
        var earlyBytes = 0
        var isInputOver = false
        /// From the target, more than the multiplexer had room for.
        var rest = ByteBuffer()
        var isClosed = false
        var received: Int64 = 0
        var sent: Int64 = 0
        var error: String?
        /// The last piece for the target, and what has been written with it and before since the last flush.
        var unflushed: ByteBuffer?
        var unflushedBytes = 0
    }

    private let target: PortDialer
    private let denied: DeniedTargets
    private let loop: any EventLoop
    private weak var owner: (any SessionWorkerOwner)?
    private let isReconnecting: Bool
    private var multiplexer: Multiplexer?
    private var connections: [UInt32: Connection] = [:]
    private var isOver = false
    private var isFull = false
    private var timer: Scheduled<Void>?
    /// The one connection of a session without smux.
    private static let single: UInt32 = 0

    static func multiplexes(clientVersion: String) -> Bool {
        guard let version = SessionVersion(clientVersion), let first = firstMultiplexing else { return false }
        return version >= first
    }

    /// - Parameter isReconnecting: the client may close its connection and open another later (LocalPortForwarding).
    init(
        target: PortDialer, denied: DeniedTargets, isMultiplexed: Bool, isReconnecting: Bool, loop: any EventLoop,
        owner: any SessionWorkerOwner
    ) {
        self.target = target
        self.denied = denied
        self.loop = loop
        self.owner = owner
        self.isReconnecting = isReconnecting
        multiplexer = isMultiplexed ? Multiplexer(role: .agent) : nil
    }

    func start() {
        // With smux the connections come one by one; the first of the others is made at once, so that a wrong port shows.
        if multiplexer == nil { dial(Self.single) }
    }

    // MARK: Connections

    private func dial(_ id: UInt32) {
        let connection = Connection()
        connections[id] = connection
        let bound = NIOLoopBound((self, connection), eventLoop: loop)
        target.dial(denied: denied, on: loop) { channel in
            let (session, connection) = bound.value
            try channel.pipeline.syncOperations.addHandler(session.pump(id, connection))
        }.whenComplete { result in
            let (session, connection) = bound.value
            switch result {
            case .success(let channel): session.dialled(id, connection, channel)
            case .failure(let error): session.dialFailed(id, connection, error)
            }
        }
    }

    private func pump(_ id: UInt32, _ connection: Connection) -> SessionPump {
        SessionPump(
            mayRead: { [weak self] in self?.mayRead(id, connection) ?? false },
            received: { [weak self] in self?.received($0, id, connection) },
            receivedEverything: { [weak self] in self?.flush() },
            writable: { [weak self] _ in self?.checkInput() },
            closed: { [weak self] in self?.closed(id, connection) })
    }

    private func dialled(_ id: UInt32, _ connection: Connection, _ channel: any Channel) {
        guard !isOver, connections[id] === connection, !connection.isClosed else { return channel.close(promise: nil) }
        connection.channel = channel
        let early = connection.early
        connection.early = []
        connection.earlyBytes = 0
        for piece in early { send(piece, connection, on: channel) }
        flushInput(id, connection)
        if connection.isInputOver { finishInput(id, connection) }
        if mayRead(id, connection) { channel.read() }
        checkInput()
    }

    private func dialFailed(_ id: UInt32, _ connection: Connection, _ error: any Error) {
        guard !isOver, connections[id] === connection else { return }
        connection.error = "\(error)"
        guard multiplexer != nil || isReconnecting && connection.received > 0 else {
            note(connection)
            return finish(.failed("\(error)"))
        }
        owner?.explain("\(error)")
        owner?.output(.flag, StreamFlag.connectToPortError.payload)
        closed(id, connection)
    }

    private func mayRead(_ id: UInt32, _ connection: Connection) -> Bool {
        guard !isOver, connection.rest.readableBytes == 0, owner?.takesOutput == true else { return false }
        return multiplexer.map { $0.room(id) > Self.largestRead } ?? true
    }

    /// From the target.
    private func received(_ bytes: ByteBuffer, _ id: UInt32, _ connection: Connection) {
        guard !isOver, connections[id] === connection else { return }
        connection.sent += Int64(bytes.readableBytes)
        guard multiplexer != nil else {
            owner?.output(.output, bytes)
            return
        }
        if connection.rest.readableBytes == 0 { connection.rest = bytes } else { connection.rest.writeImmutableBuffer(bytes) }
        multiplexer?.write(id, &connection.rest)
        if let multiplexer, multiplexer.queuedBytes >= Multiplexer.largestPiece { flush() }
    }

    /// The target has closed it, or we have.
    private func closed(_ id: UInt32, _ connection: Connection) {
        guard !connection.isClosed else { return }
        connection.isClosed = true
        note(connection)
        guard !isOver, connections[id] === connection else { return }
        if multiplexer != nil {
            finishStream(id, connection)
            flush()
        } else {
            connections[id] = nil
            if !isReconnecting { finish(SessionResult()) }
        }
        checkInput()
    }

    /// What was read is sent first.
    private func finishStream(_ id: UInt32, _ connection: Connection) {
        guard connection.isClosed, connection.rest.readableBytes == 0 else { return }
        multiplexer?.close(id, now: .now())
        connections[id] = nil
    }

    private func note(_ connection: Connection) {
        owner?.transferred(
            SessionTransfer(
                kind: .connection, name: target.name, received: connection.received, sent: connection.sent, started: connection.started,
                ended: .now(), error: connection.error))
    }

    // MARK: From the client

    func input(_ payload: ByteBuffer, isLast: Bool) {
        guard !isOver else { return }
        guard multiplexer != nil else {
            if connections[Self.single] == nil {
                guard isReconnecting, payload.readableBytes > 0 else { return }
                dial(Self.single)
            }
            guard let connection = connections[Self.single] else { return }
            if payload.readableBytes > 0 {
                write(payload, connection)
                flushInput(Self.single, connection)
            }
            if isLast { finishInput(Self.single, connection) }
            return checkInput()
        }
        perform(multiplexer?.received(payload, now: .now()) ?? [])
        flush()
        checkInput()
    }

    private func perform(_ events: [Multiplexer.Event]) {
        for event in events {
            switch event {
            case .opened(let id):
                dial(id)
            case .data(let id, let bytes):
                if let connection = connections[id] { write(bytes, connection) }
            case .closed(let id):
                if let connection = connections[id] { hangUp(id, connection) } else { multiplexer?.close(id, now: .now()) }
            case .stalled(let id):
                if let connection = connections[id] {
                    connection.error = "It took nothing while others waited, and was closed."
                    connection.rest = ByteBuffer()
                    connection.channel?.close(promise: nil)
                }
            case .failed(let failure):
                finish(.failed("\(failure)"))
            }
        }
        for case .data(let id, _) in events {
            if let connection = connections[id] { flushInput(id, connection) }
        }
    }

    private func write(_ bytes: ByteBuffer, _ connection: Connection) {
        connection.received += Int64(bytes.readableBytes)
        guard let channel = connection.channel else {
            connection.early.append(bytes)
            connection.earlyBytes += bytes.readableBytes
            return
        }
        send(bytes, connection, on: channel)
    }

    /// With the next flush.
    private func send(_ bytes: ByteBuffer, _ connection: Connection, on channel: any Channel) {
        connection.unflushedBytes += bytes.readableBytes
        if let former = connection.unflushed { channel.write(former, promise: nil) }
        connection.unflushed = bytes
    }

    private func flushInput(_ id: UInt32, _ connection: Connection) {
        guard let channel = connection.channel, let last = connection.unflushed else { return }
        let count = connection.unflushedBytes
        connection.unflushed = nil
        connection.unflushedBytes = 0
        let bound = NIOLoopBound(self, eventLoop: loop)
        channel.writeAndFlush(last).whenComplete { _ in
            bound.value.multiplexer?.consumed(id, count, now: .now())
            bound.value.checkInput()
        }
    }

    /// The client's half is over (FIN of a stream without smux).
    private func finishInput(_ id: UInt32, _ connection: Connection) {
        connection.isInputOver = true
        guard let channel = connection.channel else { return }
        channel.writeAndFlush(ByteBuffer()).whenComplete { _ in channel.close(mode: .output, promise: nil) }
    }

    /// smux knows no half-close: after what was written the connection ends.
    private func hangUp(_ id: UInt32, _ connection: Connection) {
        connection.rest = ByteBuffer()
        flushInput(id, connection)
        guard let channel = connection.channel else { return closed(id, connection) }
        channel.writeAndFlush(ByteBuffer()).whenComplete { _ in channel.close(promise: nil) }
    }

    /// Back-pressure towards the client.
    private func checkInput() {
        guard !isOver else { return }
        let now: Bool
        if let multiplexer {
            now = !multiplexer.wantsInput
        } else if let connection = connections[Self.single] {
            now = connection.channel.map { !$0.isWritable } ?? (connection.earlyBytes >= Self.maximumEarly)
        } else {
            now = false
        }
        if now != isFull {
            isFull = now
            if now { owner?.inputFull() } else { owner?.inputDrained() }
        }
        armTimer()
    }

    private func armTimer() {
        guard timer == nil, let deadline = multiplexer?.nextDeadline else { return }
        let bound = NIOLoopBound(self, eventLoop: loop)
        timer = loop.scheduleTask(deadline: deadline) {
            let session = bound.value
            session.timer = nil
            guard !session.isOver else { return }
            session.perform(session.multiplexer?.due(now: .now()) ?? [])
            session.flush()
            session.checkInput()
        }
    }

    // MARK: To the client

    private func flush() {
        while !isOver, let owner, owner.outputRoom >= Self.leastRoom,
            let bytes = multiplexer?.take(upTo: min(owner.outputRoom, Multiplexer.largestPiece))
        {
            owner.output(.output, bytes)
        }
    }

    func mayRead() {
        guard !isOver else { return }
        if multiplexer != nil {
            flush()
            for (id, connection) in connections where connection.rest.readableBytes > 0 {
                multiplexer?.write(id, &connection.rest)
                finishStream(id, connection)
            }
            flush()
        }
        for (id, connection) in connections where mayRead(id, connection) { connection.channel?.read() }
    }

    func resize(_ size: TerminalSize) {}

    func flag(_ flag: StreamFlag) {
        switch flag {
        case .terminateSession:
            finish(SessionResult())
        case .disconnectToPort:
            guard multiplexer == nil, let connection = connections[Self.single] else { return }
            connections[Self.single] = nil
            connection.channel?.close(promise: nil)
            if !isReconnecting { finish(SessionResult()) }
        default:
            break
        }
    }

    func end() { finish(SessionResult()) }

    private func finish(_ result: SessionResult) {
        guard !isOver else { return }
        isOver = true
        timer?.cancel()
        let owner = self.owner
        for connection in connections.values where !connection.isClosed {
            connection.isClosed = true
            note(connection)
            connection.channel?.close(promise: nil)
        }
        connections = [:]
        self.owner = nil
        owner?.ended(result)
    }
}
