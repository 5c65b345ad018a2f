import HTTPTypes
import NIOCore
import NIOEmbedded
import NIOHTTP1
import NIOHTTPTypes
import NIOHTTPTypesHTTP1
import NIOWebSocket

@testable import MusterController
@testable import MusterWire

extension FuzzTarget {
    /// A connection behind TLS: HTTP, the gate, the upgrade, then frames, put together as `UpgradeChannel` does it. The first byte says in
    /// pieces of what size the rest arrives.
    static let upgrades = FuzzTarget(name: "upgrades", maximumLength: 8192) { bytes in
        guard let first = bytes.first else { return }
        let size = first == 0 ? bytes.count : Int(first)
        let channel = EmbeddedChannel()
        defer { _ = try? channel.finish(acceptAlreadyClosed: true) }
        let reader = Reader()
        try addHandlers(to: channel, reader)
        try channel.connect(to: SocketAddress(unixDomainSocketPath: "/fuzz")).wait()
        var rest = bytes.dropFirst()
        while !rest.isEmpty {
            let piece = rest.prefix(size)
            rest = rest.dropFirst(size)
            do { try channel.writeInbound(ByteBuffer(bytes: piece)) } catch { break }
            while try channel.readOutbound(as: ByteBuffer.self) != nil {}
        }
        channel.embeddedEventLoop.advanceTime(by: .minutes(2))
        try Finding.unless(reader.requests == 0 || reader.messages == 0, "one connection was both a WebSocket and not")
        try Finding.unless(!reader.hasUpgradeHeader, "a request that is not upgraded still asks for it")
    }

    private static func addHandlers(to channel: EmbeddedChannel, _ reader: Reader) throws {
        let encoder = HTTPResponseEncoder()
        var limits = NIOHTTPDecoderLimitConfiguration()
        limits.maxHeaderFieldSize = 32 * 1024
        limits.maxHeaderListSize = 64 * 1024
        limits.maxHeaderFieldCount = 128
        let decoder = ByteToMessageHandler(HTTPRequestDecoder(leftOverBytesStrategy: .forwardBytes, limitConfiguration: limits))
        let gate = UpgradeGate(deadline: .seconds(10)) { path in
            channel.eventLoop.makeSucceededFuture(path.hasPrefix("/v1/control-channel/") || DataChannelEntry.session(in: path) != nil)
        }
        let bound = NIOLoopBound(reader, eventLoop: channel.eventLoop)
        let webSocket = NIOTypedWebSocketServerUpgrader<Void>(
            maxFrameSize: 1 << 20,
            shouldUpgrade: { channel, _ in channel.eventLoop.makeSucceededFuture(HTTPHeaders()) },
            upgradePipelineHandler: { channel, _ in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandlers([
                        NIOWebSocketFrameAggregator(
                            minNonFinalFragmentSize: 0, maxAccumulatedFrameCount: 256, maxAccumulatedFrameSize: 1 << 20),
                        MessageReader(bound.value),
                    ])
                }
            })
        let upgrader = NIOTypedHTTPServerUpgradeHandler<Void>(
            httpEncoder: encoder, extraHTTPHandlers: [decoder, gate],
            upgradeConfiguration: .init(
                upgraders: [webSocket],
                notUpgradingCompletionHandler: { channel in
                    channel.eventLoop.makeCompletedFuture {
                        try channel.pipeline.syncOperations.addHandlers([
                            HTTP1ToHTTPServerCodec(secure: true), SlowClientHandler(limit: .seconds(30)), RequestReader(bound.value),
                        ])
                    }
                }))
        try channel.pipeline.syncOperations.addHandlers([encoder, decoder, gate, upgrader])
    }

    fileprivate final class Reader {
        var requests = 0
        var messages = 0
        var hasUpgradeHeader = false
    }

    private final class RequestReader: ChannelInboundHandler {
        typealias InboundIn = HTTPRequestPart

        private let reader: Reader
        private var headers = HTTPFields()
        private var body: [UInt8] = []

        init(_ reader: Reader) { self.reader = reader }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            switch Self.unwrapInboundIn(data) {
            case .head(let head):
                reader.requests += 1
                headers = head.headerFields
                body = []
                if headers[.upgrade] != nil { reader.hasUpgradeHeader = true }
                _ = RouteCall(path: head.path ?? "", prefix: "/v1/", query: "a=b&\(head.path ?? "")", body: [])
            case .body(let bytes): body += bytes.readableBytesView
            case .end: _ = try? CallFormat(headers, body: body).operation(headers, body: body)
            }
        }

        func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
    }

    private final class MessageReader: ChannelInboundHandler {
        typealias InboundIn = WebSocketFrame

        private let reader: Reader

        init(_ reader: Reader) { self.reader = reader }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            let frame = Self.unwrapInboundIn(data)
            reader.messages += 1
            var bytes = frame.unmasked
            switch frame.opcode {
            case .text:
                let opening = try? JSONCoding.decode(OpenDataChannel.self, from: Array(bytes.readableBytesView))
                if let opening { _ = SessionClient(opening).limits }
                _ = try? JSONCoding.decode(OpenControlChannel.self, from: Array(bytes.readableBytesView))
            case .binary: _ = try? bytes.readAgentMessage()
            default: break
            }
        }

        func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
    }
}
