import Glibc
import MusterTLS
import MusterWire
import NIOCore
import NIOPosix
import NIOTLS

/// A TCP connection with TLS agreed and the other side verified, and the first thing that went wrong on it.
///
/// Under TLS 1.3 a server refuses a client's certificate only after the client believes the handshake done. The alert then
/// arrives while the next protocol is being set up, so the reason is kept beside the channel instead of being lost in it.
struct SecureChannel: Sendable {
    let channel: any Channel
    fileprivate let recorder: NIOLoopBound<FailureRecorder>

    /// Of a peer that pours; what is read at once grows up to this. Bytes.
    private static let largestRead = 128 << 10

    static func connect(
        to endpoint: Endpoint,
        tls: TLSContext,
        group: any EventLoopGroup,
        deadline: NIODeadline
    ) async throws(ClientError) -> SecureChannel {
        let loop = group.next()
        let handshake = loop.makePromise(of: SecureChannel.self)
        var bootstrap = ClientBootstrap(group: loop)
            .connectTimeout(max(deadline - .now(), .milliseconds(1)))
            .channelOption(.socketOption(.tcp_nodelay), value: 1)
            .channelOption(.socketOption(.so_keepalive), value: 1)
            .channelOption(.recvAllocator, value: AdaptiveRecvByteBufferAllocator(minimum: 64, initial: 2_048, maximum: largestRead))
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    let handlers = channel.pipeline.syncOperations
                    let recorder = FailureRecorder(endpoint: endpoint, handshake: handshake)
                    guard let proxy = endpoint.proxy else {
                        return try handlers.addHandlers([TLSHandler(context: tls, serverName: endpoint.serverName), recorder])
                    }
                    let tunnel = ProxyTunnelHandler(proxy: proxy, endpoint: endpoint) { context in
                        let handler = TLSHandler(context: tls, serverName: endpoint.serverName)
                        try context.pipeline.syncOperations.addHandler(handler, position: .before(recorder))
                    }
                    try handlers.addHandlers([tunnel, recorder])
                }
            }
        let channel: any Channel
        let (host, port) = endpoint.proxy.map { ($0.host, $0.port) } ?? (endpoint.host, endpoint.port)
        do {
            if let source = endpoint.source { bootstrap = bootstrap.bind(to: try SocketAddress(ipAddress: source, port: 0)) }
            // An address needs no resolver, and the resolver would start a thread.
            if let address = try? SocketAddress(ipAddress: host, port: port) {
                channel = try await bootstrap.connect(to: address).get()
            } else {
                channel = try await bootstrap.connect(host: host, port: port).get()
            }
        } catch {
            handshake.fail(error)
            throw ClientError(
                .unreachable,
                "Cannot connect to \(endpoint.proxy.map { "\($0), the way to \(endpoint)" } ?? "\(endpoint)"): \(describe(error)).")
        }
        let timer = loop.scheduleTask(deadline: deadline) {
            handshake.fail(ClientError(.timedOut, "\(endpoint) did not finish the TLS handshake in time."))
        }
        defer { timer.cancel() }
        do {
            return try await withTaskCancellationHandler {
                try await handshake.futureResult.get()
            } onCancel: {
                channel.close(promise: nil)
            }
        } catch {
            channel.close(promise: nil)
            throw error as? ClientError ?? ClientError(.closed, "\(endpoint) closed the connection during the TLS handshake.")
        }
    }

    /// What ended the channel first; `fallback` if nothing was seen.
    func failure(or fallback: ClientError) async -> ClientError {
        let first = try? await channel.eventLoop.submit { recorder.value.failure }.get()
        return first.flatMap { $0 } ?? fallback
    }

    /// For whoever already is on the channel's event loop.
    func record(_ failure: ClientError) {
        recorder.value.failure = recorder.value.failure ?? failure
    }
}

/// Completes the handshake's promise and remembers the first failure. Stays in the pipeline.
private final class FailureRecorder: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private let endpoint: Endpoint
    private let handshake: EventLoopPromise<SecureChannel>
    var failure: ClientError?

    init(endpoint: Endpoint, handshake: EventLoopPromise<SecureChannel>) {
        self.endpoint = endpoint
        self.handshake = handshake
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if let event = event as? TLSUserEvent, case .handshakeCompleted = event {
            handshake.succeed(SecureChannel(channel: context.channel, recorder: NIOLoopBound(self, eventLoop: context.eventLoop)))
        }
        context.fireUserInboundEventTriggered(event)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        let failure = ClientError(error, on: endpoint)
        self.failure = self.failure ?? failure
        handshake.fail(failure)
        context.fireErrorCaught(error)
    }

    func channelInactive(context: ChannelHandlerContext) {
        handshake.fail(failure ?? ClientError(.closed, "\(endpoint) closed the connection during the TLS handshake."))
        context.fireChannelInactive()
    }
}

/// NIO wraps the reasons of a failed connect; people want the innermost one.
func describe(_ error: any Error) -> String {
    switch error {
    case let error as NIOConnectionError:
        if error.dnsAError != nil || error.dnsAAAAError != nil, error.connectionErrors.isEmpty {
            return "the name was not found"
        }
        return error.connectionErrors.last.map { describe($0.error) } ?? "no address answered"
    case let error as IOError:
        // NIO's own text names the system call, which says nothing to the reader of a log.
        return SystemError.words(error.errnoCode)
    case ChannelError.connectTimeout:
        return "no answer in time"
    case let error as SocketAddressError:
        if case .unknown = error { return "the name was not found" }
        return "the address cannot be used"
    case is ChannelError:
        // The rest of NIO's words are about its own calls.
        return "it was closed"
    case is CancellationError:
        return "it was interrupted"
    default:
        return "\(error)"
    }
}
