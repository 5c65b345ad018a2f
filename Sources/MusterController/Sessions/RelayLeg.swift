internal import NIOConcurrencyHelpers
internal import NIOCore

/// One WebSocket of a session, the client's or the agent's, as the relay and the broker see it.
///
/// Frames for it wait in a queue that whoever sends can append to from any thread; the connection's own loop takes them out, all that
/// are there at once, with one flush. When too much waits, the leg from which it came is not read from until it has drained: a slow
/// client slows the agent, and the controller holds no more than the bound.
package final class RelayLeg: Sendable {
    /// More than this, and the other leg is not read from; it goes on below the lower one.
    static let highWater = 1 << 20
    static let lowWater = 1 << 18

    private struct State {
        var queue = CircularBuffer<ByteBuffer>()
        var queuedBytes = 0
        var isDrainScheduled = false
        var isClosed = false
        /// The legs that wait for room here, at most one of each side: the other one, and this one itself for the answers to it.
        var waiters: [SessionSide: RelayLeg] = [:]

        /// Nobody waits any more.
        mutating func takeWaiters() -> [RelayLeg] {
            guard !waiters.isEmpty else { return [] }
            defer { waiters = [:] }
            return Array(waiters.values)
        }
    }

    /// What the connection can be asked for; called on any thread.
    struct Connection: Sendable {
        let drain: @Sendable () -> Void
        let resumeReading: @Sendable () -> Void
        let attach: @Sendable (RelayLeg, SessionRelay) -> Void
        /// After what waits has been sent, or after a while without it.
        let close: @Sendable (WebSocketPeer.CloseCode, String) -> Void
    }

    package let side: SessionSide
    package let remoteAddress: String
    private let connection: Connection
    private let state = NIOLockedValueBox(State())

    init(side: SessionSide, remoteAddress: String, connection: Connection) {
        self.side = side
        self.remoteAddress = remoteAddress
        self.connection = connection
    }

    // MARK: From the relay

    /// Queues a frame. True when the source has to stop reading; it is woken when there is room.
    func offer(_ frame: ByteBuffer, from source: RelayLeg?) -> Bool {
        let (wakes, isFull) = state.withLockedValue { state -> (Bool, Bool) in
            guard !state.isClosed else { return (false, false) }
            state.queue.append(frame)
            state.queuedBytes += frame.readableBytes
            defer { state.isDrainScheduled = true }
            guard state.queuedBytes >= Self.highWater, let source else { return (!state.isDrainScheduled, false) }
            state.waiters[source.side] = source
            return (!state.isDrainScheduled, true)
        }
        if wakes { connection.drain() }
        return isFull
    }

    func attach(to relay: SessionRelay) { connection.attach(self, relay) }

    func close(_ code: WebSocketPeer.CloseCode, reason: String) { connection.close(code, reason) }

    /// What has not been sent, for the leg that takes this one's place.
    func takeQueue() -> [ByteBuffer] {
        let (frames, waiters) = state.withLockedValue { state -> ([ByteBuffer], [RelayLeg]) in
            defer {
                state.queue = CircularBuffer()
                state.queuedBytes = 0
            }
            return (Array(state.queue), state.takeWaiters())
        }
        for waiter in waiters { waiter.connection.resumeReading() }
        return frames
    }

    // MARK: From the connection's loop

    /// The next frames to write, one after the other until it says nil; the first call of a wake-up says so.
    func next(isFirst: Bool) -> ByteBuffer? {
        let (frame, waiters) = state.withLockedValue { state -> (ByteBuffer?, [RelayLeg]) in
            if isFirst { state.isDrainScheduled = false }
            guard let frame = state.queue.popFirst() else { return (nil, []) }
            state.queuedBytes -= frame.readableBytes
            return (frame, state.queuedBytes <= Self.lowWater ? state.takeWaiters() : [])
        }
        for waiter in waiters { waiter.connection.resumeReading() }
        return frame
    }

    /// The connection takes nothing now, and comes back by itself when it does: nobody has to wake it.
    func drainPostponed() { state.withLockedValue { $0.isDrainScheduled = true } }

    var isDrained: Bool { state.withLockedValue { $0.queue.isEmpty } }

    /// The connection has ended: nobody may wait for it.
    func closed() {
        let waiters = state.withLockedValue { state in
            state.isClosed = true
            return state.takeWaiters()
        }
        for waiter in waiters { waiter.connection.resumeReading() }
    }
}
