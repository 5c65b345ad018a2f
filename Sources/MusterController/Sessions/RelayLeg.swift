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
        /// The leg that waits for room here.
        var waiter: RelayLeg?
    }

    /// What the connection can be asked for; called on any thread.
    struct Connection: Sendable {
        let drain: @Sendable () -> Void
        let resumeReading: @Sendable () -> Void
        let attach: @Sendable (SessionRelay) -> Void
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
            let isFull = state.queuedBytes >= Self.highWater && source != nil
            if isFull { state.waiter = source }
            defer { state.isDrainScheduled = true }
            return (!state.isDrainScheduled, isFull)
        }
        if wakes { connection.drain() }
        return isFull
    }

    func attach(to relay: SessionRelay) { connection.attach(relay) }

    func close(_ code: WebSocketPeer.CloseCode, reason: String) { connection.close(code, reason) }

    /// What has not been sent, for the leg that takes this one's place.
    func takeQueue() -> [ByteBuffer] {
        let (frames, waiter) = state.withLockedValue { state -> ([ByteBuffer], RelayLeg?) in
            defer {
                state.queue = CircularBuffer()
                state.queuedBytes = 0
                state.waiter = nil
            }
            return (Array(state.queue), state.waiter)
        }
        waiter?.connection.resumeReading()
        return frames
    }

    // MARK: From the connection's loop

    /// The next frames to write, one after the other until it says nil; the first call of a wake-up says so.
    func next(isFirst: Bool) -> ByteBuffer? {
        let (frame, waiter) = state.withLockedValue { state -> (ByteBuffer?, RelayLeg?) in
            if isFirst { state.isDrainScheduled = false }
            guard let frame = state.queue.popFirst() else { return (nil, nil) }
            state.queuedBytes -= frame.readableBytes
            guard state.queuedBytes <= Self.lowWater, let waiter = state.waiter else { return (frame, nil) }
            state.waiter = nil
            return (frame, waiter)
        }
        waiter?.connection.resumeReading()
        return frame
    }

    /// The connection takes nothing now, and comes back by itself when it does: nobody has to wake it.
    func drainPostponed() { state.withLockedValue { $0.isDrainScheduled = true } }

    var isDrained: Bool { state.withLockedValue { $0.queue.isEmpty } }

    /// The connection has ended: nobody may wait for it.
    func closed() {
        let waiter = state.withLockedValue { state -> RelayLeg? in
            state.isClosed = true
            defer { state.waiter = nil }
            return state.waiter
        }
        waiter?.connection.resumeReading()
    }
}
