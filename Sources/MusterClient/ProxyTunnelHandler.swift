import NIOCore

/// Asks a proxy for a tunnel, then takes itself out of the way. Nothing of the endpoint's is sent before the proxy has agreed.
final class ProxyTunnelHandler: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private static let maximumAnswer = 16 * 1024

    private let proxy: HTTPProxy
    private let endpoint: Endpoint
    private let opened: (ChannelHandlerContext) throws -> Void
    private var received = ByteBuffer()
    private var isAsked = false
    private var isDone = false

    /// - Parameter opened: adds what speaks through the tunnel, behind this handler.
    init(proxy: HTTPProxy, endpoint: Endpoint, opened: @escaping (ChannelHandlerContext) throws -> Void) {
        self.proxy = proxy
        self.endpoint = endpoint
        self.opened = opened
    }

    func handlerAdded(context: ChannelHandlerContext) {
        if context.channel.isActive { ask(context) }
    }

    func channelActive(context: ChannelHandlerContext) {
        ask(context)
        context.fireChannelActive()
    }

    private func ask(_ context: ChannelHandlerContext) {
        guard !isAsked else { return }
        isAsked = true
        let place = endpoint.host.contains(":") ? "[\(endpoint.host)]:\(endpoint.port)" : "\(endpoint.host):\(endpoint.port)"
        var text = "CONNECT \(place) HTTP/1.1\r\nHost: \(place)\r\nUser-Agent: muster\r\n"
        if let authorization = proxy.authorization { text += "Proxy-Authorization: \(authorization)\r\n" }
        context.writeAndFlush(Self.wrapOutboundOut(ByteBuffer(string: text + "\r\n")), promise: nil)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var bytes = Self.unwrapInboundIn(data)
        guard !isDone else { return context.fireChannelRead(Self.wrapInboundOut(bytes)) }
        received.writeBuffer(&bytes)
        guard let end = Self.endOfHead(received) else {
            if received.readableBytes > Self.maximumAnswer { fail("it answers with something that is not HTTP", context) }
            return
        }
        let head = received.readString(length: end) ?? ""
        guard let status = Self.status(head) else { return fail("it answers with something that is not HTTP", context) }
        guard (200..<300).contains(status) else { return refused(status, context) }
        isDone = true
        do {
            try opened(context)
        } catch {
            context.fireErrorCaught(error)
            context.close(promise: nil)
            return
        }
        if received.readableBytes > 0 { context.fireChannelRead(Self.wrapInboundOut(received)) }
        context.pipeline.syncOperations.removeHandler(self, promise: nil)
    }

    func channelInactive(context: ChannelHandlerContext) {
        if !isDone { fail("it closed the connection without an answer", context) }
        context.fireChannelInactive()
    }

    private func refused(_ status: Int, _ context: ChannelHandlerContext) {
        switch status {
        case 407 where proxy.authorization == nil:
            fail("it wants a user name and a password (HTTP status 407). Give it as http://USER@HOST:PORT with a password", context)
        case 407:
            fail("it does not accept the user name and password (HTTP status 407)", context)
        case 403, 405:
            fail("it does not allow tunnels to this address (HTTP status \(status))", context)
        case 502, 503, 504:
            fail("it cannot reach the address (HTTP status \(status))", context)
        default:
            fail("it answers with HTTP status \(status)", context)
        }
    }

    private func fail(_ why: String, _ context: ChannelHandlerContext) {
        guard !isDone else { return }
        isDone = true
        context.fireErrorCaught(ClientError(.unreachable, "Cannot reach \(endpoint) through the \(proxy): \(why)."))
        context.close(promise: nil)
    }

    /// The length of the head, its empty line included.
    static func endOfHead(_ buffer: ByteBuffer) -> Int? {
        let bytes = buffer.readableBytesView
        let mark: [UInt8] = [13, 10, 13, 10]
        guard bytes.count >= mark.count else { return nil }
        for offset in 0...(bytes.count - mark.count) {
            let start = bytes.startIndex + offset
            if bytes[start..<(start + mark.count)].elementsEqual(mark) { return offset + mark.count }
        }
        return nil
    }

    static func status(_ head: String) -> Int? {
        let words = head.prefix { $0 != "\r\n" }.split(separator: " ", maxSplits: 2)
        guard words.count >= 2, words[0] == "HTTP/1.1" || words[0] == "HTTP/1.0", words[1].utf8.count == 3 else { return nil }
        return Int(words[1])
    }
}
