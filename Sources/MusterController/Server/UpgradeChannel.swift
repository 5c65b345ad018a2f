internal import HTTPTypes
internal import HummingbirdCore
internal import Logging
internal import MusterCrypto
internal import MusterTLS
internal import MusterWire
internal import NIOConcurrencyHelpers
internal import NIOCore
internal import NIOHTTP1
internal import NIOHTTPTypes
internal import NIOHTTPTypesHTTP1
internal import NIOPosix
internal import NIOTLS
internal import NIOWebSocket
internal import ServiceLifecycle

/// One accepted connection: TLS, then HTTP or a WebSocket on the same port.
///
///     bytes ─ TLSHandler ─ HTTP codec ─ UpgradeGate ─ NIO's upgrader ─┬─ HTTP parts ─ SlowClientHandler ─ requests
///                                                                    ├─ frames ─ WebSocketHandler ─ ControlChannels
///                                                                    └─ DepartureHandler
///     on the loop of its session: bytes ─ TLSHandler ─ DataChannelHandler ─ SessionRelay
///
/// A data channel goes on as a channel of its own, with the same socket and the same TLS connection: the legs of a session are on one
/// loop, and a frame wakes one thread of the controller.
///
/// `setup` must return before the first byte can arrive, hence it hands the upgrade's future to `handle`, which waits for it.
struct UpgradeChannel: ServerChildChannel {
    /// What is known of a connection when its first request arrives.
    struct Connection: Sendable {
        let peer: TLSPeer?
        let remoteAddress: String
        let isLoopback: Bool
        let end: ConnectionEnd
        let place: ConnectionPlace
        /// Who has signed on it.
        let user = NIOLockedValueBox<String?>(nil)
        /// Its upgrade was refused because its node has opened too many; the answer to the request says so.
        let isTooOften = NIOLockedValueBox(false)
    }

    struct Limits: Sendable {
        var handshake: TimeAmount
        var request: TimeAmount
        var idle: Duration
        var webSocketIdle: TimeAmount
        /// What a client may send before it has shown a token, framing included.
        var openingBytes = 8_192
        var dataChannel = DataChannelHandler.Limits()
        /// Written to a data channel and not yet taken by the socket, before the relay holds back.
        var dataChannelBuffer = ChannelOptions.Types.WriteBufferWaterMark(low: 1 << 17, high: 1 << 19)
        /// The largest legitimate message is a reply with 24,000 control characters, escaped twice: about 400 KB.
        var messageBytes = 1 << 20
    }

    enum Outcome: Sendable {
        case http(NIOAsyncChannel<HTTPRequestPart, HTTPResponsePart>, Connection)
        /// Its messages are dealt with elsewhere.
        case webSocket
        /// Fails when the connection has ended on its way to its session's loop.
        case dataChannel(EventLoopFuture<DataChannel>)
    }

    /// What an upgrade will be.
    enum Admission: Sendable {
        case controlChannel(NodeIdentity)
        case dataChannel(DataChannelEntry.Admission)
    }

    /// One leg of a session that has yet to open itself.
    struct DataChannel: Sendable {
        let channel: any Channel
        let leg: RelayLeg
        let admission: DataChannelEntry.Admission
        let opening: EventLoopFuture<String>
        /// It has shown who it is, or has gone.
        let settled: @Sendable () -> Void
    }

    struct Value: ServerChildChannelValue {
        let channel: any Channel
        let outcome: EventLoopFuture<Outcome>
    }

    typealias Respond = @Sendable (Request, consuming ResponseWriter, Connection) async throws -> Void

    let tls: @Sendable () -> TLSContext
    let limits: Limits
    let places: ConnectionPlaces
    let metrics: Metrics
    let respond: Respond
    /// Whether this may be upgraded now, and to what; asked before the upgrade, so that a refusal is an HTTP answer.
    let admit: @Sendable (String, Connection, any EventLoop) -> EventLoopFuture<Admission?>
    let channels: ControlChannels
    let sessionLoops: SessionLoops
    let serveNode: @Sendable (WebSocketPeer, NodeIdentity, Certificate?) -> any MessageReceiver
    /// Returns when the leg is part of its session or has been refused.
    let openDataChannel: @Sendable (DataChannel) async -> Void
    let handshakeFailed: @Sendable (String, TLSError) -> Void

    /// Never fails: an error here would end the accepting of connections, not only this one.
    func setup(channel: any Channel, logger: Logger) -> EventLoopFuture<Value> {
        let remote = channel.remoteAddress?.ipAddress ?? "unknown"
        let outcome: EventLoopFuture<Outcome>
        do {
            let place = ConnectionPlace(of: channel) { [metrics] in metrics.count("muster_connections_cut_total") }
            guard place.move(to: places.strangers, as: AddressRange.stranger(remote)) else { throw ConnectionRefused() }
            outcome = try addHandlers(channel, remote: remote, place: place, logger: logger)
        } catch {
            metrics.count("muster_connections_refused_total")
            try? channel.pipeline.syncOperations.addHandler(RefusedConnectionHandler(), position: .first)
            outcome = channel.eventLoop.makeFailedFuture(error)
        }
        return channel.eventLoop.makeSucceededFuture(Value(channel: channel, outcome: outcome))
    }

    private func addHandlers(
        _ channel: any Channel, remote: String, place: ConnectionPlace, logger: Logger
    ) throws -> EventLoopFuture<Outcome> {
        try ReceiveAllocator.use(on: channel)
        let handlers = channel.pipeline.syncOperations
        let tlsHandler = TLSHandler(context: tls(), serverName: nil)
        let encoder = HTTPResponseEncoder()
        var decoding = NIOHTTPDecoderLimitConfiguration()
        decoding.maxHeaderFieldSize = 32 * 1024
        decoding.maxHeaderListSize = 64 * 1024
        decoding.maxHeaderFieldCount = 128
        let decoder = ByteToMessageHandler(HTTPRequestDecoder(leftOverBytesStrategy: .forwardBytes, limitConfiguration: decoding))
        // Handlers live on the channel's loop; these closures run there too, when the first request has been read.
        let tlsOnLoop = NIOLoopBound(tlsHandler, eventLoop: channel.eventLoop)
        let known = NIOLoopBoundBox<Connection?>(nil, eventLoop: channel.eventLoop)
        let connection: @Sendable () -> Connection = {
            if let made = known.value { return made }
            let made = Connection(
                peer: tlsOnLoop.value.peer, remoteAddress: remote,
                isLoopback: remote == "::1" || remote == "::ffff:127.0.0.1" || remote.hasPrefix("127."), end: ConnectionEnd(),
                place: place)
            known.value = made
            channel.closeFuture.whenComplete { _ in made.end.reached() }
            return made
        }
        let admitted = NIOLoopBoundBox<Admission?>(nil, eventLoop: channel.eventLoop)
        let gate = UpgradeGate(deadline: limits.handshake) { path in
            admit(path, connection(), channel.eventLoop).map { admission in
                admitted.value = admission
                return admission != nil
            }
        }
        let webSocket = NIOTypedWebSocketServerUpgrader<Outcome>(
            maxFrameSize: limits.messageBytes,
            shouldUpgrade: { channel, _ in
                var headers = HTTPHeaders()
                headers.add(name: "x-muster-server-time", value: String(Timestamp.now().milliseconds))
                return channel.eventLoop.makeSucceededFuture(headers)
            },
            upgradePipelineHandler: { channel, _ in
                channel.eventLoop.makeCompletedFuture {
                    switch admitted.value {
                    case .controlChannel(let identity):
                        place.keep()
                        try addWebSocketHandlers(channel, connection(), identity)
                        return .webSocket
                    case .dataChannel(let admission):
                        return .dataChannel(try openDataChannel(channel, connection(), admission, tls: tlsOnLoop.value))
                    case nil:
                        throw ChannelError.inappropriateOperationForState
                    }
                }
            })
        let upgrader = NIOTypedHTTPServerUpgradeHandler<Outcome>(
            httpEncoder: encoder, extraHTTPHandlers: [decoder, gate],
            upgradeConfiguration: .init(
                upgraders: [webSocket],
                notUpgradingCompletionHandler: { channel in
                    channel.eventLoop.makeCompletedFuture {
                        .http(try addRequestHandlers(channel, logger: logger), connection())
                    }
                }))
        let handshake = HandshakeHandler {
            guard let leaf = connection().peer?.leaf, let node = NodeAdmission.identity(in: leaf)?.node else { return }
            if !place.move(to: places.nodes, as: node.rawValue) {
                metrics.count("muster_connections_refused_total")
                channel.close(promise: nil)
            }
        } failed: {
            handshakeFailed(remote, $0)
        }
        try handlers.addHandlers([tlsHandler, handshake, encoder, decoder, gate, upgrader])
        return upgrader.upgradeResultFuture
    }

    /// The HTTP branch, as Hummingbird's own channel has it.
    private func addRequestHandlers(
        _ channel: any Channel, logger: Logger
    ) throws -> NIOAsyncChannel<HTTPRequestPart, HTTPResponsePart> {
        try channel.pipeline.syncOperations.addHandlers([
            HTTP1ToHTTPServerCodec(secure: true),
            SlowClientHandler(limit: limits.request),
            HTTPConnectionStateHandler(idleTimeout: limits.idle, logger: logger),
        ])
        return try NIOAsyncChannel(wrappingChannelSynchronously: channel, configuration: .init(isOutboundHalfClosureEnabled: true))
    }

    private func addWebSocketHandlers(_ channel: any Channel, _ connection: Connection, _ identity: NodeIdentity) throws {
        let handler = WebSocketHandler(idleTimeout: limits.webSocketIdle)
        try channel.pipeline.syncOperations.addHandlers([
            NIOWebSocketFrameAggregator(
                minNonFinalFragmentSize: 0, maxAccumulatedFrameCount: 256, maxAccumulatedFrameSize: limits.messageBytes),
            handler,
        ])
        handler.serve(channel, remoteAddress: connection.remoteAddress, in: channels) { peer in
            serveNode(peer, identity, connection.peer?.leaf)
        }
    }

    private func openDataChannel(
        _ channel: any Channel, _ connection: Connection, _ admission: DataChannelEntry.Admission, tls: TLSHandler
    ) throws -> EventLoopFuture<DataChannel> {
        let home = sessionLoops.home(of: admission.session)
        let upgrade = try channel.pipeline.syncOperations.handler(type: NIOTypedHTTPServerUpgradeHandler<Outcome>.self)
        let opened = home.makePromise(of: DataChannel.self)
        let departure = DepartureHandler(tls) { passage, descriptor in
            // This channel's end is not that of the connection.
            connection.place.depart()
            arrive(descriptor, passage, on: home, connection, admission, opened)
        } failed: {
            opened.fail(ChannelError.ioOnClosedChannel)
        }
        try channel.pipeline.syncOperations.addHandler(departure, position: .after(upgrade))
        return opened.futureResult
    }

    /// Sets the connection up as the upgrade would have, on the session's loop.
    private func arrive(
        _ descriptor: NIOBSDSocket.Handle, _ passage: TLSPassage, on home: any EventLoop, _ connection: Connection,
        _ admission: DataChannelEntry.Admission, _ opened: EventLoopPromise<DataChannel>
    ) {
        let made = NIOLockedValueBox<DataChannel?>(nil)
        let arrived = ClientBootstrap(group: home)
            .channelOption(.allowRemoteHalfClosure, value: true)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try ReceiveAllocator.use(on: channel, most: 128 << 10)
                    try channel.pipeline.syncOperations.addHandler(TLSHandler(passage))
                    let dataChannel = try addDataChannelHandlers(channel, connection, admission)
                    made.withLockedValue { $0 = dataChannel }
                }
            }
            .withConnectedSocket(descriptor)
        arrived.whenComplete { result in
            switch (result, made.withLockedValue { $0 }) {
            case (.success, let dataChannel?):
                opened.succeed(dataChannel)
            case (.success, nil):
                connection.place.giveBack()
                opened.fail(ChannelError.ioOnClosedChannel)
            case (.failure(let error), _):
                connection.place.giveBack()
                opened.fail(error)
            }
        }
    }

    private func addDataChannelHandlers(
        _ channel: any Channel, _ connection: Connection, _ admission: DataChannelEntry.Admission
    ) throws -> DataChannel {
        connection.place.arrive(on: channel)
        let pipeline = channel.pipeline.syncOperations
        try channel.syncOptions?.setOption(.writeBufferWaterMark, value: self.limits.dataChannelBuffer)
        // The session's legs are counted with the session.
        var settled: @Sendable () -> Void = { connection.place.giveBack() }
        if case .client = admission {
            let limit = OpeningLimitHandler(bytes: self.limits.openingBytes)
            try pipeline.addHandler(limit)
            let (known, bound) = (settled, NIOLoopBound(limit, eventLoop: channel.eventLoop))
            settled = {
                known()
                channel.eventLoop.execute { channel.pipeline.syncOperations.removeHandler(bound.value, promise: nil) }
            }
        }
        var limits = limits.dataChannel
        limits.messageBytes = self.limits.messageBytes
        // A terminal that is held with Ctrl-S stops the plugin's reading, and with it its pongs.
        if case .client = admission { limits.idle = limits.idle * 2 }
        let handler = DataChannelHandler(limits: limits, eventLoop: channel.eventLoop)
        let leg = handler.makeLeg(side: admission.side, remoteAddress: connection.remoteAddress, eventLoop: channel.eventLoop)
        try pipeline.addHandler(handler)
        return DataChannel(channel: channel, leg: leg, admission: admission, opening: handler.opening, settled: settled)
    }

    func handle(value: Value, logger: Logger) async {
        let outcome: Outcome
        do {
            outcome = try await value.outcome.get()
        } catch {
            // Closed before its first request was complete: a port scan, a health check, or the deadline.
            value.channel.close(promise: nil)
            return
        }
        switch outcome {
        case .http(let asyncChannel, let connection):
            let respond = respond
            await RequestChannel { request, writer, _ in try await respond(request, writer, connection) }
                .handleHTTP(asyncChannel: asyncChannel, logger: logger)
        case .dataChannel(let future):
            guard let dataChannel = try? await future.get() else { return }
            let channel = dataChannel.channel
            await withTaskCancellationHandler {
                await withGracefulShutdownHandler {
                    await openDataChannel(dataChannel)
                    try? await channel.closeFuture.get()
                } onGracefulShutdown: {
                    // The server tells only the channels that it has accepted.
                    channel.pipeline.fireUserInboundEventTriggered(ChannelShouldQuiesceEvent())
                }
            } onCancel: {
                channel.close(promise: nil)
            }
        case .webSocket:
            break
        }
    }
}

/// Hummingbird's loop over the requests of one connection, with a responder that knows that connection.
private struct RequestChannel: HTTPChannelHandler {
    typealias Value = UpgradeChannel.Value
    let responder: HTTPChannelHandler.Responder

    init(responder: @escaping HTTPChannelHandler.Responder) {
        self.responder = responder
    }

    // Never called: the connection has been set up by `UpgradeChannel`.
    func setup(channel: any Channel, logger: Logger) -> EventLoopFuture<Value> {
        channel.eventLoop.makeFailedFuture(ChannelError.inappropriateOperationForState)
    }

    func handle(value: Value, logger: Logger) async {}
}

private struct ConnectionRefused: Error {}

/// Closes a connection as soon as it can be closed: accepted channels are set up before they are registered.
private final class RefusedConnectionHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    func channelActive(context: ChannelHandlerContext) {
        context.close(promise: nil)
    }
}

/// Tells how the handshake has ended. What comes after the first request is somebody else's.
private final class HandshakeHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    private let completed: () -> Void
    private var failed: ((TLSError) -> Void)?

    init(completed: @escaping () -> Void, failed: @escaping (TLSError) -> Void) {
        (self.completed, self.failed) = (completed, failed)
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if case .handshakeCompleted? = event as? TLSUserEvent { completed() }
        context.fireUserInboundEventTriggered(event)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        failed = nil
        context.fireChannelRead(data)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        if let failure = error as? TLSError, let failed {
            self.failed = nil
            failed(failure)
        }
        context.fireErrorCaught(error)
    }
}
