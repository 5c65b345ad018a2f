import Metrics
import MusterWire

/// What the dispatcher tells /metrics, after each commit.
struct DispatchMetrics: Sendable {
    /// Milliseconds, gathered in one round.
    struct Delays: Sendable {
        /// From the acceptance of the command to the first frame to a target.
        var untilSent: [Int64] = []
        /// From that frame to the first word of the node about it.
        var untilAnswered: [Int64] = []
    }

    private let ended: [String: Counter]
    private let untilSent = Timer(label: "muster_dispatch_accept_to_send_seconds")
    private let untilAnswered = Timer(label: "muster_dispatch_send_to_answer_seconds")
    private let open = Gauge(label: "muster_commands_open")
    private let inFlight = Gauge(label: "muster_invocations_in_flight")

    init() {
        let details = Set(InvocationState.allCases.filter(\.isFinal).map(\.details))
        ended = Dictionary(
            uniqueKeysWithValues: details.map { ($0, Counter(label: "muster_invocations_total", dimensions: [("status", $0)])) })
    }

    func round(_ changes: CommandChanges, _ delays: Delays, open commands: Int, inFlight invocations: Int) {
        for change in changes.invocations where change.state.isFinal { ended[change.state.details]?.increment() }
        // A clock that was set back must not show as a negative time.
        for delay in delays.untilSent { untilSent.recordMilliseconds(max(0, delay)) }
        for delay in delays.untilAnswered { untilAnswered.recordMilliseconds(max(0, delay)) }
        open.record(commands)
        inFlight.record(invocations)
    }
}
