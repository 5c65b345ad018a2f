package import MusterTLS
package import MusterWire
package import NIOCore
package import NIOHTTP1
package import NIOWebSocket

/// A WebSocket to a controller (RFC 6455), opened with a GET over TLS.
///
/// - Every buffer has a bound: `maxMessageBytes` for what comes in, eight messages for what nobody has read yet (after that
///   the socket is not read any more), and a count of unsent messages for what goes out.
/// - It notices a dead path by itself: it pings every `keepAlive`, and when nothing at all has come for two and a half times
///   that long, the connection is over: 50 s at the usual 20.
package final class WebSocketConnection: Sendable {
    package enum Message: Sendable, Hashable {
        case text(String)
        case binary(ByteBuffer)
    }

    /// Ends without an error when either side closed in order, and throws a `ClientError` otherwise. For one reader.
    package struct Messages: AsyncSequence, Sendable {
        package typealias Element = Message
        package typealias Failure = any Error
        fileprivate typealias Producer = NIOThrowingAsyncSequenceProducer<
            Message, any Error, NIOAsyncSequenceProducerBackPressureStrategies.HighLowWatermark, Demand
        >
        fileprivate let producer: Producer

        package struct AsyncIterator: AsyncIteratorProtocol {
            fileprivate let iterator: Producer.AsyncIterator

            package mutating func next() async throws -> Message? {
                try await iterator.next()
            }
        }

        package func makeAsyncIterator() -> AsyncIterator {
            AsyncIterator(iterator: producer.makeAsyncIterator())
        }
    }

    /// Who gets the messages.
    package enum Delivery: Sendable {
        /// Whoever reads `inbound`.
        case sequence
        /// The receiver that `attach` names, on the event loop. Nothing is read before.
        case receiver
    }

    package let inbound: Messages
    private let headers: HTTPHeaders
    private let channel: any Channel

    /// This end's address, without its port.
    package var localAddress: String? { channel.localAddress?.ipAddress }

    fileprivate init(channel: any Channel, headers: HTTPHeaders, inbound: Messages) {
        self.channel = channel
        self.headers = headers
        self.inbound = inbound
    }

    package static func connect(
        endpoint: Endpoint,
        path: String,
        headers: HTTPHeaders = [:],
        tls: TLSContext,
        maxMessageBytes: Int = 1 << 20,
        keepAlive: TimeAmount = .seconds(20),
        delivery: Delivery = .sequence,
        group: any EventLoopGroup,
        deadline: NIODeadline
    ) async throws(ClientError) -> WebSocketConnection {
        let secured = try await SecureChannel.connect(to: endpoint, tls: tls, group: group, deadline: deadline)
        let channel = secured.channel
        let timer = channel.eventLoop.scheduleTask(deadline: deadline) {
            secured.record(ClientError(.timedOut, "\(endpoint) did not answer the WebSocket request in time."))
            channel.close(promise: nil)
        }
        defer { timer.cancel() }

        let answer: WebSocketAnswer
        do {
            answer = try await withTaskCancellationHandler {
                try await channel.eventLoop.flatSubmit {
                    channel.eventLoop.makeCompletedFuture {
                        try upgrade(
                            secured, to: endpoint, path: path, headers: headers, maxMessageBytes: maxMessageBytes, keepAlive: keepAlive,
                            delivery: delivery)
                    }.flatMap { $0 }
                }.get()
            } onCancel: {
                channel.close(promise: nil)
            }
        } catch {
            channel.close(promise: nil)
            var failure = await secured.failure(
                or: ClientError(.closed, "\(endpoint) closed the connection before it answered the WebSocket request."))
            failure.isSecured = true
            throw failure
        }
        switch answer {
        case .opened(let connection):
            return connection
        case .refused(let status):
            channel.close(promise: nil)
            let denied = status == 401 || status == 403
            var failure = ClientError(
                denied ? .denied : .refused(status: status),
                status == 101
                    ? "\(endpoint) answered the WebSocket request for \(path) with a wrong key."
                    : "\(endpoint) refused the WebSocket at \(path) with HTTP status \(status)."
            )
            failure.isSecured = true
            throw failure
        }
    }

    /// A header of the 101.
    package func header(_ name: String) -> String? {
        headers.first(name: name)
    }

    /// Returns when the message has been handed to the system. Fails when the connection is over or far too slow.
    package func send(text: String) async throws(ClientError) {
        try await send(.message(.text(text)))
    }

    package func send(binary: ByteBuffer) async throws(ClientError) {
        try await send(.message(.binary(binary)))
    }

    /// Where its handlers run.
    package var eventLoop: any EventLoop { channel.eventLoop }

    /// For a connection with `delivery: .receiver`; for any other it is the end.
    package func attach(_ receiver: any WebSocketReceiver) {
        let attached = channel.eventLoop.makePromise(of: Void.self)
        // A connection that is gone already has no handlers left that would say so.
        attached.futureResult.whenFailure { _ in receiver.ended(ClientError(.closed, "The WebSocket was gone before anybody listened.")) }
        channel.triggerUserOutboundEvent(Attachment(receiver: receiver), promise: attached)
    }

    /// Sends all of them with one flush. The sender bounds what is on its way: `DataChannel` by its window.
    package func send(frames: [AgentMessage]) {
        channel.writeAndFlush(WebSocketHandler.Order.frames(frames), promise: nil)
    }

    /// Says goodbye, waits a little for the other side to do the same, and returns when the connection is gone.
    package func close(code: WebSocketErrorCode = .goingAway) async {
        try? await send(.close(code))
        try? await channel.closeFuture.get()
    }

    /// Ends it now, without a word.
    package func abort() {
        channel.close(promise: nil)
    }

    private func send(_ order: WebSocketHandler.Order) async throws(ClientError) {
        do {
            try await channel.writeAndFlush(order).get()
        } catch let error as ClientError {
            throw error
        } catch {
            throw ClientError(.closed, "The WebSocket ended before a message was sent: \(describe(error)).")
        }
    }
}

private enum WebSocketAnswer: Sendable {
    case opened(WebSocketConnection)
    case refused(status: Int)
}

/// Sets up the request, the upgrade and the handlers of both outcomes. On the event loop.
private func upgrade(
    _ secured: SecureChannel,
    to endpoint: Endpoint,
    path: String,
    headers: HTTPHeaders,
    maxMessageBytes: Int,
    keepAlive: TimeAmount,
    delivery: WebSocketConnection.Delivery
) throws -> EventLoopFuture<WebSocketAnswer> {
    let channel = secured.channel
    let handlers = channel.pipeline.syncOperations
    var head = HTTPRequestHead(version: .http1_1, method: .GET, uri: path, headers: headers)
    head.headers.replaceOrAdd(name: "host", value: endpoint.authority)

    let status = StatusRecorder()
    let boundStatus = NIOLoopBound(status, eventLoop: channel.eventLoop)
    let upgrader = Upgrader { channel, head in
        let demand = Demand(channel: channel)
        let made = WebSocketConnection.Messages.Producer.makeSequence(
            elementType: WebSocketConnection.Message.self,
            failureType: (any Error).self,
            backPressureStrategy: .init(lowWatermark: 2, highWatermark: 8),
            finishOnDeinit: true,
            delegate: demand
        )
        try channel.pipeline.syncOperations.addHandler(
            WebSocketHandler(
                secured: secured, endpoint: endpoint, source: made.source, maxMessageBytes: maxMessageBytes, keepAlive: keepAlive,
                delivery: delivery)
        )
        return .opened(WebSocketConnection(channel: channel, headers: head.headers, inbound: .init(producer: made.sequence)))
    }
    let encoder = HTTPRequestEncoder()
    let decoder = ByteToMessageHandler(HTTPResponseDecoder(leftOverBytesStrategy: .forwardBytes))
    let upgradeHandler = NIOTypedHTTPClientUpgradeHandler<WebSocketAnswer>(
        httpHandlers: [encoder, decoder, status],
        upgradeConfiguration: .init(
            upgradeRequestHead: head,
            upgraders: [upgrader],
            notUpgradingCompletionHandler: { channel in
                channel.eventLoop.makeSucceededFuture(.refused(status: boundStatus.value.status ?? 0))
            }
        )
    )
    try handlers.addHandlers([encoder, decoder, status, upgradeHandler])
    return upgradeHandler.upgradeResultFuture
}

/// NIO's part of a WebSocket's beginning, without its codec: what follows is read and written here.
private final class Upgrader: NIOTypedHTTPClientProtocolUpgrader {
    private let request: NIOTypedWebSocketClientUpgrader<WebSocketAnswer>
    private let opened: @Sendable (any Channel, HTTPResponseHead) throws -> WebSocketAnswer

    init(opened: @escaping @Sendable (any Channel, HTTPResponseHead) throws -> WebSocketAnswer) {
        self.opened = opened
        request = NIOTypedWebSocketClientUpgrader { channel, _ in
            channel.eventLoop.makeFailedFuture(ChannelError.inappropriateOperationForState)
        }
    }

    var supportedProtocol: String { request.supportedProtocol }
    var requiredUpgradeHeaders: [String] { request.requiredUpgradeHeaders }

    func addCustom(upgradeRequestHeaders: inout HTTPHeaders) {
        request.addCustom(upgradeRequestHeaders: &upgradeRequestHeaders)
    }

    func shouldAllowUpgrade(upgradeResponse: HTTPResponseHead) -> Bool {
        request.shouldAllowUpgrade(upgradeResponse: upgradeResponse)
    }

    func upgrade(channel: any Channel, upgradeResponse: HTTPResponseHead) -> EventLoopFuture<WebSocketAnswer> {
        channel.eventLoop.makeCompletedFuture { try opened(channel, upgradeResponse) }
    }
}

/// NIO's upgrade handler keeps the head of a refusal to itself; the status is what tells "denied" from "not here".
private final class StatusRecorder: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = HTTPClientResponsePart
    typealias InboundOut = HTTPClientResponsePart

    private(set) var status: Int?

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        if case .head(let head) = Self.unwrapInboundIn(data) {
            status = Int(head.status.code)
        }
        context.fireChannelRead(data)
    }
}

/// The reader's side of back-pressure: carries "more" and "enough for ever" to the event loop.
package final class Demand: NIOAsyncSequenceProducerDelegate {
    private let channel: any Channel

    fileprivate init(channel: any Channel) {
        self.channel = channel
    }

    package func produceMore() {
        channel.triggerUserOutboundEvent(DemandEvent.more, promise: nil)
    }

    package func didTerminate() {
        channel.triggerUserOutboundEvent(DemandEvent.none, promise: nil)
    }
}

/// Takes what comes in on a connection, on its event loop and without a queue between.
package protocol WebSocketReceiver: AnyObject, Sendable {
    func received(_ message: ByteBuffer)
    /// Nothing more has arrived now: the moment to answer all of it at once.
    func receivedEverything()
    /// The last call. Nil is an orderly end.
    func ended(_ error: ClientError?)
}

private struct Attachment: Sendable {
    let receiver: any WebSocketReceiver
}

private enum DemandEvent: Sendable {
    case more
    case none
}

/// Frames in, messages out, and the other way round; answers pings, sends pings, and gives up on a silent peer.
private final class WebSocketHandler: ChannelDuplexHandler {
    enum Order: Sendable {
        case message(WebSocketConnection.Message)
        case frames([AgentMessage])
        case close(WebSocketErrorCode)
    }

    typealias InboundIn = ByteBuffer
    typealias OutboundIn = Order
    typealias OutboundOut = ByteBuffer

    private let secured: SecureChannel
    private let endpoint: Endpoint
    private let source: WebSocketConnection.Messages.Producer.Source
    private let keepAlive: TimeAmount
    private var reader: WebSocketReader
    private var hasFailed = false
    private var lastHeard = NIODeadline.now()
    private var pings: RepeatedTask?
    private var isReaderBehind = false
    private var hasPendingRead = false
    private var hasSentClose = false
    private var isFinished = false
    private var unsent = 0
    private let delivery: WebSocketConnection.Delivery
    private var receiver: (any WebSocketReceiver)?
    private var isAttached = false
    /// What one read brought behind the 101.
    private var early: [ByteBuffer] = []
    private var end: ClientError?

    /// More than any well-behaved sender has in flight: each one waits for its own message.
    private static let maxUnsent = 256
    private static let maxFragments = 1_024

    init(
        secured: SecureChannel,
        endpoint: Endpoint,
        source: WebSocketConnection.Messages.Producer.Source,
        maxMessageBytes: Int,
        keepAlive: TimeAmount,
        delivery: WebSocketConnection.Delivery
    ) {
        self.delivery = delivery
        self.isReaderBehind = delivery == .receiver
        self.secured = secured
        self.endpoint = endpoint
        self.source = source
        self.keepAlive = keepAlive
        self.reader = WebSocketReader(maximumBytes: maxMessageBytes, maximumFragments: Self.maxFragments, isMasked: false)
    }

    func handlerAdded(context: ChannelHandlerContext) {
        lastHeard = .now()
        let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
        // The first ping comes at a random moment, so that a fleet that reconnected together does not ping together.
        let first = TimeAmount.nanoseconds(Int64.random(in: 0...max(keepAlive.nanoseconds, 1)))
        pings = context.eventLoop.scheduleRepeatedTask(initialDelay: first, delay: keepAlive) { _ in
            let (handler, context) = bound.value
            handler.keepAliveDue(context: context)
        }
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        pings?.cancel()
        finish(ClientError(.closed, "The WebSocket to \(endpoint) was closed."))
    }

    // MARK: In

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var bytes = Self.unwrapInboundIn(data)
        lastHeard = .now()
        do throws(WebSocketReader.Violation) {
            while !hasFailed, let message = try reader.next(&bytes) { take(message, context) }
        } catch {
            hasFailed = true
            switch error {
            case .tooLong: fail(.messageTooLarge, "a message that is too long", context: context)
            case .protocolError(let what): fail(.protocolError, what, context: context)
            }
        }
    }

    private func take(_ message: WebSocketReader.Message, _ context: ChannelHandlerContext) {
        switch message {
        case .binary(let bytes):
            deliver(.binary(bytes))
        case .text(let bytes):
            guard let text = String(validating: bytes.readableBytesView, as: UTF8.self) else {
                hasFailed = true
                return fail(.dataInconsistentWithMessage, "a text that is not UTF-8", context: context)
            }
            deliver(.text(text))
        case .ping(let payload):
            write(.pong, payload, context: context, promise: nil)
            context.flush()
        case .pong:
            break
        case .close(let payload):
            hasFailed = true  // nothing of it matters any more
            closeReceived(payload, context: context)
        }
    }

    private func deliver(_ message: WebSocketConnection.Message) {
        guard !isFinished else { return }
        guard delivery == .receiver else {
            if case .stopProducing = source.yield(message) { isReaderBehind = true }
            return
        }
        guard case .binary(let bytes) = message else { return }
        if let receiver { receiver.received(bytes) } else if !isAttached { early.append(bytes) }
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        receiver?.receivedEverything()
        context.fireChannelReadComplete()
    }

    private func attach(_ receiver: any WebSocketReceiver) {
        guard delivery == .receiver, !isAttached else {
            return receiver.ended(ClientError(.configuration, "A WebSocket to \(endpoint) was not opened for a receiver."))
        }
        isAttached = true
        for message in early { receiver.received(message) }
        early = []
        receiver.receivedEverything()
        if isFinished {
            receiver.ended(end)
        } else {
            self.receiver = receiver
            lastHeard = .now()
            isReaderBehind = false
        }
    }

    func channelInactive(context: ChannelHandlerContext) {
        finish(ClientError(.closed, "\(endpoint) dropped the WebSocket."))
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        finish(ClientError(error, on: endpoint))
        closeSoon(context: context)
    }

    func read(context: ChannelHandlerContext) {
        if isReaderBehind {
            hasPendingRead = true
        } else {
            context.read()
        }
    }

    func triggerUserOutboundEvent(context: ChannelHandlerContext, event: Any, promise: EventLoopPromise<Void>?) {
        switch event {
        case let attachment as Attachment:
            attach(attachment.receiver)
        case is DemandEvent where delivery == .receiver:
            // Nobody reads the sequence, and its end is nobody's.
            break
        case DemandEvent.more:
            isReaderBehind = false
            // What was not read could not be heard.
            lastHeard = .now()
        case DemandEvent.none:
            isReaderBehind = false
            isFinished = true
        default:
            return context.triggerUserOutboundEvent(event, promise: promise)
        }
        promise?.succeed(())
        guard !isReaderBehind else { return }
        if hasPendingRead {
            hasPendingRead = false
            context.read()
        }
    }

    private func closeReceived(_ data: ByteBuffer, context: ChannelHandlerContext) {
        var data = data
        let code = data.readWebSocketErrorCode()
        let reason = data.readString(length: min(data.readableBytes, 123)) ?? ""
        if !hasSentClose {
            hasSentClose = true
            var answer = context.channel.allocator.buffer(capacity: 2)
            if let code { answer.write(webSocketErrorCode: code) }
            write(.close, answer, context: context, promise: nil)
            context.flush()
        }
        switch code {
        case nil, .normalClosure?, .goingAway?:
            finish(nil)
        case .policyViolation?:
            finish(ClientError(.denied, "\(endpoint) ended the WebSocket: \(reason.isEmpty ? "not allowed" : DisplayText.line(reason))"))
        case .some(let code):
            let text = reason.isEmpty ? "" : ": \(DisplayText.line(reason))"
            finish(ClientError(.closed, "\(endpoint) ended the WebSocket with code \(UInt16(webSocketErrorCode: code))\(text)"))
        }
        context.close(promise: nil)
    }

    // MARK: Out

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        guard !hasSentClose else {
            promise?.fail(ClientError(.closed, "The WebSocket to \(endpoint) is being closed."))
            return
        }
        switch Self.unwrapOutboundIn(data) {
        case .message(let message):
            guard unsent < Self.maxUnsent else {
                promise?.fail(ClientError(.closed, "\(endpoint) takes messages too slowly."))
                finish(ClientError(.closed, "\(endpoint) takes messages too slowly."))
                context.close(promise: nil)
                return
            }
            unsent += 1
            let written = promise ?? context.eventLoop.makePromise()
            written.futureResult.assumeIsolated().whenComplete { _ in self.unsent -= 1 }
            switch message {
            case .text(let text): write(.text, context.channel.allocator.buffer(string: text), context: context, promise: written)
            case .binary(let bytes): write(.binary, bytes, context: context, promise: written)
            }
        case .frames(let messages):
            for message in messages {
                context.write(Self.wrapOutboundOut(MaskedFrame.encode(message, allocator: context.channel.allocator)), promise: nil)
            }
            promise?.succeed()
        case .close(let code):
            sendClose(code, context: context, promise: promise)
        }
    }

    private func write(
        _ kind: WebSocketFrameKind, _ data: ByteBuffer, context: ChannelHandlerContext, promise: EventLoopPromise<Void>?
    ) {
        context.write(Self.wrapOutboundOut(MaskedFrame.encode(kind, data, allocator: context.channel.allocator)), promise: promise)
    }

    private func sendClose(_ code: WebSocketErrorCode, context: ChannelHandlerContext, promise: EventLoopPromise<Void>?) {
        hasSentClose = true
        finish(nil)
        var data = context.channel.allocator.buffer(capacity: 2)
        data.write(webSocketErrorCode: code)
        write(.close, data, context: context, promise: promise)
        closeSoon(context: context)
    }

    /// Leaves a close frame the time to go out and to be answered.
    private func closeSoon(context: ChannelHandlerContext) {
        let channel = context.channel
        let timer = context.eventLoop.scheduleTask(in: .seconds(2)) { channel.close(promise: nil) }
        channel.closeFuture.whenComplete { _ in timer.cancel() }
    }

    // MARK: Ends

    private func keepAliveDue(context: ChannelHandlerContext) {
        let left = longestSilence - (NIODeadline.now() - lastHeard)
        // The limit lies between two pings; it is looked at again when it is reached.
        if left > .zero, left < keepAlive {
            let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
            context.eventLoop.scheduleTask(in: left) {
                let (handler, context) = bound.value
                handler.checkSilence(context: context)
            }
        }
        if checkSilence(context: context) { return }
        guard !hasSentClose else { return }
        write(.ping, ByteBuffer(), context: context, promise: nil)
        context.flush()
    }

    private var longestSilence: TimeAmount { .nanoseconds(keepAlive.nanoseconds / 2 * 5) }

    /// True when the connection has been given up.
    @discardableResult
    private func checkSilence(context: ChannelHandlerContext) -> Bool {
        let silence = NIODeadline.now() - lastHeard
        guard !isFinished, !isReaderBehind, silence >= longestSilence else { return false }
        finish(ClientError(.timedOut, "Nothing was heard from \(endpoint) for \(silence.nanoseconds / 1_000_000_000) seconds."))
        context.close(promise: nil)
        return true
    }

    private func fail(_ code: WebSocketErrorCode, _ what: String, context: ChannelHandlerContext) {
        let kind: ClientError.Kind = code == .messageTooLarge ? .tooLarge : .protocolViolation
        finish(ClientError(kind, "\(endpoint) sent \(what) on the WebSocket."))
        guard !hasSentClose else { return }
        sendClose(code, context: context, promise: nil)
        context.flush()
    }

    /// The first reason counts; nil is an orderly end.
    private func finish(_ error: ClientError?) {
        guard !isFinished else { return }
        isFinished = true
        end = error
        if let error {
            secured.record(error)
            source.finish(error)
        } else {
            source.finish()
        }
        let receiver = self.receiver
        self.receiver = nil
        receiver?.ended(error)
    }
}
