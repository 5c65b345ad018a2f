internal import NIOConcurrencyHelpers

/// When the connection of a request closes, for those who keep the request waiting. Nobody stays on the list after its request, however
/// many requests the connection carries.
package final class ConnectionEnd: Sendable {
    package struct Watch: Sendable {
        fileprivate let number: UInt64
    }

    private struct State {
        var isReached = false
        var last: UInt64 = 0
        var watchers: [UInt64: @Sendable () -> Void] = [:]
    }

    private let state = NIOLockedValueBox(State())

    package init() {}

    /// Calls `body` once, now if the connection has closed before.
    package func notify(_ body: @escaping @Sendable () -> Void) -> Watch {
        let (watch, isReached) = state.withLockedValue { state in
            state.last += 1
            if !state.isReached { state.watchers[state.last] = body }
            return (Watch(number: state.last), state.isReached)
        }
        if isReached { body() }
        return watch
    }

    package func forget(_ watch: Watch) {
        state.withLockedValue { _ = $0.watchers.removeValue(forKey: watch.number) }
    }

    package func reached() {
        let watchers = state.withLockedValue { state in
            state.isReached = true
            defer { state.watchers = [:] }
            return state.watchers
        }
        for body in watchers.values { body() }
    }
}
