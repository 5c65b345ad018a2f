internal import MusterWire
internal import NIOCore

/// One leg's WebSocket, right behind TLS. [handler] RFC 6455.
///
///     opening ──text──► admitting ──attach──► open ──► closing
///
/// The first message is the open text and goes to whoever admits legs; until they have decided nothing more is read. Then every message
/// goes straight to the relay, on this loop. Pings are answered here, the newest only, and sent when nothing was heard for a while.
final class DataChannelHandler: ChannelDuplexHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundIn = Never
    typealias OutboundOut = ByteBuffer

    struct Limits: Sendable {
        /// For the open text; whoever has not sent it by then is nobody.
        var opening = TimeAmount.seconds(5)
        var idle = TimeAmount.seconds(30)
        var openText = 4_096
        /// Frames that came along with the open text.
        var heldFrames = 64
        var messageBytes = 1 << 20
        var fragments = 1_024
    }

    private enum Stage {
        case opening(EventLoopPromise<String>)
        case admitting(held: [ByteBuffer])
        case open(SessionRelay)
        case closing
    }

    /// Up to here a frame and its header are one piece of memory.
    private static let little = 4_096
    /// What may still be sent to a leg that is to be closed has this long.
    private static let closingTime = TimeAmount.seconds(2)

    let opening: EventLoopFuture<String>
    private let limits: Limits
    private var stage: Stage
    private var reader: WebSocketReader
    private var hasFailed = false
    private var leg: RelayLeg?
    private var context: ChannelHandlerContext?
    private var openingDeadline: Scheduled<Void>?
    private var tick: RepeatedTask?
    private var lastHeard = NIODeadline.now()
    private var isHeldByRelay = false
    private var isReadWanted = false
    private var isPonging = false
    private var flushesStarted = 0
    private var flushesDone = 0
    private var flushesDoneAtTick = 0
    private var wasStuck = false
    /// Said once the queue is empty.
    private var farewell: (code: WebSocketPeer.CloseCode, reason: String)?

    init(limits: Limits, eventLoop: any EventLoop) {
        self.limits = limits
        reader = WebSocketReader(maximumBytes: limits.messageBytes, maximumFragments: limits.fragments, isMasked: true)
        let promise = eventLoop.makePromise(of: String.self)
        stage = .opening(promise)
        opening = promise.futureResult
    }

    /// Called once, on the loop, before the handler is in its pipeline.
    func makeLeg(side: SessionSide, remoteAddress: String, eventLoop: any EventLoop) -> RelayLeg {
        let handler = NIOLoopBound(self, eventLoop: eventLoop)
        let leg = RelayLeg(
            side: side, remoteAddress: remoteAddress,
            connection: RelayLeg.Connection(
                drain: { eventLoop.execute { handler.value.drain() } },
                resumeReading: { eventLoop.execute { handler.value.resumeReading() } },
                attach: { leg, relay in eventLoop.execute { handler.value.attach(relay, leg) } },
                close: { code, reason in eventLoop.execute { handler.value.closeWhenDrained(code, reason) } }))
        self.leg = leg
        return leg
    }

    // MARK: Life

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        let handler = NIOLoopBound(self, eventLoop: context.eventLoop)
        openingDeadline = context.eventLoop.assumeIsolated().scheduleTask(in: limits.opening) {
            handler.value.close(.policyViolation, "the data channel was not opened in time")
        }
        let third = TimeAmount.nanoseconds(limits.idle.nanoseconds / 3)
        tick = context.eventLoop.scheduleRepeatedTask(initialDelay: third, delay: third) { _ in handler.value.look() }
    }

    func handlerRemoved(context: ChannelHandlerContext) { ended() }

    func channelInactive(context: ChannelHandlerContext) {
        ended()
        context.fireChannelInactive()
    }

    private func ended() {
        guard context != nil else { return }
        context = nil
        tick?.cancel()
        openingDeadline?.cancel()
        let former = stage
        stage = .closing
        if case .opening(let promise) = former { promise.fail(ChannelError.ioOnClosedChannel) }
        guard let leg else { return }
        attached?.detach(leg)
        leg.closed()
        // The leg's closures hold this handler: held on to, the two would keep the relay, and a recording's files open, for ever.
        self.leg = nil
        attached = nil
    }

    /// Also of a leg that is closing.
    private var attached: SessionRelay?

    // MARK: Inbound

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var bytes = Self.unwrapInboundIn(data)
        lastHeard = .now()
        do throws(WebSocketReader.Violation) {
            while !hasFailed, self.context != nil, let message = try reader.next(&bytes) { take(message, context) }
        } catch {
            hasFailed = true
            switch error {
            case .tooLong: close(.messageTooBig, "message too big")
            case .protocolError(let what): close(.protocolError, what)
            }
        }
    }

    private func take(_ message: WebSocketReader.Message, _ context: ChannelHandlerContext) {
        switch message {
        case .binary(let bytes):
            received(bytes)
        case .text(let bytes):
            opened(String(buffer: bytes))
        case .ping(let payload):
            pong(payload, context)
        case .pong:
            break
        case .close:
            if case .closing = stage { context.close(promise: nil) } else { close(.normal, "") }
        }
    }

    private func received(_ bytes: ByteBuffer) {
        switch stage {
        case .opening:
            close(.protocolError, "the first message has to be OpenDataChannel")
        case .admitting(var held):
            guard held.count < limits.heldFrames else { return close(.policyViolation, "too much before the channel was open") }
            stage = .closing  // for the array to be changed in place
            held.append(bytes)
            stage = .admitting(held: held)
        case .open(let relay):
            pass(bytes, relay)
        case .closing:
            break
        }
    }

    private func pass(_ bytes: ByteBuffer, _ relay: SessionRelay) {
        guard let leg else { return }
        switch relay.received(bytes, from: leg) {
        case .passed: break
        case .wait: isHeldByRelay = true
        case .refused(let reason): close(.protocolError, reason)
        }
    }

    private func opened(_ text: String) {
        // Later texts have no meaning.
        guard case .opening(let promise) = stage else { return }
        openingDeadline?.cancel()
        guard text.utf8.count <= limits.openText else { return close(.messageTooBig, "the open message is too long") }
        stage = .admitting(held: [])
        promise.succeed(text)
    }

    private func attach(_ relay: SessionRelay, _ leg: RelayLeg) {
        // It has ended in between, and nobody has told the relay.
        guard context != nil else { return relay.detach(leg) }
        guard case .admitting(let held) = stage else {
            attached = relay
            return
        }
        stage = .open(relay)
        attached = relay
        for bytes in held { pass(bytes, relay) }
        resumeIfPossible()
    }

    // MARK: Holding back

    private var isHeld: Bool {
        switch stage {
        case .opening, .closing: false
        case .admitting: true
        case .open: isHeldByRelay
        }
    }

    func read(context: ChannelHandlerContext) {
        if isHeld { isReadWanted = true } else { context.read() }
    }

    private func resumeReading() {
        isHeldByRelay = false
        resumeIfPossible()
    }

    private func resumeIfPossible() {
        guard isReadWanted, !isHeld, let context else { return }
        isReadWanted = false
        // What was not read is not what was not sent.
        lastHeard = .now()
        context.read()
    }

    // MARK: Outbound

    /// Everything that waits, with one flush.
    private func drain() {
        guard let context, let leg else { return }
        var isFirst = true
        var last: ByteBuffer?
        while context.channel.isWritable, let frame = leg.next(isFirst: isFirst) {
            isFirst = false
            if let last { write(.binary, last, context) }
            last = frame
        }
        if !context.channel.isWritable { leg.drainPostponed() }
        if let last {
            let written = context.eventLoop.makePromise(of: Void.self)
            let handler = NIOLoopBound(self, eventLoop: context.eventLoop)
            flushesStarted += 1
            written.futureResult.whenComplete { _ in handler.value.flushesDone += 1 }
            write(.binary, last, context, promise: written)
            context.flush()
        }
        if farewell != nil, leg.isDrained { sayFarewell() }
    }

    /// One frame (RFC 6455 §5.2), not masked.
    private func write(
        _ kind: WebSocketFrameKind, _ payload: ByteBuffer, _ context: ChannelHandlerContext, promise: EventLoopPromise<Void>? = nil
    ) {
        let length = payload.readableBytes
        let isLittle = length <= Self.little
        var frame = context.channel.allocator.buffer(capacity: ByteBuffer.longestWebSocketHeader + (isLittle ? length : 0))
        frame.writeWebSocketHeader(kind, length: length, key: nil)
        if isLittle {
            frame.writeImmutableBuffer(payload)
            context.write(Self.wrapOutboundOut(frame), promise: promise)
        } else {
            context.write(Self.wrapOutboundOut(frame), promise: nil)
            context.write(Self.wrapOutboundOut(payload), promise: promise)
        }
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        if context.channel.isWritable { drain() }
        context.fireChannelWritabilityChanged()
    }

    private func pong(_ payload: ByteBuffer, _ context: ChannelHandlerContext) {
        guard !isPonging else { return }
        isPonging = true
        let promise = context.eventLoop.makePromise(of: Void.self)
        let handler = NIOLoopBound(self, eventLoop: context.eventLoop)
        promise.futureResult.whenComplete { _ in handler.value.isPonging = false }
        write(.pong, payload, context, promise: promise)
        context.flush()
    }

    // MARK: Time

    /// Silent for too long, or nothing taken for too long: the other end is gone.
    private func look() {
        guard let context else { return }
        // A leg that is not read from has not gone silent.
        if isHeld { lastHeard = .now() }
        let silence = NIODeadline.now() - lastHeard
        let isStuck = flushesStarted > flushesDone && flushesDone == flushesDoneAtTick
        if silence > limits.idle || (isStuck && wasStuck) {
            context.close(promise: nil)
            return
        }
        wasStuck = isStuck
        flushesDoneAtTick = flushesDone
        if silence.nanoseconds > limits.idle.nanoseconds / 4 {
            write(.ping, ByteBuffer(), context)
            context.flush()
        }
    }

    // MARK: Ends

    private func closeWhenDrained(_ code: WebSocketPeer.CloseCode, _ reason: String) {
        guard let context, farewell == nil else { return }
        if case .closing = stage { return }
        farewell = (code, reason)
        guard leg?.isDrained != false else {
            context.eventLoop.assumeIsolated().scheduleTask(in: Self.closingTime) { self.sayFarewell() }
            return drain()
        }
        sayFarewell()
    }

    private func sayFarewell() {
        guard let farewell else { return }
        close(farewell.code, farewell.reason)
    }

    private func close(_ code: WebSocketPeer.CloseCode, _ reason: String) {
        guard let context else { return }
        if case .closing = stage { return }
        if case .opening(let promise) = stage { promise.fail(ChannelError.ioOnClosedChannel) }
        stage = .closing
        openingDeadline?.cancel()
        var data = context.channel.allocator.buffer(capacity: 2 + reason.utf8.count)
        data.writeInteger(code.rawValue)
        data.writeString(String(reason.prefix(60)))
        write(.close, data, context)
        context.flush()
        // The peer answers with its own close frame, or does not.
        let timer = context.eventLoop.assumeIsolated().scheduleTask(in: Self.closingTime) { context.close(promise: nil) }
        context.channel.closeFuture.whenComplete { _ in timer.cancel() }
        if isReadWanted {
            isReadWanted = false
            context.read()
        }
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if event is ChannelShouldQuiesceEvent {
            close(.goingAway, "the controller is stopping")
            return
        }
        if case ChannelEvent.inputClosed? = event as? ChannelEvent {
            context.close(promise: nil)
            return
        }
        context.fireUserInboundEventTriggered(event)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
}
