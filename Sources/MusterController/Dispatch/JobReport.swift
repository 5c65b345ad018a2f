import MusterWire

/// What an agent's reply means: how the job stands, and what its steps left.
struct JobReport: Sendable {
    /// nil while the job goes on; a reboot in the middle is no end.
    let outcome: DispatchMachine.Outcome?
    /// The agent's own words about the whole.
    let trace: String
    let steps: [StepRecord]

    private static let maximumSteps = 256
    private static let maximumOutput = 2_500
    private static let maximumStream = 24_000

    init(_ content: JobReplyContent) {
        switch StepStatus(rawValue: content.documentStatus) {
        case .success, .skipped: outcome = .success
        case .failed: outcome = .failed
        case .timedOut:
            // No exit code at all: nothing was started. A step that is ended by its own timeout has one.
            let all = content.runtimeStatus ?? [:]
            let isExpired = !all.isEmpty && all.values.allSatisfy { $0.status == .timedOut && $0.code == -1 }
            outcome = isExpired ? .expired : .timedOut
        case .cancelled: outcome = .cancelled
        case .inProgress, .successAndReboot, .notStarted, nil: outcome = nil
        }
        trace = Self.cut(content.documentTraceOutput, Self.maximumOutput)
        let replies = (content.runtimeStatus ?? [:]).sorted { $0.key < $1.key }.prefix(Self.maximumSteps)
        steps = replies.map { name, reply in
            let (status, details) = Self.status(reply.status)
            return StepRecord(
                name: Self.cut(name, 128), position: 0, plugin: Self.cut(reply.name, 128), status: status, statusDetails: details,
                code: reply.code, output: Self.cut(reply.output, Self.maximumOutput),
                standardOutput: Self.cut(reply.standardOutput, Self.maximumStream),
                standardError: Self.cut(reply.standardError, Self.maximumStream),
                startedAt: Timestamp(iso8601: reply.startDateTime), endedAt: Timestamp(iso8601: reply.endDateTime),
                outputs: Self.outputs(reply))
        }
    }

    /// A step that was left out counts as done, as Systems Manager shows it.
    private static func status(_ status: StepStatus) -> (CommandPluginStatus, String) {
        switch status {
        case .success, .skipped: (.success, "Success")
        case .failed: (.failed, "Failed")
        case .timedOut: (.timedOut, "ExecutionTimedOut")
        case .cancelled: (.cancelled, "Cancelled")
        case .inProgress, .successAndReboot: (.inProgress, "InProgress")
        case .notStarted: (.pending, "Pending")
        }
    }

    /// A stream is in the reply only if its digest says so, whatever the agent says.
    private static func outputs(_ reply: StepReply) -> StepOutputs? {
        guard var outputs = reply.outputs else { return nil }
        var kept = reply
        kept.standardOutput = cut(reply.standardOutput, maximumStream)
        kept.standardError = cut(reply.standardError, maximumStream)
        for stream in OutputStream.allCases {
            guard let facts = outputs[stream] else { continue }
            outputs[stream] = StreamFacts(
                length: max(0, facts.length), sha256: facts.sha256.map { cut($0, 64) },
                inline: facts.inline == true && kept.holds(stream) ? true : nil, lost: facts.lost.map { max(0, $0) })
        }
        return outputs
    }

    /// The agent has cut these already; an agent that has not must not fill the store.
    static func cut(_ text: String, _ scalars: Int) -> String {
        guard text.utf8.count > scalars, text.unicodeScalars.count > scalars else { return text }
        var cut = String.UnicodeScalarView()
        cut.append(contentsOf: text.unicodeScalars.prefix(scalars))
        return String(cut)
    }
}
