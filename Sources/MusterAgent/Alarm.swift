import NIOConcurrencyHelpers

/// Wakes one waiting service early. Ringing twice before anyone looks is the same as ringing once.
package final class Alarm: Sendable {
    private struct State {
        var isRung = false
        var waiter: CheckedContinuation<Void, Never>?
    }

    private let state = NIOLockedValueBox(State())

    package init() {}

    package func ring() {
        let waiter = state.withLockedValue { state in
            state.isRung = state.waiter == nil
            defer { state.waiter = nil }
            return state.waiter
        }
        waiter?.resume()
    }

    /// Returns true when it rang, false when the time was over or the task was cancelled.
    package func wait(for duration: Duration) async -> Bool {
        await withTaskGroup(of: Bool.self) { group in
            group.addTask { await self.rung() }
            group.addTask {
                try? await Task.sleep(for: duration)
                return false
            }
            let rang = await group.next() ?? false
            group.cancelAll()
            // If it rings at this very moment, the other child knows.
            let late = await group.next() ?? false
            return rang || late
        }
    }

    private func rung() async -> Bool {
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let mayGoOn = state.withLockedValue { state in
                    if state.isRung || Task.isCancelled { return true }
                    state.waiter = continuation
                    return false
                }
                if mayGoOn { continuation.resume() }
            }
            return state.withLockedValue { state in
                defer { state.isRung = false }
                return state.isRung || !Task.isCancelled
            }
        } onCancel: {
            let waiter = state.withLockedValue { state in
                defer { state.waiter = nil }
                return state.waiter
            }
            waiter?.resume()
        }
    }
}
