import MusterCrypto
import MusterTLS
import NIOCore
import NIOPosix
import NIOTLS
import Testing

/// Sends as much as its channel takes, and digests what it gets.
private final class Pump: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    enum Event: Sendable {
        case handshake
        /// The channel takes no more for now; so much has been written.
        case stalled(Int)
        case received(Int, digest: [UInt8])
        case failed(String)
    }

    private let toSend: Int
    private let toReceive: Int
    private let events: AsyncStream<Event>.Continuation
    private var sent = 0
    private var received = 0
    private var digest = SHA256()

    init(send: Int, receive: Int, _ events: AsyncStream<Event>.Continuation) {
        toSend = send
        toReceive = receive
        self.events = events
    }

    /// What the other end's digest has to be.
    static func digest(of total: Int) -> [UInt8] {
        var digest = SHA256(), offset = 0
        while offset < total {
            let bytes = piece(at: offset, of: total)
            digest.update(bytes)
            offset += bytes.count
        }
        return digest.finalize()
    }

    private static func piece(at offset: Int, of total: Int) -> [UInt8] {
        [UInt8](repeating: UInt8(truncatingIfNeeded: offset / 50_000), count: min(50_000, total - offset))
    }

    private func send(_ context: ChannelHandlerContext) {
        guard sent < toSend, context.channel.isWritable else { return }
        while sent < toSend, context.channel.isWritable {
            let bytes = Self.piece(at: sent, of: toSend)
            sent += bytes.count
            context.writeAndFlush(wrapOutboundOut(ByteBuffer(bytes: bytes)), promise: nil)
        }
        if sent < toSend { events.yield(.stalled(sent)) }
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        guard event is TLSUserEvent else { return }
        events.yield(.handshake)
        send(context)
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        send(context)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let buffer = unwrapInboundIn(data)
        received += buffer.readableBytes
        buffer.withUnsafeReadableBytes { digest.update($0) }
        if received >= toReceive { events.yield(.received(received, digest: digest.finalize())) }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        events.yield(.failed("\(error)"))
    }
}

@Suite("Large transfers", .timeLimit(.minutes(1)))
struct TransferTests {
    private struct End: Sendable {
        let channel: any Channel
        let events: AsyncStream<Pump.Event>
    }

    /// A connected pair; each end sends so many bytes. The server reads by itself or only when told.
    private func pair(clientSends: Int, serverSends: Int, serverReads: Bool = true) async throws -> (End, End, any Channel) {
        let authority = try TestAuthority(), server = try authority.server()
        let client = try authority.client(identity: authority.identity(.client))
        let (servers, accepted) = AsyncStream.makeStream(of: End.self)
        let listener = try await ServerBootstrap(group: Loopback.group)
            .childChannelOption(.autoRead, value: serverReads)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    let (events, continuation) = AsyncStream.makeStream(of: Pump.Event.self)
                    let pump = Pump(send: serverSends, receive: clientSends, continuation)
                    try channel.pipeline.syncOperations.addHandlers([TLSHandler(context: server, serverName: nil), pump])
                    accepted.yield(End(channel: channel, events: events))
                }
            }
            .bind(host: "127.0.0.1", port: 0).get()
        let (events, continuation) = AsyncStream.makeStream(of: Pump.Event.self)
        let channel = try await ClientBootstrap(group: Loopback.group)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    let pump = Pump(send: clientSends, receive: serverSends, continuation)
                    try channel.pipeline.syncOperations.addHandlers([TLSHandler(context: client, serverName: "localhost"), pump])
                }
            }
            .connect(to: listener.localAddress!).get()
        let other = try await #require(servers.first { _ in true })
        return (End(channel: channel, events: events), other, listener)
    }

    private func received(_ end: End) async throws -> (Int, [UInt8]) {
        for await event in end.events {
            switch event {
            case .received(let count, let digest): return (count, digest)
            case .failed(let error): Issue.record("\(error)")
            case .handshake, .stalled: break
            }
        }
        return (0, [])
    }

    @Test("24 MB each way at the same time")
    func bothWays() async throws {
        let size = 24 << 20
        let (client, server, listener) = try await pair(clientSends: size, serverSends: size + 1)
        async let atServer = received(server)
        let atClient = try await received(client)
        #expect(atClient == (size + 1, Pump.digest(of: size + 1)))
        #expect(try await atServer == (size, Pump.digest(of: size)))
        try await client.channel.close()
        try await server.channel.closeFuture.get()
        try await listener.close()
    }

    @Test("a reader that does not read stops the writer; then everything arrives")
    func backPressure() async throws {
        let size = 64 << 20
        let (client, server, listener) = try await pair(clientSends: size, serverSends: 0, serverReads: false)
        // The handshake completes although nobody asked for bytes.
        var serverEvents = server.events.makeAsyncIterator()
        guard case .handshake = await serverEvents.next() else { return #expect(Bool(false), "no handshake") }
        for await event in client.events {
            guard case .stalled(let written) = event else { continue }
            // The kernel's two buffers and the channel's high-water mark; nowhere else is anything kept.
            let buffered = try await client.channel.getOption(.bufferedWritableBytes).get()
            if buffered == 0 { continue }  // it went on in between
            #expect(buffered < 65_536 + 2 * 50_000 + 2_048)
            #expect(written < 32 << 20)
            break
        }
        try await server.channel.setOption(.autoRead, value: true).get()
        let arrived = try await received(server)
        #expect(arrived == (size, Pump.digest(of: size)))
        try await client.channel.close()
        try await server.channel.closeFuture.get()
        try await listener.close()
    }

    @Test("closing our output sends what was flushed and still reads the answer")
    func outputClosed() async throws {
        let authority = try TestAuthority()
        let (listener, connections) = try await Loopback.listen(authority.server(), .echo)
        let connection = try await Loopback.connect(authority.client(), port: listener.localAddress!.port!)
        try await connection.channel.writeAndFlush(ByteBuffer(string: "hello"))
        try await connection.channel.close(mode: .output)
        let atServer = try await #require(await connections.first { _ in true }).finish(), atClient = await connection.finish()
        #expect(atServer.text == "hello")
        #expect(atClient.text == "hello")
        #expect(atServer.errors.isEmpty && atClient.errors.isEmpty)
        try await listener.close()
    }
}
