import NIOConcurrencyHelpers

/// The end of a child process, for any number of waiters.
final class Exit: Sendable {
    private enum State {
        case running([CheckedContinuation<Int32, Never>])
        case ended(Int32)
    }

    private let state = NIOLockedValueBox(State.running([]))

    var isRunning: Bool {
        state.withLockedValue { if case .running = $0 { true } else { false } }
    }

    func ended(_ status: Int32) {
        let waiters = state.withLockedValue { state -> [CheckedContinuation<Int32, Never>] in
            guard case .running(let waiters) = state else { return [] }
            state = .ended(status)
            return waiters
        }
        for waiter in waiters { waiter.resume(returning: status) }
    }

    func wait() async -> Int32 {
        await withCheckedContinuation { waiter in
            let status = state.withLockedValue { state -> Int32? in
                switch state {
                case .ended(let status): return status
                case .running(let waiters):
                    state = .running(waiters + [waiter])
                    return nil
                }
            }
            if let status { waiter.resume(returning: status) }
        }
    }
}
