import MusterTLS
import NIOCore
import NIOEmbedded
import NIOTLS

/// What a handler behind TLS has seen.
final class Observer: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    var received: [UInt8] = []
    var reads = 0
    var errors: [any Error] = []
    var handshakes = 0
    var isInactive = false
    var onRead: ((ChannelHandlerContext) -> Void)?

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        received += Array(buffer: unwrapInboundIn(data))
        reads += 1
        onRead?(context)
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if let event = event as? TLSUserEvent, case .handshakeCompleted(negotiatedProtocol: nil) = event { handshakes += 1 }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        errors.append(error)
    }

    func channelInactive(context: ChannelHandlerContext) {
        isInactive = true
    }

    var codes: [TLSError.Code] { errors.compactMap { ($0 as? TLSError)?.code } }
    var reasons: String { errors.map { "\($0)" }.joined(separator: "\n") }
}

/// A client and a server without sockets: the test carries the ciphertext between them.
final class EmbeddedPair {
    final class End {
        let channel = EmbeddedChannel()
        let tls: TLSHandler
        let observer = Observer()
        /// Everything this end has sent.
        var wire: [UInt8] = []

        convenience init(_ context: TLSContext, _ serverName: String?) throws {
            try self.init(TLSHandler(context: context, serverName: serverName))
        }

        init(_ tls: TLSHandler) throws {
            self.tls = tls
            try channel.pipeline.syncOperations.addHandlers([tls, observer])
        }

        func write(_ bytes: [UInt8]) {
            channel.writeAndFlush(ByteBuffer(bytes: bytes), promise: nil)
        }

        func takeCiphertext() throws -> ByteBuffer? {
            guard let bytes = try channel.readOutbound(as: ByteBuffer.self) else { return nil }
            wire += Array(buffer: bytes)
            return bytes
        }
    }

    let client: End
    private(set) var server: End

    init(_ client: TLSContext, _ server: TLSContext, serverName: String? = "localhost") throws {
        self.client = try End(client, serverName)
        self.server = try End(server, nil)
        let address = try SocketAddress(ipAddress: "127.0.0.1", port: 1)
        self.server.channel.connect(to: address, promise: nil)
        self.client.channel.connect(to: address, promise: nil)
    }

    /// Carries ciphertext both ways until there is none; in pieces of so many bytes.
    func exchange(pieces: Int = .max) throws {
        var isMoving = true
        while isMoving {
            isMoving = false
            for (from, to) in [(client, server), (server, client)] {
                while var bytes = try from.takeCiphertext() {
                    isMoving = true
                    while let piece = bytes.readSlice(length: min(pieces, bytes.readableBytes)), piece.readableBytes > 0 {
                        if to.channel.isActive { _ = try? to.channel.writeInbound(piece) }
                    }
                }
            }
        }
    }

    /// The server goes on in another channel, as over a copy of the descriptor. Returns the former end.
    func moveServer(early: [UInt8] = []) throws -> End? {
        guard let passage = server.tls.surrender(early: ByteBuffer(bytes: early)) else { return nil }
        let former = server
        server = try End(TLSHandler(passage))
        server.channel.connect(to: try SocketAddress(ipAddress: "127.0.0.1", port: 1), promise: nil)
        return former
    }

    deinit {
        for end in [client, server] { _ = try? end.channel.finish(acceptAlreadyClosed: true) }
    }
}

/// The content types of the records in a TLS stream (RFC 8446 §5.1): 22 handshake, 23 application data.
func recordTypes(_ wire: [UInt8]) -> [UInt8] {
    var types: [UInt8] = [], index = 0
    while index + 5 <= wire.count {
        types.append(wire[index])
        index += 5 + Int(wire[index + 3]) << 8 + Int(wire[index + 4])
    }
    return types
}
