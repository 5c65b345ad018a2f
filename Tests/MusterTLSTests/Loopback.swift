import MusterTLS
import NIOCore
import NIOPosix
import NIOTLS

/// What happened on a connection, in order.
enum ConnectionEvent: Sendable {
    case handshake(TLSPeer?)
    case data([UInt8])
    case error(TLSError)
    case otherError(String)
    case closed
}

/// Tells a test what happens behind TLS on a real socket, and does what little a peer needs to do.
final class Reporter: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    enum Manner: Sendable {
        case silent
        /// Sends back what it gets, and closes after a line end.
        case echo
        /// Closes some connections right after the handshake, by their peer, and echoes on the others.
        case refuse(@Sendable (TLSPeer?) -> Bool)
    }

    private let tls: TLSHandler
    private let manner: Manner
    private let events: AsyncStream<ConnectionEvent>.Continuation

    init(_ tls: TLSHandler, _ manner: Manner, _ events: AsyncStream<ConnectionEvent>.Continuation) {
        self.tls = tls
        self.manner = manner
        self.events = events
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        guard event is TLSUserEvent else { return }
        events.yield(.handshake(tls.peer))
        if case .refuse(let isRefused) = manner, isRefused(tls.peer) { context.close(promise: nil) }
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let buffer = unwrapInboundIn(data)
        events.yield(.data(Array(buffer: buffer)))
        if case .silent = manner { return }
        let isLast = buffer.readableBytesView.contains(UInt8(ascii: "\n"))
        context.writeAndFlush(data, promise: nil)
        if isLast { context.close(promise: nil) }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        events.yield((error as? TLSError).map { .error($0) } ?? .otherError("\(error)"))
    }

    func channelInactive(context: ChannelHandlerContext) {
        events.yield(.closed)
        events.finish()
    }
}

/// A connection, or all the connections of a listener one after the other.
struct Reported: Sendable {
    let channel: any Channel
    let events: AsyncStream<ConnectionEvent>

    var port: Int { channel.localAddress?.port ?? 0 }

    /// Everything until the connection has closed.
    func finish() async -> Summary {
        var summary = Summary()
        for await event in events { summary.add(event) }
        return summary
    }

    struct Summary: Sendable {
        var handshakes = 0
        var peer: TLSPeer?
        var received: [UInt8] = []
        var errors: [TLSError] = []

        mutating func add(_ event: ConnectionEvent) {
            switch event {
            case .handshake(let peer):
                handshakes += 1
                self.peer = peer
            case .data(let bytes): received += bytes
            case .error(let error): errors.append(error)
            case .otherError, .closed: break
            }
        }

        var text: String { String(decoding: received, as: UTF8.self) }
        var codes: [TLSError.Code] { errors.map(\.code) }
    }
}

enum Loopback {
    static var group: any EventLoopGroup { MultiThreadedEventLoopGroup.singleton }

    /// A listener on a free port; the connections' summaries come as they close.
    static func listen(
        _ context: TLSContext, _ manner: Reporter.Manner = .echo, halfClosure: Bool = true
    ) async throws -> (channel: any Channel, connections: AsyncStream<Reported>) {
        let (connections, accepted) = AsyncStream.makeStream(of: Reported.self)
        let channel = try await ServerBootstrap(group: group)
            .childChannelOption(.allowRemoteHalfClosure, value: halfClosure)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    let (events, continuation) = AsyncStream.makeStream(of: ConnectionEvent.self)
                    let tls = TLSHandler(context: context, serverName: nil)
                    try channel.pipeline.syncOperations.addHandlers([tls, Reporter(tls, manner, continuation)])
                    accepted.yield(Reported(channel: channel, events: events))
                }
            }
            .bind(host: "127.0.0.1", port: 0).get()
        channel.closeFuture.whenComplete { _ in accepted.finish() }
        return (channel, connections)
    }

    static func connect(
        _ context: TLSContext, port: Int, serverName: String = "localhost", _ manner: Reporter.Manner = .silent
    ) async throws -> Reported {
        let (events, continuation) = AsyncStream.makeStream(of: ConnectionEvent.self)
        let channel = try await ClientBootstrap(group: group)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    let tls = TLSHandler(context: context, serverName: serverName)
                    try channel.pipeline.syncOperations.addHandlers([tls, Reporter(tls, manner, continuation)])
                }
            }
            .connect(host: "127.0.0.1", port: port).get()
        return Reported(channel: channel, events: events)
    }
}
