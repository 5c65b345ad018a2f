import NIOConcurrencyHelpers
package import NIOCore

/// The frames that wait for one agent, bounded in number and bytes. Whoever sends never waits: a full outbox says no, and
/// the job is offered again later.
package final class AgentOutbox: Sendable {
    package static let maximumFrames = 64
    package static let maximumBytes = 4 << 20

    private struct State {
        var frames = 0
        var bytes = 0
        var isClosed = false
    }

    private let state = NIOLockedValueBox(State())
    private let continuation: AsyncStream<ByteBuffer>.Continuation
    private let stream: AsyncStream<ByteBuffer>

    package init() {
        (stream, continuation) = AsyncStream.makeStream(of: ByteBuffer.self, bufferingPolicy: .unbounded)
    }

    package var isClosed: Bool {
        state.withLockedValue { $0.isClosed }
    }

    /// False when the outbox is full or closed; the frame was not taken. A frame larger than the limit passes when nothing waits.
    package func offer(_ frame: ByteBuffer) -> Bool {
        let size = frame.readableBytes
        return state.withLockedValue { state in
            guard !state.isClosed, state.frames < Self.maximumFrames,
                state.frames == 0 || state.bytes + size <= Self.maximumBytes
            else { return false }
            state.frames += 1
            state.bytes += size
            // Inside the lock, so that frames keep their order.
            continuation.yield(frame)
            return true
        }
    }

    package func close() {
        state.withLockedValue { $0.isClosed = true }
        continuation.finish()
    }

    /// Hands over frame after frame until the outbox is closed or `send` fails. Called once.
    package func drain(_ send: (ByteBuffer) async throws -> Void) async rethrows {
        for await frame in stream {
            if isClosed { return }
            try await send(frame)
            state.withLockedValue { state in
                state.frames -= 1
                state.bytes -= frame.readableBytes
            }
        }
    }
}
