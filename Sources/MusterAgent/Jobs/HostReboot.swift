package import Logging
package import MusterWire
import NIOConcurrencyHelpers

/// Reboots the host when steps ask for it: when nothing else runs here any more, or after a bound.
///
/// Jobs whose step exited with 194 wait here. Usually the wait ends with the process: the next agent finds another boot id and runs
/// the step again. What comes back from `wait` is a reboot that did not come about.
package final class HostReboot: Sendable {
    package struct Settings: Sendable {
        package var command: [String]
        /// For the other jobs of this node to end. What still runs then is interrupted by the reboot.
        package var waitForOthers: Duration
        /// Between two starts of the command, and after the last before the step counts as failed.
        package var patience: Duration

        package init(command: [String], waitForOthers: Duration = .seconds(600), patience: Duration = .seconds(300)) {
            self.command = command
            self.waitForOthers = waitForOthers
            self.patience = patience
        }
    }

    package enum End: Sendable, Equatable {
        /// The agent stops; the next one goes on from here.
        case stopped
        case cancelled
        case failed(String)
    }

    package static let maximumAsks = 3

    private struct Waiter {
        var asks: Int
        var continuation: CheckedContinuation<End, Never>
    }

    private struct State {
        var waiters: [CommandID: Waiter] = [:]
        var isDriven = false
    }

    private let settings: Settings
    private let logger: Logger
    private let state = NIOLockedValueBox(State())
    private let alarm = Alarm()

    package init(_ settings: Settings, logger: Logger) {
        self.settings = settings
        self.logger = logger
    }

    /// While one is due, nothing new is to be started.
    package var isDue: Bool { state.withLockedValue { !$0.waiters.isEmpty } }

    package func isWaiting(_ id: CommandID) -> Bool { state.withLockedValue { $0.waiters[id] != nil } }

    /// True when somebody waits and nobody has `drive` running: the caller then is the one to do so.
    package func takesDriver() -> Bool {
        state.withLockedValue { state in
            guard !state.isDriven, !state.waiters.isEmpty else { return false }
            state.isDriven = true
            return true
        }
    }

    /// - Parameters:
    ///   - asks: how often the command has been started for this already, on this boot.
    ///   - registered: called when the job is among those that wait.
    package func wait(_ id: CommandID, asks: Int, registered: () -> Void) async -> End {
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                state.withLockedValue { $0.waiters[id] = Waiter(asks: asks, continuation: continuation) }
                if Task.isCancelled { release(id, .stopped) }
                registered()
                alarm.ring()
            }
        } onCancel: {
            release(id, .stopped)
        }
    }

    package func cancel(_ id: CommandID) { release(id, .cancelled) }

    /// Some other job has ended.
    package func othersChanged() { if isDue { alarm.ring() } }

    /// - Parameters:
    ///   - others: how many jobs run that do not wait for the reboot.
    ///   - mark: makes durable that the command is started for these jobs, for that many times.
    package func drive(others: @Sendable () -> Int, mark: @Sendable ([CommandID], Int) async throws -> Void) async {
        defer { state.withLockedValue { $0.isDriven = false } }
        await pause(settings.waitForOthers, while: { others() > 0 })
        while !Task.isCancelled {
            let (ids, asks) = state.withLockedValue { state in (state.waiters.keys.sorted(), state.waiters.values.map(\.asks).max() ?? 0) }
            guard !ids.isEmpty else { return }
            guard asks < Self.maximumAsks else {
                // The last try may have been that of an agent before this one.
                await pause(settings.patience, while: { true })
                if !Task.isCancelled { fail("It was asked to reboot \(asks) times, and did not.") }
                return
            }
            do {
                try await mark(ids, asks + 1)
            } catch {
                return fail("It was not rebooted, because this could not be written down: \(error)")
            }
            state.withLockedValue { state in for id in ids { state.waiters[id]?.asks = asks + 1 } }
            logger.notice("rebooting the host", metadata: ["for": "\(ids.map(\.rawValue).joined(separator: ", "))", "try": "\(asks + 1)"])
            let name = settings.command.first ?? ""
            switch await HostCommand(settings.command).run(atMost: settings.patience) {
            case .exited(0): await pause(settings.patience, while: { true })
            case .ranTooLong: break
            case .abandoned: return
            case .exited(let status): return fail("It could not be rebooted: \(name) ended with exit status \(status).")
            case .notStarted(let reason): return fail("It could not be rebooted: cannot start \(name): \(reason)")
            }
        }
    }

    /// Until the time is over, nobody waits any more, or there is no need.
    private func pause(_ duration: Duration, while isNeeded: () -> Bool) async {
        let end = ContinuousClock.now + duration
        while !Task.isCancelled, isDue, isNeeded() {
            let left = end - .now
            guard left > .zero else { return }
            _ = await alarm.wait(for: left)
        }
    }

    private func fail(_ words: String) {
        logger.error("the host was not rebooted", metadata: ["reason": "\(words)"])
        for id in state.withLockedValue({ Array($0.waiters.keys) }) { release(id, .failed(words)) }
    }

    private func release(_ id: CommandID, _ end: End) {
        state.withLockedValue { $0.waiters.removeValue(forKey: id) }?.continuation.resume(returning: end)
        alarm.ring()
    }
}
