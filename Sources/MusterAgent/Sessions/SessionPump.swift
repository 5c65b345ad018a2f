import NIOCore
import NIOPosix

/// One descriptor of a session's program, or one connection, on the event loop: read when somebody wants it, and never faster than it is
/// taken.
final class SessionPump: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private let mayRead: () -> Bool
    private let received: (ByteBuffer) -> Void
    private let receivedEverything: () -> Void
    private let writable: (Bool) -> Void
    private let closed: () -> Void
    /// What one wake-up brought, while it is little: the bytes of a program that writes letter by letter go out together, and those of one
    /// that pours are not copied.
    private var gathered: ByteBuffer?
    private static let little = 16 << 10
    private var isClosed = false

    /// - Parameter receivedEverything: nothing more is there now.
    init(
        mayRead: @escaping () -> Bool, received: @escaping (ByteBuffer) -> Void, receivedEverything: @escaping () -> Void = {},
        writable: @escaping (Bool) -> Void, closed: @escaping () -> Void
    ) {
        self.mayRead = mayRead
        self.received = received
        self.receivedEverything = receivedEverything
        self.writable = writable
        self.closed = closed
    }

    func channelActive(context: ChannelHandlerContext) {
        context.fireChannelActive()
        if mayRead() { context.read() }
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var piece = Self.unwrapInboundIn(data)
        if gathered?.writeBuffer(&piece) == nil { gathered = piece }
        if gathered.map({ $0.readableBytes >= Self.little }) ?? false { deliver() }
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        deliver()
        receivedEverything()
        if !isClosed, mayRead() { context.read() }
    }

    private func deliver() {
        guard let bytes = gathered else { return }
        gathered = nil
        received(bytes)
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        writable(context.channel.isWritable)
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        context.fireUserInboundEventTriggered(event)
    }

    func channelInactive(context: ChannelHandlerContext) {
        finish()
    }

    /// EIO of a terminal means that nobody holds it any more: the end, not an error.
    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        context.close(promise: nil)
    }

    private func finish() {
        guard !isClosed else { return }
        deliver()
        isClosed = true
        closed()
    }
}
