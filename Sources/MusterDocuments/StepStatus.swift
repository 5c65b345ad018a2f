/// How a step stands or ended, as replies name it.
package enum StepStatus: String, Sendable, Hashable, CaseIterable, Codable {
    case notStarted = "NotStarted"
    case inProgress = "InProgress"
    case success = "Success"
    case successAndReboot = "SuccessAndReboot"
    case failed = "Failed"
    case timedOut = "TimedOut"
    case cancelled = "Cancelled"
    case skipped = "Skipped"

    /// What a script's exit code means. 137 is what remains of a script that was killed when its time was up.
    /// https://docs.aws.amazon.com/systems-manager/latest/userguide/run-command-handle-exit-status.html
    package init(exitCode: Int) {
        self =
            switch exitCode {
            case ExitCode.success, ExitCode.successAndExit: .success
            case ExitCode.reboot: .successAndReboot
            case ExitCode.killed: .timedOut
            default: .failed
            }
    }
}

/// Exit codes of a script that mean more than "it failed".
package enum ExitCode {
    package static let success = 0
    /// The step succeeded and nothing after it runs.
    package static let successAndExit = 168
    /// The step failed and nothing after it runs.
    package static let failureAndExit = 169
    /// Reboot the host, then run this step again.
    package static let reboot = 194
    /// Killed: its time was up, or it was cancelled.
    package static let killed = 137
}

/// How a whole document stands.
package enum DocumentStatus: String, Sendable, Hashable, CaseIterable, Codable {
    case inProgress = "InProgress"
    case success = "Success"
    /// The host reboots and the document goes on afterwards: not an end.
    case successAndReboot = "SuccessAndReboot"
    case failed = "Failed"
    case timedOut = "TimedOut"
    case cancelled = "Cancelled"

    package var isFinal: Bool { self != .inProgress && self != .successAndReboot }

    /// The worst of the steps decides, in the order that the agents use.
    package init(steps: some Sequence<StepStatus>) {
        let statuses = Array(steps)
        if statuses.contains(.successAndReboot) {
            self = .successAndReboot
        } else if statuses.contains(.failed) {
            self = .failed
        } else if statuses.contains(.timedOut) {
            self = .timedOut
        } else if statuses.contains(.cancelled) {
            self = .cancelled
        } else if statuses.allSatisfy({ $0 == .success || $0 == .skipped }) {
            self = .success
        } else {
            self = .inProgress
        }
    }
}
