internal import NIOConcurrencyHelpers
internal import NIOCore
internal import NIOWebSocket

/// Moves whole messages between frames and a `WebSocketPeer`. RFC 6455.
///
/// Inbound: stops reading from the socket while too much waits in the inbox. Outbound: a peer that takes nothing for a
/// whole idle period is cut. Pings are answered here, the newest only (section 5.5.3), so that a flood of them queues nothing.
final class WebSocketHandler: ChannelDuplexHandler {
    typealias InboundIn = WebSocketFrame
    typealias OutboundIn = WebSocketFrame
    typealias OutboundOut = WebSocketFrame

    private static let closingTime = TimeAmount.seconds(2)

    private let idleTimeout: TimeAmount
    private var inbox: Inbox?
    private var isReadHeldBack = false
    private var isPonging = false
    private var isClosing = false
    private var lastHeard = NIODeadline.now()
    private var writesStarted = 0
    private var writesDone = 0
    private var writesDoneAtTick = 0
    private var tick: RepeatedTask?
    private var context: ChannelHandlerContext?

    init(idleTimeout: TimeAmount) {
        self.idleTimeout = idleTimeout
    }

    /// Before the first frame.
    func serve(
        _ channel: any Channel, remoteAddress: String, in channels: ControlChannels, by receiver: (WebSocketPeer) -> any MessageReceiver
    ) {
        let handler = NIOLoopBound(self, eventLoop: channel.eventLoop)
        let peer = WebSocketPeer(transport: Transport(channel: channel, handler: handler), remoteAddress: remoteAddress)
        inbox = channels.open(channel, peer, receiver(peer)) {
            channel.eventLoop.execute { handler.value.readOn() }
        }
    }

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        let handler = NIOLoopBound(self, eventLoop: context.eventLoop)
        tick = context.eventLoop.scheduleRepeatedTask(
            initialDelay: .nanoseconds(idleTimeout.nanoseconds / 3), delay: .nanoseconds(idleTimeout.nanoseconds / 3)
        ) { _ in handler.value.checkIdle() }
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        ended()
    }

    func channelInactive(context: ChannelHandlerContext) {
        ended()
        context.fireChannelInactive()
    }

    private func ended() {
        tick?.cancel()
        tick = nil
        inbox?.finish()
        context = nil
    }

    // Inbound

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let frame = Self.unwrapInboundIn(data)
        lastHeard = .now()
        guard !isClosing || frame.opcode == .connectionClose else { return }
        switch frame.opcode {
        case .text:
            inbox?.add(.text(String(buffer: frame.unmasked)))
        case .binary:
            inbox?.add(.binary(frame.unmasked))
        case .ping:
            pong(frame.unmasked, context)
        case .pong:
            break
        case .connectionClose:
            inbox?.finish()
            if isClosing {
                context.close(promise: nil)
            } else {
                close(.normal, "", context, thenClose: true)
            }
        default:
            close(.protocolError, "unexpected opcode", context, thenClose: true)
        }
    }

    private func readOn() {
        guard isReadHeldBack, let context else { return }
        isReadHeldBack = false
        context.read()
    }

    func read(context: ChannelHandlerContext) {
        if isClosing || inbox?.hasRoom() ?? true { context.read() } else { isReadHeldBack = true }
    }

    private func pong(_ payload: ByteBuffer, _ context: ChannelHandlerContext) {
        guard !isPonging else { return }
        isPonging = true
        let promise = context.eventLoop.makePromise(of: Void.self)
        let handler = NIOLoopBound(self, eventLoop: context.eventLoop)
        promise.futureResult.whenComplete { _ in handler.value.isPonging = false }
        context.writeAndFlush(Self.wrapOutboundOut(WebSocketFrame(fin: true, opcode: .pong, data: payload)), promise: promise)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        switch error {
        case NIOWebSocketFrameAggregator.Error.accumulatedFrameSizeIsTooLarge, NIOWebSocketFrameAggregator.Error.tooManyFragments:
            close(.messageTooBig, "message too big", context, thenClose: true)
        case is NIOWebSocketFrameAggregator.Error:
            close(.protocolError, "wrong fragments", context, thenClose: true)
        case is NIOWebSocketError:
            // NIO's own handler has already sent the close frame.
            isClosing = true
            inbox?.finish()
            context.close(promise: nil)
        default:
            context.close(promise: nil)
        }
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if event is ChannelShouldQuiesceEvent {
            close(.goingAway, "the controller is stopping", context, thenClose: false)
            return
        }
        if case ChannelEvent.inputClosed? = event as? ChannelEvent {
            // Half closure is allowed on these sockets; without this a dead connection would stay.
            context.close(promise: nil)
            return
        }
        context.fireUserInboundEventTriggered(event)
    }

    // Outbound

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        let promise = promise ?? context.eventLoop.makePromise()
        let handler = NIOLoopBound(self, eventLoop: context.eventLoop)
        writesStarted += 1
        promise.futureResult.whenComplete { _ in handler.value.writesDone += 1 }
        context.write(data, promise: promise)
    }

    /// Between two ticks a limit may be reached; then a further look is taken at that moment.
    private func checkSilence() {
        guard let context, NIODeadline.now() - lastHeard >= idleTimeout else { return }
        context.close(promise: nil)
    }

    private func checkIdle() {
        guard let context else { return }
        let left = idleTimeout - (NIODeadline.now() - lastHeard)
        if left > .zero, left < .nanoseconds(idleTimeout.nanoseconds / 3) {
            let handler = NIOLoopBound(self, eventLoop: context.eventLoop)
            context.eventLoop.scheduleTask(in: left) { handler.value.checkSilence() }
        }
        let isStuck = writesStarted > writesDone && writesDone == writesDoneAtTick && writesStarted - writesDone > 0
        let isSilent = NIODeadline.now() - lastHeard > idleTimeout
        // One tick may see a write that has just begun; two in a row without progress is a peer that does not read.
        if isSilent || (isStuck && wasStuck) {
            context.close(promise: nil)
            return
        }
        wasStuck = isStuck
        writesDoneAtTick = writesDone
    }

    private var wasStuck = false

    private func close(_ code: WebSocketPeer.CloseCode, _ reason: String, _ context: ChannelHandlerContext, thenClose: Bool) {
        guard !isClosing else { return }
        isClosing = true
        inbox?.finish()
        var data = context.channel.allocator.buffer(capacity: 2 + reason.utf8.count)
        data.write(webSocketErrorCode: WebSocketErrorCode(codeNumber: Int(code.rawValue)))
        data.writeString(String(reason.prefix(60)))
        let promise = context.eventLoop.makePromise(of: Void.self)
        let bound = NIOLoopBound(context, eventLoop: context.eventLoop)
        if thenClose { promise.futureResult.whenComplete { _ in bound.value.close(promise: nil) } }
        context.writeAndFlush(Self.wrapOutboundOut(WebSocketFrame(fin: true, opcode: .connectionClose, data: data)), promise: promise)
        // The peer answers with its own close frame, or does not.
        let timer = context.eventLoop.assumeIsolated().scheduleTask(in: Self.closingTime) { context.close(promise: nil) }
        context.channel.closeFuture.whenComplete { _ in timer.cancel() }
        // What waits unread must not keep the peer's close frame from being read.
        if isReadHeldBack {
            isReadHeldBack = false
            context.read()
        }
    }

    private struct Transport: WebSocketTransport {
        let channel: any Channel
        let handler: NIOLoopBound<WebSocketHandler>

        func send(_ message: WebSocketPeer.Message) async throws {
            switch message {
            case .text(let text):
                try await channel.writeAndFlush(WebSocketFrame(fin: true, opcode: .text, data: ByteBuffer(string: text)))
            case .binary(let bytes):
                try await channel.writeAndFlush(WebSocketFrame(fin: true, opcode: .binary, data: bytes))
            }
        }

        func post(_ bytes: ByteBuffer, written: @escaping @Sendable () -> Void) {
            let promise = channel.eventLoop.makePromise(of: Void.self)
            promise.futureResult.whenComplete { _ in written() }
            channel.writeAndFlush(WebSocketFrame(fin: true, opcode: .binary, data: bytes), promise: promise)
        }

        func ping() async throws {
            try await channel.writeAndFlush(WebSocketFrame(fin: true, opcode: .ping, data: ByteBuffer()))
        }

        func close(_ code: WebSocketPeer.CloseCode, reason: String) async {
            try? await channel.eventLoop.submit {
                guard let context = handler.value.context else { return }
                handler.value.close(code, reason, context, thenClose: false)
            }.get()
        }
    }
}
