package import MusterDocuments
package import MusterWire

/// How a step ended and what it has to show, before the flow control of the document has had its say.
package struct StepOutcome: Sendable {
    package var status: MusterDocuments.StepStatus
    package var code: Int
    package var standardOutput = BoundedOutput.Head()
    package var standardError = BoundedOutput.Head()
    /// Shown instead of the streams when the script never ran.
    package var notice: String?
    /// Milliseconds since the epoch, host clock.
    package var startedAt: Int64
    package var endedAt: Int64
    /// Nobody knows whether it ran to its end: no further step of the job is started.
    package var isUnknown = false
    /// The step's folder alone would tell another story, so the reply has to be on the disk before it is sent.
    package var isDecidedHere = false
    /// The complete streams; nil when the script never ran.
    package var outputs: StepOutputs?

    package init(status: MusterDocuments.StepStatus, code: Int, notice: String? = nil, at time: Int64) {
        self.status = status
        self.code = code
        self.notice = notice
        startedAt = time
        endedAt = time
    }

    /// From what the supervisor wrote down and the files it filled.
    ///
    /// https://docs.aws.amazon.com/systems-manager/latest/userguide/run-command-handle-exit-status.html
    package init(_ result: StepResult, standardOutput: BoundedOutput.Head, standardError: BoundedOutput.Head) {
        code = result.exitCode
        startedAt = result.startedAt
        endedAt = result.endedAt
        self.standardOutput = standardOutput
        self.standardError = standardError
        switch result.ending {
        case .timedOut: status = .timedOut
        case .cancelled: status = .cancelled
        case .notStarted:
            status = .failed
            notice = result.problem
            return
        case .exited:
            status = MusterDocuments.StepStatus(exitCode: result.exitCode)
        }
        if !result.problem.isEmpty { self.standardError.append((standardError.scalars.isEmpty ? "" : "\n") + result.problem) }
        if status == .failed { nameExitStatus() }
    }

    /// On the last line of the script's own, without a line break: what reads these replies looks for it there.
    private mutating func nameExitStatus() {
        standardError.append("failed to run commands: exit status \(code)")
    }

    /// The step asked for a reboot and is not run again: it counts as failed.
    package mutating func rebootFailed(_ words: String) {
        status = .failed
        isDecidedHere = true
        standardError.append("\nExit status 194 asks to reboot the host and to run the step again. \(words) The step counts as failed.\n")
        nameExitStatus()
    }

    /// The job was cancelled when the step had asked for a reboot.
    package mutating func rebootCancelled() {
        status = .cancelled
        code = ExitCode.killed
        isDecidedHere = true
    }

    package static func unknown(_ reason: String, at time: Int64, standardOutput: BoundedOutput.Head, standardError: BoundedOutput.Head)
        -> StepOutcome
    {
        var outcome = StepOutcome(status: .failed, code: -1, at: time)
        outcome.isUnknown = true
        outcome.standardOutput = standardOutput
        outcome.standardError = standardError
        outcome.standardError.append((standardError.scalars.isEmpty ? "" : "\n") + reason)
        return outcome
    }
}
