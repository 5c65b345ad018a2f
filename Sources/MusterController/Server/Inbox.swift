internal import NIOConcurrencyHelpers
internal import NIOCore

/// The messages of one connection that wait for its receiver.
///
/// It wakes its owner when there is something to do, and only then; `work` does all there is and returns. The event loop adds,
/// one task at a time takes.
final class Inbox: Sendable {
    private static let maximumMessages = 64
    private static let maximumBytes = 2 << 20

    private struct State {
        var waiting: [WebSocketPeer.Message] = []
        var bytes = 0
        /// From the wake on, until there is nothing left. A new connection has its beginning to do.
        var isWorking = true
        var hasBegun = false
        /// Nothing more comes.
        var isFinished = false
        var isOver = false
        /// The socket is not read from before there is room again.
        var isHeldBack = false

        var isFull: Bool { waiting.count >= Inbox.maximumMessages || bytes >= Inbox.maximumBytes }
    }

    private enum Step {
        case begin
        case message(WebSocketPeer.Message)
        case end
    }

    private let receiver: any MessageReceiver
    private let wake: @Sendable (Inbox) -> Void
    /// There is room again for a reader that was held back.
    private let resume: @Sendable () -> Void
    private let state = NIOLockedValueBox(State())

    init(_ receiver: any MessageReceiver, wake: @escaping @Sendable (Inbox) -> Void, resume: @escaping @Sendable () -> Void) {
        self.receiver = receiver
        self.wake = wake
        self.resume = resume
    }

    // MARK: The event loop's side

    func add(_ message: WebSocketPeer.Message) {
        let isIdle = state.withLockedValue { state in
            guard !state.isFinished else { return false }
            state.waiting.append(message)
            state.bytes += message.byteCount
            defer { state.isWorking = true }
            return !state.isWorking
        }
        if isIdle { wake(self) }
    }

    /// What has been added is still received.
    func finish() {
        let isIdle = state.withLockedValue { state in
            guard !state.isFinished else { return false }
            state.isFinished = true
            defer { state.isWorking = true }
            return !state.isWorking
        }
        if isIdle { wake(self) }
    }

    /// Whether more may be read. If not, `resume` is called once there is room.
    func hasRoom() -> Bool {
        state.withLockedValue { state in
            state.isHeldBack = state.isFull
            return !state.isFull
        }
    }

    // MARK: The receiver's side

    /// True when the end has been told as well.
    func work() async -> Bool {
        var done = 0
        while let step = next() {
            done += 1
            // Few threads do the work of all connections, and a sender that is faster than its messages are dealt with would keep one.
            if done % Self.maximumMessages == 0 { await Task.yield() }
            switch step {
            case .begin:
                await receiver.began()
            case .message(let message):
                if await !receiver.received(message) { abandon() }
            case .end:
                await receiver.ended()
                return true
            }
        }
        return false
    }

    private func next() -> Step? {
        let (step, hasRoom) = state.withLockedValue { state -> (Step?, Bool) in
            if !state.hasBegun {
                state.hasBegun = true
                return (.begin, false)
            }
            if !state.waiting.isEmpty {
                let message = state.waiting.removeFirst()
                if state.waiting.isEmpty { state.waiting = [] }  // lets go of the memory
                state.bytes -= message.byteCount
                defer { state.isHeldBack = state.isHeldBack && state.isFull }
                return (.message(message), state.isHeldBack && !state.isFull)
            }
            if state.isFinished, !state.isOver {
                state.isOver = true
                return (.end, false)
            }
            state.isWorking = false
            return (nil, false)
        }
        if hasRoom { resume() }
        return step
    }

    /// The receiver wants no more.
    private func abandon() {
        state.withLockedValue { state in
            state.isFinished = true
            state.waiting = []
            state.bytes = 0
        }
    }
}

extension WebSocketPeer.Message {
    fileprivate var byteCount: Int {
        switch self {
        case .text(let text): text.utf8.count
        case .binary(let bytes): bytes.readableBytes
        }
    }
}
