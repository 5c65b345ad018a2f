import FoundationEssentials
import MusterWire
import NIOConcurrencyHelpers

/// What has happened and is not yet looked at. Everything that gathers while one round is being made durable is the next round.
final class DispatchEvents: Sendable {
    enum Event: Sendable {
        case created(CommandID)
        case cancel(CommandID, nodes: [NodeID]?)
        case connected(NodeID, generation: Int)
        case disconnected(NodeID)
        case deregistered(NodeID)
        case acknowledged(JobID, messageID: UUID?, code: String)
        case sendFailed(CommandID, position: Int, messageID: UUID)
        case reported(JobID, JobReport)
    }

    struct Item: Sendable {
        let event: Event
        /// Told when what follows from the event is durable, or why it is not.
        let done: CheckedContinuation<Void, any Error>?
    }

    private struct State {
        var items: [Item] = []
        var waiter: CheckedContinuation<Void, Never>?
        var isClosed = false
    }

    /// From here on whoever tells something waits until it has been looked at.
    private static let maximumUnawaited = 10_000

    private let state = NIOLockedValueBox(State())

    func add(_ event: Event) {
        add(Item(event: event, done: nil))
    }

    func addAndWait(_ event: Event) async throws {
        try await withCheckedThrowingContinuation { done in add(Item(event: event, done: done)) }
    }

    var isFull: Bool { state.withLockedValue { $0.items.count >= Self.maximumUnawaited } }

    private func add(_ item: Item) {
        let (waiter, isClosed) = state.withLockedValue { state -> (CheckedContinuation<Void, Never>?, Bool) in
            if state.isClosed { return (nil, true) }
            state.items.append(item)
            defer { state.waiter = nil }
            return (state.waiter, false)
        }
        if isClosed { item.done?.resume(throwing: DispatcherStopped()) }
        waiter?.resume()
    }

    /// Open again after a stop: a service may be started twice.
    func open() { state.withLockedValue { $0.isClosed = false } }

    /// Nothing is taken any more, and who waits is told so.
    func close() {
        let items = state.withLockedValue { state -> [Item] in
            state.isClosed = true
            defer { state.items = [] }
            return state.items
        }
        for item in items { item.done?.resume(throwing: DispatcherStopped()) }
    }

    /// All there is; empty when `timeout` has passed first, or the task was cancelled.
    func next(timeout: Duration) async -> [Item] {
        let items = take()
        guard items.isEmpty else { return items }
        await withTaskGroup(of: Void.self) { group in
            group.addTask { await self.wait() }
            group.addTask { try? await Task.sleep(for: timeout) }
            await group.next()
            group.cancelAll()
        }
        return take()
    }

    private func take() -> [Item] {
        state.withLockedValue { state in
            defer { state.items = [] }
            return state.items
        }
    }

    private func wait() async {
        await withTaskCancellationHandler {
            await withCheckedContinuation { waiter in
                let isDue = state.withLockedValue { state -> Bool in
                    if !state.items.isEmpty || Task.isCancelled { return true }
                    state.waiter = waiter
                    return false
                }
                if isDue { waiter.resume() }
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

struct DispatcherStopped: Error, CustomStringConvertible {
    var description: String { "The dispatcher is stopping; what was reported is not kept. Report it again when the controller is back." }
}
