internal import NIOCore
internal import NIOHTTP1

/// Stands before NIO's upgrader and lets an `Upgrade` header through only when the upgrade will be accepted.
///
/// NIO's typed upgrader drops the head of a request whose upgrade it declines, and its decoder stops after any upgrade
/// header. So every other request loses the header and gets `Connection: close` (RFC 9110 section 7.8 lets a server ignore it).
/// The gate also cuts connections that have not completed a first request head in time, handshake included.
final class UpgradeGate: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias InboundOut = HTTPServerRequestPart

    /// Whether this path may be upgraded by this client.
    typealias Decide = (String) -> EventLoopFuture<Bool>

    private enum State {
        case waiting
        case deciding(held: [HTTPServerRequestPart])
        case open
    }

    private let limit: TimeAmount
    private let decide: Decide
    private var state = State.waiting
    private var deadline: Scheduled<Void>?

    init(deadline: TimeAmount, decide: @escaping Decide) {
        self.limit = deadline
        self.decide = decide
    }

    func handlerAdded(context: ChannelHandlerContext) {
        deadline = context.eventLoop.assumeIsolated().scheduleTask(in: limit) { context.close(promise: nil) }
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        deadline?.cancel()
    }

    func channelInactive(context: ChannelHandlerContext) {
        deadline?.cancel()
        context.fireChannelInactive()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let part = Self.unwrapInboundIn(data)
        switch (state, part) {
        case (.deciding(var held), _):
            held.append(part)
            state = .deciding(held: held)
        case (.waiting, .head(let head)):
            deadline?.cancel()
            guard Self.isWebSocket(head) else {
                state = .open
                context.fireChannelRead(Self.wrapInboundOut(.head(Self.ordinary(head))))
                return
            }
            state = .deciding(held: [])
            decide(head.uri).hop(to: context.eventLoop).assumeIsolated().whenComplete { result in
                self.decided((try? result.get()) ?? false, head, context)
            }
        case (_, .head(let head)):
            context.fireChannelRead(Self.wrapInboundOut(.head(Self.ordinary(head))))
        default:
            context.fireChannelRead(data)
        }
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if event is ChannelShouldQuiesceEvent, case .waiting = state {
            context.close(promise: nil)
            return
        }
        // A client that closes its side before the decision will not read an answer.
        if case ChannelEvent.inputClosed? = event as? ChannelEvent, case .waiting = state {
            context.close(promise: nil)
            return
        }
        context.fireUserInboundEventTriggered(event)
    }

    private func decided(_ isAccepted: Bool, _ head: HTTPRequestHead, _ context: ChannelHandlerContext) {
        guard case .deciding(let held) = state else { return }
        state = .open
        guard context.channel.isActive else { return }
        context.fireChannelRead(Self.wrapInboundOut(.head(isAccepted ? head : Self.ordinary(head))))
        for part in held { context.fireChannelRead(Self.wrapInboundOut(part)) }
        context.fireChannelReadComplete()
    }

    /// RFC 6455 section 4.2.1, what the upgrader will ask for as well.
    private static func isWebSocket(_ head: HTTPRequestHead) -> Bool {
        head.method == .GET && head.version == .http1_1
            && head.headers[canonicalForm: "upgrade"].map { $0.lowercased() } == ["websocket"]
            && head.headers[canonicalForm: "connection"].contains { $0.lowercased() == "upgrade" }
            && head.headers["sec-websocket-key"].count == 1
            && !head.headers["sec-websocket-key"][0].contains(",")
            && head.headers["sec-websocket-version"] == ["13"]
    }

    private static func ordinary(_ head: HTTPRequestHead) -> HTTPRequestHead {
        guard head.headers.contains(name: "upgrade") || head.method == .CONNECT else { return head }
        var head = head
        head.headers.remove(name: "upgrade")
        head.headers.replaceOrAdd(name: "connection", value: "close")
        return head
    }
}
