internal import CLinux
internal import Glibc
internal import MusterTLS
internal import NIOCore
internal import NIOHTTP1

/// The end of an upgraded connection on this event loop: takes what has been read of it, and sends that away with its socket. [handler]
///
///     upgrade complete ──► what came behind the request ──► the loop's next turn: the TLS connection and a copy of the descriptor go,
///                                                           this channel closes, and the peer notices nothing
final class DepartureHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private let tls: TLSHandler
    private let arrive: (TLSPassage, NIOBSDSocket.Handle) -> Void
    private let failed: () -> Void
    private var early = ByteBuffer()
    private var isOver = false

    /// - Parameters:
    ///   - arrive: owns the descriptor.
    ///   - failed: the connection has ended instead.
    init(_ tls: TLSHandler, arrive: @escaping (TLSPassage, NIOBSDSocket.Handle) -> Void, failed: @escaping () -> Void) {
        (self.tls, self.arrive, self.failed) = (tls, arrive, failed)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        early.writeImmutableBuffer(Self.unwrapInboundIn(data))
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        guard event is HTTPServerUpgradeEvents else { return context.fireUserInboundEventTriggered(event) }
        // What the upgrade has held back comes first, still in this turn.
        context.eventLoop.assumeIsolated().execute { self.depart(context) }
    }

    func channelInactive(context: ChannelHandlerContext) {
        fail()
        context.fireChannelInactive()
    }

    private func depart(_ context: ChannelHandlerContext) {
        guard !isOver else { return }
        let pipeline = context.pipeline.syncOperations
        let copy = try? pipeline.withUnsafeTransportIfAvailable(of: NIOBSDSocket.Handle.self) { muster_duplicate($0) }
        guard let descriptor = copy, descriptor >= 0 else {
            fail()
            return context.close(promise: nil)
        }
        guard let passage = tls.surrender(early: early) else {
            close(descriptor)
            fail()
            return context.close(promise: nil)
        }
        isOver = true
        context.close(promise: nil)
        arrive(passage, descriptor)
    }

    private func fail() {
        guard !isOver else { return }
        isOver = true
        failed()
    }
}
