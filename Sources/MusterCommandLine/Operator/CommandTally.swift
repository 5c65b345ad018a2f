import MusterWire

/// How the nodes of a command ended, in words that add up. [value]
///
/// SSM counts a node as completed that never ran anything: it was out of reach, or the error limit was spent before its turn.
struct CommandTally: Equatable {
    enum Outcome: Equatable {
        case running, succeeded, failed, timedOut, cancelled, neverRan
    }

    private(set) var targets = 0
    private(set) var succeeded = 0
    private(set) var failed = 0
    private(set) var timedOut = 0
    private(set) var cancelled = 0
    private(set) var neverRan = 0
    private(set) var running = 0

    init(_ invocations: [CommandInvocation], targets: Int) {
        for invocation in invocations {
            switch Self.outcome(invocation) {
            case .running: running += 1
            case .succeeded: succeeded += 1
            case .failed: failed += 1
            case .timedOut: timedOut += 1
            case .cancelled: cancelled += 1
            case .neverRan: neverRan += 1
            }
        }
        self.targets = max(targets, invocations.count)
    }

    static func outcome(_ invocation: CommandInvocation) -> Outcome {
        guard invocation.hasEnded else { return .running }
        switch invocation.statusDetails {
        case "Undeliverable", "InvalidPlatform", "AccessDenied", "DeliveryTimedOut", "Terminated": return .neverRan
        default: break
        }
        switch invocation.status {
        case .success: return .succeeded
        case .timedOut: return .timedOut
        case .cancelled: return invocation.traceOutput.hasSuffix(nothingRun) ? .neverRan : .cancelled
        default: return invocation.traceOutput.hasSuffix(nothingRun) ? .neverRan : .failed
        }
    }

    /// How the controller ends the reason of what was never started.
    private static let nothingRun = "Nothing was run."

    var words: String {
        var words = ["\(succeeded) of \(targets) nodes succeeded"]
        for (count, what) in [
            (failed, "failed"), (timedOut, "timed out"), (cancelled, "cancelled"), (neverRan, "never ran it"), (running, "not ended"),
        ] where count > 0 {
            words.append("\(count) \(what)")
        }
        return words.joined(separator: ", ")
    }
}
