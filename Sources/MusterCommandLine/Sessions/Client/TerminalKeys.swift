import CLinux
import Glibc
import MusterClient
import MusterWire
import NIOCore
import NIOPosix

/// The keys of a terminal, read on the event loop that sends them: a key wakes that one thread. [handler]
///
/// The terminal is opened a second time: the flags of standard input belong to everybody who has it. What there is no room for waits
/// here, and nothing more is read until it has gone.
///
/// Sendable: once it reads, every variable is used on the loop only.
final class TerminalKeys: ChannelInboundHandler, @unchecked Sendable {
    typealias InboundIn = ByteBuffer

    private let session: DataChannel
    private let loop: any EventLoop
    private let special: (EscapeScanner.Event) -> Void
    private let ended: () -> Void
    private var scanner = EscapeScanner()
    private var rest = ByteBuffer()
    private var context: ChannelHandlerContext?

    /// - Parameters:
    ///   - special: what was typed for us.
    ///   - ended: the terminal is gone.
    init(
        _ session: DataChannel, on loop: any EventLoop, special: @escaping @Sendable (EscapeScanner.Event) -> Void,
        ended: @escaping @Sendable () -> Void
    ) {
        (self.session, self.loop, self.special, self.ended) = (session, loop, special, ended)
    }

    /// Fails when the terminal of standard input cannot be read this way.
    func read() -> EventLoopFuture<Void> {
        let descriptor = muster_open("/proc/self/fd/\(STDIN_FILENO)", O_RDONLY | O_NOCTTY | O_NONBLOCK, 0)
        guard descriptor >= 0 else { return loop.makeFailedFuture(IOError(errnoCode: errno, reason: "open")) }
        let channel = NIOPipeBootstrap(group: loop)
            .channelOption(.autoRead, value: false)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture { try channel.pipeline.syncOperations.addHandler(self) }
            }
            .takingOwnershipOfDescriptor(input: descriptor)
        channel.whenFailure { _ in close(descriptor) }
        return channel.map { _ in }
    }

    /// There may be room again.
    func goOn() {
        guard loop.inEventLoop else { return loop.execute { self.goOn() } }
        guard rest.readableBytes > 0 else { return }
        send()
        readOn()
    }

    // MARK: The channel

    func channelActive(context: ChannelHandlerContext) {
        self.context = context
        context.read()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        for event in scanner.push(Array(Self.unwrapInboundIn(data).readableBytesView)) {
            guard case .bytes(let bytes) = event else {
                special(event)
                continue
            }
            rest.writeBytes(bytes)
            send()
        }
    }

    func channelReadComplete(context: ChannelHandlerContext) { readOn() }

    func channelInactive(context: ChannelHandlerContext) {
        self.context = nil
        ended()
    }

    /// EIO: the terminal has hung up.
    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }

    private func send() {
        guard session.write(.output, &rest) else { return }
        rest.clear()
    }

    private func readOn() {
        if rest.readableBytes == 0 { context?.read() }
    }
}
