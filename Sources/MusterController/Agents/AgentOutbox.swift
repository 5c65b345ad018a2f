import NIOConcurrencyHelpers
package import NIOCore

/// The frames that wait for one agent, bounded in number and bytes. Whoever sends never waits: a full outbox says no, and
/// the job is offered again later.
///
/// It only counts: what waits does so in the connection itself, which costs nothing while there is nothing to send.
package final class AgentOutbox: Sendable {
    package static let maximumFrames = 64
    package static let maximumBytes = 4 << 20

    /// Hands bytes to the connection; the closure is to be called once they have left, or cannot any more.
    package typealias Post = @Sendable (ByteBuffer, _ written: @escaping @Sendable () -> Void) -> Void

    private struct State {
        var frames = 0
        var bytes = 0
        var isClosed = false
    }

    private let state = NIOLockedValueBox(State())
    private let post: Post

    package init(_ post: @escaping Post) {
        self.post = post
    }

    package var isClosed: Bool {
        state.withLockedValue { $0.isClosed }
    }

    /// False when the outbox is full or closed; the frame was not taken. A frame larger than the limit passes when nothing waits.
    /// Called by the registry only, one call after the other, so frames keep their order.
    package func offer(_ frame: ByteBuffer) -> Bool {
        let size = frame.readableBytes
        let isTaken = state.withLockedValue { state in
            guard !state.isClosed, state.frames < Self.maximumFrames,
                state.frames == 0 || state.bytes + size <= Self.maximumBytes
            else { return false }
            state.frames += 1
            state.bytes += size
            return true
        }
        guard isTaken else { return false }
        post(frame) { [state] in
            state.withLockedValue { state in
                state.frames -= 1
                state.bytes -= size
            }
        }
        return true
    }

    package func close() {
        state.withLockedValue { $0.isClosed = true }
    }
}
