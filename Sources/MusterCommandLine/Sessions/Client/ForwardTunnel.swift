import MusterClient
import MusterWire
import NIOCore

/// Many local connections in one port session. Everything happens on the session's one event loop, which is what makes it Sendable.
///
///     listener ─▶ LocalConnection ─read─▶ Multiplexer ─▶ DataChannel ─▶ node ─▶ its own connection to the target
///                 LocalConnection ◀─write─ Multiplexer ◀─ DataChannel
///
/// Fair: each connection sends a piece when it is its turn. Back-pressure: a connection is read while the multiplexer has room for it,
/// and the session delivers while all connections together have not left too much unwritten.
final class ForwardTunnel: DataChannelReceiver, @unchecked Sendable {
    enum News: Sendable {
        case ready
        case lost, back
        case dialFailed(String)
        case refused(String)
        case stalled
    }

    /// What one read brings.
    static let largestRead = 64 << 10
    /// Less room than this is waited out: a frame for a few bytes costs as much as a full one.
    private static let leastRoom = 4096

    let loop: any EventLoop
    private let channel: DataChannel
    private let news: @Sendable (News) -> Void
    private var multiplexer = Multiplexer(role: .client)
    private var connections: [UInt32: LocalConnection] = [:]
    private var isOpen = false
    private var isOver = false
    private var isPaused = false
    private var wasConnected = false
    /// Why the connection failed that the node speaks of next.
    private var words = ""
    private var timer: Scheduled<Void>?

    init(channel: DataChannel, loop: any EventLoop, news: @escaping @Sendable (News) -> Void) {
        self.channel = channel
        self.loop = loop
        self.news = news
    }

    // MARK: Local connections

    /// The listener has a new one. False: there are too many, or the session is over.
    fileprivate func opened(_ connection: LocalConnection) -> Bool {
        guard isOpen, !isOver, let id = multiplexer.open(now: .now()) else { return false }
        connection.id = id
        connections[id] = connection
        flush()
        return true
    }

    fileprivate func mayRead(_ connection: LocalConnection) -> Bool {
        !isOver && connection.rest.readableBytes == 0 && multiplexer.room(connection.id) > Self.largestRead
    }

    fileprivate func received(_ bytes: ByteBuffer, _ connection: LocalConnection) {
        if connection.rest.readableBytes == 0 { connection.rest = bytes } else { connection.rest.writeImmutableBuffer(bytes) }
        multiplexer.write(connection.id, &connection.rest)
        if multiplexer.queuedBytes >= Multiplexer.largestPiece { flush() }
    }

    fileprivate func closed(_ connection: LocalConnection) {
        connection.isClosed = true
        finishStream(connection)
        flush()
        checkInput()
    }

    private func finishStream(_ connection: LocalConnection) {
        guard connection.isClosed, connection.rest.readableBytes == 0, connections[connection.id] === connection else { return }
        connections[connection.id] = nil
        multiplexer.close(connection.id, now: .now())
    }

    fileprivate func written(_ count: Int, _ connection: LocalConnection) {
        multiplexer.consumed(connection.id, count, now: .now())
        checkInput()
    }

    // MARK: DataChannelReceiver

    func acknowledged() {
        guard isOpen, !isOver else { return }
        flush()
        for connection in connections.values where connection.rest.readableBytes > 0 {
            multiplexer.write(connection.id, &connection.rest)
            finishStream(connection)
        }
        flush()
        for connection in connections.values where mayRead(connection) { connection.channel?.read() }
    }

    func deliver(_ incoming: DataChannel.Incoming) {
        switch incoming {
        case .connected:
            if wasConnected { news(.back) }
            wasConnected = true
        case .disconnected:
            news(.lost)
        case .data(.output, let bytes, _):
            perform(multiplexer.received(bytes, now: .now()))
            flush()
            checkInput()
        case .data(.handshakeRequest, let payload, _):
            handshake(payload)
        case .data(.handshakeComplete, _, _):
            isOpen = true
            news(.ready)
        case .data(.flag, let payload, _):
            if StreamFlag(payload: payload) == .connectToPortError { news(.dialFailed(words)) }
            words = ""
        case .data(.error, let payload, _):
            words = SessionWords.read(payload)
        case .data, .channelClosed, .message:
            break
        }
    }

    private func handshake(_ payload: ByteBuffer) {
        guard payload.readableBytes <= 65_536,
            let request = try? JSONCoding.decode(HandshakeRequest.self, from: Array(payload.readableBytesView)),
            let bytes = try? JSONCoding.encode(HandshakeResponse(answering: request))
        else { return }
        guard request.session?.properties["type"] == .string("LocalPortForwarding") else {
            return news(.refused("The node did not offer to forward connections."))
        }
        var answer = ByteBuffer(bytes: bytes)
        _ = channel.write(.handshakeResponse, &answer)
    }

    /// The session is over: so are its connections.
    func end() {
        isOver = true
        timer?.cancel()
        for connection in connections.values { connection.channel?.close(promise: nil) }
        connections = [:]
    }

    // MARK: The stream

    private func perform(_ events: [Multiplexer.Event]) {
        for event in events {
            switch event {
            case .opened(let id):
                // Only we open.
                multiplexer.close(id, now: .now())
            case .data(let id, let bytes):
                connections[id]?.write(bytes)
            case .closed(let id):
                if let connection = connections[id] { connection.hangUp() } else { multiplexer.close(id, now: .now()) }
            case .stalled(let id):
                connections[id]?.rest = ByteBuffer()
                connections[id]?.channel?.close(promise: nil)
                news(.stalled)
            case .failed(let failure):
                news(.refused("\(failure)"))
            }
        }
        for case .data(let id, _) in events { connections[id]?.flush() }
    }

    fileprivate func flush() {
        while !isOver {
            let room = channel.room
            guard room >= Self.leastRoom, var bytes = multiplexer.take(upTo: min(room, Multiplexer.largestPiece)) else { return }
            _ = channel.write(.output, &bytes)
        }
    }

    private func checkInput() {
        guard !isOver else { return }
        let isFull = !multiplexer.wantsInput
        if isFull != isPaused {
            isPaused = isFull
            if isFull { channel.pauseDelivery() } else { channel.resumeDelivery() }
        }
        guard timer == nil, let deadline = multiplexer.nextDeadline else { return }
        timer = loop.scheduleTask(deadline: deadline) { [weak self] in
            guard let self, !self.isOver else { return }
            self.timer = nil
            self.perform(self.multiplexer.due(now: .now()))
            self.flush()
            self.checkInput()
        }
    }
}

/// [handler] One connection that a local program has made. On the tunnel's event loop.
final class LocalConnection: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private let tunnel: ForwardTunnel
    fileprivate var id: UInt32 = 0
    fileprivate var channel: (any Channel)?
    /// Read, and more than the multiplexer had room for.
    fileprivate var rest = ByteBuffer()
    fileprivate var isClosed = false
    private var isKnown = false
    /// The last piece for the local program, and what has been written with it and before since the last flush.
    private var unflushed: ByteBuffer?
    private var unflushedBytes = 0

    init(tunnel: ForwardTunnel) { self.tunnel = tunnel }

    func channelActive(context: ChannelHandlerContext) {
        channel = context.channel
        isKnown = tunnel.opened(self)
        guard isKnown else { return context.close(promise: nil) }
        if tunnel.mayRead(self) { context.read() }
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard isKnown else { return }
        tunnel.received(Self.unwrapInboundIn(data), self)
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        guard isKnown else { return }
        tunnel.flush()
        if !isClosed, tunnel.mayRead(self) { context.read() }
    }

    func channelInactive(context: ChannelHandlerContext) {
        channel = nil
        if isKnown, !isClosed { tunnel.closed(self) }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        context.close(promise: nil)
    }

    /// Sent with the next flush.
    fileprivate func write(_ bytes: ByteBuffer) {
        unflushedBytes += bytes.readableBytes
        if let former = unflushed { channel?.write(former, promise: nil) }
        unflushed = bytes
    }

    fileprivate func flush() {
        guard let last = unflushed else { return }
        let count = unflushedBytes
        unflushed = nil
        unflushedBytes = 0
        guard let channel else { return tunnel.written(count, self) }
        let bound = NIOLoopBound(self, eventLoop: channel.eventLoop)
        channel.writeAndFlush(last).whenComplete { _ in bound.value.tunnel.written(count, bound.value) }
    }

    /// smux knows no half-close: after what was written the connection ends.
    fileprivate func hangUp() {
        rest = ByteBuffer()
        flush()
        guard let channel else { return tunnel.closed(self) }
        channel.writeAndFlush(ByteBuffer()).whenComplete { _ in channel.close(promise: nil) }
    }
}
