package import Logging
package import MusterTLS
package import MusterWire
import NIOConcurrencyHelpers
package import NIOCore
package import NIOHTTP1

/// One session's stream over any number of WebSocket connections, one after the other. The same for agent and client.
///
///     send ─▶ ReliableStream ─▶ outbox ─▶ one flush for each wake-up ─▶ WebSocket ─▶ relay
///     inbound or receiver ◀─ held while nobody takes it ◀─ ReliableStream ◀─ WebSocket
///
/// - `run` connects, and connects again with back-off; the stream goes on where it was, so that no byte is lost or doubled.
/// - A peer that is silent for `silence` is dead: each connection pings, see `open`.
/// - Back-pressure on the way out: there is `room`, or `send` waits. On the way in: what the reader does not take is held and not
///   acknowledged, so the sender's window closes. As much is held as a window has; what a peer sends beyond it is dropped.
/// - Nothing on the way of data waits for a timer. One is for sending again what was not acknowledged, the other for acknowledgements of
///   keys and their like, which leave with the answer to them, or soon.
///
/// A reader that lives on the event loop gives a `DataChannelReceiver` and gets everything without a change of threads.
package final class DataChannel: Sendable {
    package enum Incoming: Sendable {
        /// - Parameter isLast: the other side sends no more of this (FIN).
        case data(PayloadType, ByteBuffer, isLast: Bool)
        case connected
        case disconnected
        /// The other side is over, in the words of the controller. Nothing follows.
        case channelClosed(output: String)
        /// A frame that is not part of the stream.
        case message(AgentMessage)
    }

    /// The silence after which a connection is given up: two and a half times the pings' interval, looked at when it is reached.
    package static let keepAlive = TimeAmount.seconds(5)
    /// What the reader of `inbound` has not taken yet, before the rest is held.
    private static let queuedBytes = 256 << 10
    /// A channel that lasted this long was a good one.
    private static let goodAfter = Duration.seconds(5)

    private struct State {
        var stream: ReliableStream
        var socket: WebSocketConnection?
        var connection = 0
        var outbox: [AgentMessage] = []
        /// What leaves behind the next of them.
        var acknowledgements = DelayedAcknowledgements()
        var acknowledgementTimer: Scheduled<Void>?
        /// Between the first message of a wake-up and its last: the flush is yet to come.
        var isReading = false
        var isFlushDue = false
        var timer: Scheduled<Void>?

        var isReady = true
        var held: CircularBuffer<AgentMessage> = []
        var heldBytes = 0
        /// What a reader does about one delivery may ask for the next, which then has to wait its turn.
        var isFeeding = false
        weak var receiver: (any DataChannelReceiver)?
        var queue: CircularBuffer<Incoming> = []
        var queuedBytes = 0
        var reader: CheckedContinuation<Incoming?, Never>?

        var senders: [UInt64: CheckedContinuation<Void, Never>] = [:]
        var nextSender: UInt64 = 0
        var socketEnded: CheckedContinuation<Void, Never>?
        var endWatchers: [UInt64: CheckedContinuation<Void, Never>] = [:]
        var end: DataChannelEnd?
    }

    package let inbound = Inbound()
    private let state: NIOLockedValueBox<State>
    private let role: ReliableStream.Role
    private let connect: @Sendable (Int) async throws -> WebSocketConnection
    private let patience: Duration
    private let logger: Logger

    /// - Parameters:
    ///   - connect: opens a connection with `DataChannel.open`, the open text sent. It is told how many connections there were before.
    ///     It throws `DataChannelGone` when there is no use in trying again.
    ///   - patience: how long it tries before it gives up.
    package init(
        role: ReliableStream.Role,
        limits: ReliableStream.Limits,
        patience: Duration = .seconds(300),
        connect: @escaping @Sendable (_ attempt: Int) async throws -> WebSocketConnection,
        logger: Logger
    ) {
        self.role = role
        self.connect = connect
        self.patience = patience
        self.logger = logger
        var stream = ReliableStream(role: role, limits: limits)
        stream.disconnected()
        state = NIOLockedValueBox(State(stream: stream))
        inbound.channel = self
    }

    /// Opens a WebSocket as a data channel wants it, and says the open text.
    package static func open(
        endpoint: Endpoint,
        path: String,
        headers: HTTPHeaders = [:],
        tls: TLSContext,
        text: String,
        group: any EventLoopGroup,
        deadline: NIODeadline
    ) async throws(ClientError) -> WebSocketConnection {
        let socket = try await WebSocketConnection.connect(
            endpoint: endpoint, path: path, headers: headers, tls: tls, maxMessageBytes: AgentMessage.maximumLength, keepAlive: keepAlive,
            delivery: .receiver, group: group, deadline: deadline)
        do {
            try await socket.send(text: text)
        } catch {
            socket.abort()
            throw error
        }
        return socket
    }

    /// Before `run`. The receiver is called on the event loop of the connection; `inbound` then stays empty.
    package func attach(_ receiver: any DataChannelReceiver) {
        state.withLockedValue { $0.receiver = receiver }
    }

    // MARK: Life

    /// Until the other side is over, there is no way back to it, or `close` was called or the task cancelled.
    package func run() async -> DataChannelEnd {
        let end = await serve()
        finish(end)
        return end
    }

    private func serve() async -> DataChannelEnd {
        var backoff = Backoff(base: .milliseconds(200), cap: .seconds(8))
        var attempt = 0
        var last = ContinuousClock.now
        while true {
            if let end = state.withLockedValue({ $0.end }) { return end }
            if Task.isCancelled { return .finished }
            await pause(backoff.next())
            if let end = state.withLockedValue({ $0.end }) { return end }
            if Task.isCancelled { return .finished }
            do {
                let socket = try await connect(attempt)
                attempt += 1
                let opened = ContinuousClock.now
                await converse(on: socket)
                last = ContinuousClock.now
                if last - opened >= Self.goodAfter { backoff = Backoff(base: .milliseconds(200), cap: .seconds(8)) }
            } catch let gone as DataChannelGone {
                return .gone(gone.reason)
            } catch {
                logger.debug("no data channel; trying again", metadata: ["reason": "\(error)"])
                guard ContinuousClock.now - last < patience else { return .gone("\(error)") }
            }
        }
    }

    /// Returns when the connection is over.
    private func converse(on socket: WebSocketConnection) async {
        let number = state.withLockedValue { state in
            state.connection += 1
            return state.connection
        }
        await withTaskCancellationHandler {
            await withCheckedContinuation { (continuation: CheckedContinuation<Void, Never>) in
                let isOver = state.withLockedValue { state in
                    guard state.end == nil else { return true }
                    state.socket = socket
                    state.socketEnded = continuation
                    return false
                }
                guard !isOver else {
                    socket.abort()
                    return continuation.resume()
                }
                socket.eventLoop.execute {
                    self.connected(number)
                    socket.attach(Connection(channel: self, number: number))
                }
            }
        } onCancel: {
            socket.abort()
        }
    }

    private func connected(_ number: Int) {
        let isCurrent = state.withLockedValue { state in
            guard state.connection == number, state.socket != nil else { return false }
            return true
        }
        guard isCurrent else { return }
        // What the receiver says first, an agent's state for instance, goes out before what is sent again.
        tell(.connected)
        state.withLockedValue { state in
            state.outbox.append(contentsOf: state.stream.reconnected(now: .now()))
        }
        // The reader may have become ready while there was no connection.
        feedHeld()
        flush()
        wakeSenders()
    }

    fileprivate func disconnected(_ number: Int, _ error: ClientError?) {
        let (waiting, isNews): (CheckedContinuation<Void, Never>?, Bool) = state.withLockedValue { state in
            guard state.connection == number, state.socket != nil else { return (nil, false) }
            defer { state.socketEnded = nil }
            state.socket = nil
            state.stream.disconnected()
            state.timer?.cancel()
            state.timer = nil
            // What was not written is in the stream, and is sent again from there.
            state.outbox = []
            state.acknowledgements = DelayedAcknowledgements()
            state.isReading = false
            return (state.socketEnded, state.end == nil)
        }
        if let error {
            logger.debug("the data channel was interrupted", metadata: ["reason": "\(error)"])
            // The other side said no in words (policy violation): it will not say anything else the next time.
            if error.kind == .denied { finish(.gone(error.description)) }
        }
        if isNews { tell(.disconnected) }
        waiting?.resume()
    }

    /// Sends what is waiting, then closes the connection without any more words. `run` returns.
    package func close() async { end() }

    package func end() {
        flush(all: true)
        finish(.finished)
    }

    private func finish(_ end: DataChannelEnd) {
        let (socket, watchers): (WebSocketConnection?, [CheckedContinuation<Void, Never>]) = state.withLockedValue { state in
            guard state.end == nil else { return (state.socket, []) }
            state.end = end
            state.timer?.cancel()
            state.timer = nil
            defer { state.endWatchers = [:] }
            return (state.socket, Array(state.endWatchers.values))
        }
        socket?.abort()
        for watcher in watchers { watcher.resume() }
        wakeSenders()
        wakeReader()
    }

    /// Returns early when the channel is over.
    private func pause(_ duration: Duration) async {
        guard duration > .zero else { return }
        await withTaskGroup(of: Void.self) { group in
            group.addTask { try? await Task.sleep(for: duration) }
            group.addTask { await self.awaitEnd() }
            await group.next()
            group.cancelAll()
        }
    }

    private func awaitEnd() async {
        let ticket = state.withLockedValue { state in
            state.nextSender += 1
            return state.nextSender
        }
        await withTaskCancellationHandler {
            await withCheckedContinuation { (continuation: CheckedContinuation<Void, Never>) in
                let isOver = state.withLockedValue { state in
                    if state.end != nil || Task.isCancelled { return true }
                    state.endWatchers[ticket] = continuation
                    return false
                }
                if isOver { continuation.resume() }
            }
        } onCancel: {
            state.withLockedValue { $0.endWatchers.removeValue(forKey: ticket) }?.resume()
        }
    }

    // MARK: Out

    package var isConnected: Bool { state.withLockedValue { $0.socket != nil } }

    /// Everything that was sent has been acknowledged.
    package var isDrained: Bool { state.withLockedValue { $0.stream.isDrained } }

    package var unacknowledgedBytes: Int { state.withLockedValue { $0.stream.unacknowledgedBytes } }

    /// The controller said that the other side is away.
    package var isPaused: Bool { state.withLockedValue { $0.stream.isPaused } }

    /// How many bytes `write` takes now.
    package var room: Int { state.withLockedValue { $0.end == nil ? $0.stream.room : 0 } }

    /// Suspends while there is no room.
    package func send(_ type: PayloadType, _ payload: ByteBuffer, isLast: Bool = false) async throws {
        var rest = payload
        while true {
            let isAccepted: Bool = try state.withLockedValue { state in
                if state.end != nil { throw ClientError(.closed, "The session is over.") }
                guard state.stream.room > 0 else { return false }
                Self.take(&rest, type, isLast: isLast, &state)
                return rest.readableBytes == 0
            }
            flushUnlessReading()
            if isAccepted { return }
            try await awaitRoom()
        }
    }

    /// Takes what there is room for, without waiting, and leaves the rest. True when nothing is left.
    package func write(_ type: PayloadType, _ payload: inout ByteBuffer, isLast: Bool = false) -> Bool {
        let isDone = state.withLockedValue { state in
            guard state.end == nil, state.stream.room > 0 else { return false }
            Self.take(&payload, type, isLast: isLast, &state)
            return payload.readableBytes == 0
        }
        flushUnlessReading()
        return isDone
    }

    private static func take(_ payload: inout ByteBuffer, _ type: PayloadType, isLast: Bool, _ state: inout State) {
        let part = payload.readSlice(length: min(payload.readableBytes, state.stream.room)) ?? ByteBuffer()
        let flags: UInt64 = isLast && payload.readableBytes == 0 ? ReliableStream.isLast : 0
        state.outbox.append(contentsOf: state.stream.send(type, part, flags: flags, now: .now(), date: .now()))
    }

    /// What is written within leaves with one flush. On the event loop.
    package func together(_ body: () -> Void) {
        let isWithin = state.withLockedValue { state in
            defer { state.isReading = true }
            return state.isReading
        }
        body()
        guard !isWithin else { return }
        state.withLockedValue { $0.isReading = false }
        flushUnlessReading()
    }

    /// A frame beside the stream, sent once and only while there is a connection. False when there is none.
    @discardableResult
    package func post(_ message: AgentMessage) -> Bool {
        let isSent = state.withLockedValue { state in
            guard state.socket != nil, state.end == nil else { return false }
            state.outbox.append(message)
            return true
        }
        flushUnlessReading()
        return isSent
    }

    /// False when the time was over, or the channel, before everything was acknowledged.
    package func drain(within duration: Duration) async -> Bool {
        await withTaskGroup(of: Void.self) { group in
            group.addTask { try? await Task.sleep(for: duration) }
            group.addTask {
                while !Task.isCancelled, !self.isDrained, self.state.withLockedValue({ $0.end == nil }) {
                    try? await self.awaitRoom(orDrained: true)
                }
            }
            await group.next()
            group.cancelAll()
        }
        return isDrained
    }

    private func awaitRoom(orDrained: Bool = false) async throws {
        let ticket = state.withLockedValue { state in
            state.nextSender += 1
            return state.nextSender
        }
        await withTaskCancellationHandler {
            await withCheckedContinuation { (continuation: CheckedContinuation<Void, Never>) in
                let isDone = state.withLockedValue { state in
                    let isThere = orDrained ? state.stream.isDrained : state.stream.room > 0
                    if state.end != nil || isThere || Task.isCancelled { return true }
                    state.senders[ticket] = continuation
                    return false
                }
                if isDone { continuation.resume() }
            }
        } onCancel: {
            state.withLockedValue { $0.senders.removeValue(forKey: ticket) }?.resume()
        }
        try Task.checkCancellation()
    }

    private func wakeSenders() {
        let (waiting, receiver): ([CheckedContinuation<Void, Never>], (any DataChannelReceiver)?) = state.withLockedValue { state in
            let waiting = Array(state.senders.values)
            state.senders.removeAll(keepingCapacity: true)
            return (waiting, state.end == nil ? state.receiver : nil)
        }
        for sender in waiting { sender.resume() }
        receiver?.acknowledged()
    }

    private func flushUnlessReading() {
        let socket: WebSocketConnection? = state.withLockedValue { state in
            // Acknowledgements alone need their timer.
            let isSomethingLeft = !state.outbox.isEmpty || !state.acknowledgements.isEmpty && state.acknowledgementTimer == nil
            guard !state.isReading, !state.isFlushDue, isSomethingLeft, let socket = state.socket else { return nil }
            if !socket.eventLoop.inEventLoop { state.isFlushDue = true }
            return socket
        }
        guard let socket else { return }
        if socket.eventLoop.inEventLoop { flush() } else { socket.eventLoop.execute { self.flush() } }
    }

    /// - Parameter all: acknowledgements leave also when there is nothing else.
    private func flush(all: Bool = false) {
        let (socket, frames): (WebSocketConnection?, [AgentMessage]) = state.withLockedValue { state in
            state.isFlushDue = false
            guard let socket = state.socket else { return (nil, []) }
            state.outbox.append(contentsOf: state.stream.flushed(now: .now()))
            // Behind the data, for which somebody waits.
            if all || !state.outbox.isEmpty || state.acknowledgements.areDue { state.outbox += state.acknowledgements.take() }
            defer { state.outbox = [] }
            return (socket, state.outbox)
        }
        guard let socket else { return }
        if !frames.isEmpty { socket.send(frames: frames) }
        armTimers(on: socket.eventLoop)
    }

    /// One timer each, and only while something is unacknowledged: it is not moved with each frame, but looks when it fires.
    private func armTimers(on loop: any EventLoop) {
        state.withLockedValue { state in
            guard state.end == nil else { return }
            if state.timer == nil, let deadline = state.stream.nextDeadline {
                state.timer = loop.scheduleTask(deadline: deadline) { [weak self] in self?.timerFired() }
            }
            if state.acknowledgementTimer == nil, !state.acknowledgements.isEmpty {
                state.acknowledgementTimer = loop.scheduleTask(in: DelayedAcknowledgements.longest) { [weak self] in
                    self?.state.withLockedValue { $0.acknowledgementTimer = nil }
                    self?.flush(all: true)
                }
            }
        }
    }

    private func timerFired() {
        state.withLockedValue { state in
            state.timer = nil
            guard state.socket != nil else { return }
            state.outbox.append(contentsOf: state.stream.due(now: .now()))
        }
        flush()
    }

    // MARK: In

    /// From now on, `deliver` is not called with data until `resumeDelivery`. On the event loop, for a receiver.
    package func pauseDelivery() {
        state.withLockedValue { $0.isReady = false }
    }

    package func resumeDelivery() {
        let loop: (any EventLoop)? = state.withLockedValue { state in
            state.isReady = true
            return state.held.isEmpty ? nil : state.socket?.eventLoop
        }
        guard let loop else { return }
        if loop.inEventLoop { feedHeld() } else { loop.execute { self.feedHeld() } }
    }

    fileprivate func received(_ message: ByteBuffer, on number: Int) {
        var message = message
        let frame: AgentMessage
        do {
            frame = try message.readAgentMessage()
        } catch {
            // A frame that was damaged is sent again, as any that is not acknowledged.
            logger.warning("dropping a frame of the data channel", metadata: ["reason": "\(error)"])
            return
        }
        switch frame.messageType {
        case .acknowledge, .startPublication, .pausePublication:
            let failure = state.withLockedValue { state -> StreamFailure? in
                guard state.connection == number else { return nil }
                state.isReading = true
                let step = state.stream.received(frame, isReady: true, now: .now(), date: .now())
                state.outbox.append(contentsOf: step.send)
                return step.failure
            }
            if let failure { fail(failure) }
        case role.incoming:
            data(frame, number)
        case .channelClosed:
            let closed = try? frame.decodePayload(ChannelClosed.self)
            let output = closed?.output ?? ""
            tell(.channelClosed(output: output))
            finish(.closed(output: output))
        default:
            tell(.message(frame))
        }
    }

    private func data(_ frame: AgentMessage, _ number: Int) {
        state.withLockedValue { state in
            guard state.connection == number, state.end == nil else { return }
            state.isReading = true
            let isNext = state.held.isEmpty && Self.isReady(state)
            let bytes = frame.payload.readableBytes
            // Never less than a window: the peer would have to repeat every frame that was dropped.
            guard isNext || state.heldBytes + bytes <= state.stream.limits.maximumUnacknowledgedBytes,
                state.held.count < state.stream.limits.maximumReordered
            else { return }
            // What is held gets a copy of its own: the message may be a slice of something much larger.
            state.held.append(isNext ? frame : frame.holdingLittle())
            state.heldBytes += bytes
        }
        feedHeld()
    }

    private static func isReady(_ state: State) -> Bool {
        state.receiver == nil ? state.queuedBytes < queuedBytes : state.isReady
    }

    /// Everything that comes in goes this way, one frame after the other. On the event loop.
    private func feedHeld() {
        let isFeeding = state.withLockedValue { state in
            defer { state.isFeeding = true }
            return state.isFeeding
        }
        guard !isFeeding else { return }
        while true {
            let next: ReliableStream.Step? = state.withLockedValue { state in
                guard state.end == nil, Self.isReady(state), let frame = state.held.popFirst() else {
                    state.isFeeding = false
                    return nil
                }
                state.heldBytes -= frame.payload.readableBytes
                let step = state.stream.received(frame, isReady: true, now: .now(), date: .now())
                state.outbox += state.acknowledgements.delay(step.send, of: frame)
                return step
            }
            guard let next else { break }
            for delivery in next.deliver {
                tell(.data(delivery.type, delivery.payload, isLast: delivery.flags & ReliableStream.isLast != 0))
            }
            if let failure = next.failure { fail(failure) }
        }
        flushUnlessReading()
    }

    fileprivate func receivedEverything(on number: Int) {
        let isCurrent = state.withLockedValue { state in
            guard state.connection == number else { return false }
            state.isReading = false
            return true
        }
        guard isCurrent else { return }
        flush()
        wakeSenders()
        flushUnlessReading()
    }

    private func fail(_ failure: StreamFailure) {
        logger.warning("the stream of the session has failed", metadata: ["reason": "\(failure)"])
        finish(.gone("\(failure)"))
    }

    private func tell(_ incoming: Incoming) {
        let (receiver, reader): ((any DataChannelReceiver)?, CheckedContinuation<Incoming?, Never>?) = state.withLockedValue { state in
            if let receiver = state.receiver { return (receiver, nil) }
            if let reader = state.reader {
                state.reader = nil
                return (nil, reader)
            }
            state.queue.append(incoming)
            state.queuedBytes += incoming.weight
            return (nil, nil)
        }
        receiver?.deliver(incoming)
        reader?.resume(returning: incoming)
    }

    private func wakeReader() {
        let reader = state.withLockedValue { state in
            defer { state.reader = nil }
            return state.queue.isEmpty ? state.reader : nil
        }
        reader?.resume(returning: nil)
    }

    fileprivate func next() async -> Incoming? {
        await withTaskCancellationHandler {
            await withCheckedContinuation { (continuation: CheckedContinuation<Incoming?, Never>) in
                enum Outcome { case now(Incoming?), later }
                let (outcome, loop): (Outcome, (any EventLoop)?) = state.withLockedValue { state in
                    if let first = state.queue.popFirst() {
                        state.queuedBytes -= first.weight
                        let mayGoOn = !state.held.isEmpty && state.queuedBytes < Self.queuedBytes / 2
                        return (.now(first), mayGoOn ? state.socket?.eventLoop : nil)
                    }
                    if state.end != nil || Task.isCancelled { return (.now(nil), nil) }
                    state.reader = continuation
                    return (.later, state.held.isEmpty ? nil : state.socket?.eventLoop)
                }
                if let loop { loop.execute { self.feedHeld() } }
                if case .now(let incoming) = outcome { continuation.resume(returning: incoming) }
            }
        } onCancel: {
            let reader = state.withLockedValue { state in
                defer { state.reader = nil }
                return state.reader
            }
            reader?.resume(returning: nil)
        }
    }

    // MARK: Types

    /// For one reader. Ends when the channel is over and everything has been read.
    package final class Inbound: AsyncSequence, Sendable {
        package typealias Element = Incoming
        package typealias Failure = Never
        private let owner = NIOLockedValueBox<WeakChannel>(WeakChannel())

        fileprivate var channel: DataChannel? {
            get { owner.withLockedValue { $0.channel } }
            set { owner.withLockedValue { $0.channel = newValue } }
        }

        package struct AsyncIterator: AsyncIteratorProtocol {
            fileprivate let channel: DataChannel?

            package mutating func next() async -> Incoming? { await channel?.next() }

            package mutating func next(isolation actor: isolated (any Actor)?) async -> Incoming? { await channel?.next() }
        }

        package func makeAsyncIterator() -> AsyncIterator { AsyncIterator(channel: channel) }
    }

    private struct WeakChannel {
        weak var channel: DataChannel?
    }

    /// Says which connection a message came on: a former one has nothing to say any more.
    private final class Connection: WebSocketReceiver {
        private let channel: DataChannel
        private let number: Int

        init(channel: DataChannel, number: Int) {
            self.channel = channel
            self.number = number
        }

        func received(_ message: ByteBuffer) { channel.received(message, on: number) }
        func receivedEverything() { channel.receivedEverything(on: number) }
        func ended(_ error: ClientError?) { channel.disconnected(number, error) }
    }
}

/// Gets what comes in on the event loop of the connection, in order.
package protocol DataChannelReceiver: AnyObject, Sendable {
    func deliver(_ incoming: DataChannel.Incoming)
    /// There may be more room, or everything may be acknowledged.
    func acknowledged()
}

/// How a data channel ended.
package enum DataChannelEnd: Sendable, Hashable {
    /// The controller said so, in these words.
    case closed(output: String)
    /// There is no way back to the session.
    case gone(String)
    /// `close` was called, or the task cancelled.
    case finished
}

/// Thrown by `connect`: the session does not exist any more.
package struct DataChannelGone: Error, Sendable {
    package let reason: String

    package init(_ reason: String) { self.reason = reason }
}

extension DataChannel.Incoming {
    fileprivate var weight: Int {
        guard case .data(_, let payload, _) = self else { return 64 }
        return payload.readableBytes + 64
    }
}
