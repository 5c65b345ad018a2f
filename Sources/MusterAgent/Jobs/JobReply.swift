package import MusterDocuments
package import MusterWire

/// Makes the replies about one job.
///
/// A reply is read by controllers that take at most 120,000 bytes of it, as those of Systems Manager do: what does not
/// fit is taken from the streams, never from `output`.
package struct JobReply: Sendable {
    package static let maximumBytes = 120_000

    private let jobID: String
    private let agent: JobReplyContent.AgentInfo
    private let bucket: (name: String, prefix: String)
    private var steps: [(name: String, reply: StepReply)] = []

    package init(jobID: String, content: SendCommandContent?, agentVersion: String, platformVersion: String) {
        self.jobID = jobID
        agent = JobReplyContent.AgentInfo(osver: platformVersion, ver: agentVersion)
        bucket = (content?.outputS3BucketName ?? "", content?.outputS3KeyPrefix ?? "")
    }

    package var endedSteps: [String] { steps.map(\.name) }

    /// The job was taken up.
    package func inProgress(at time: Timestamp) -> AgentJobReply? { reply("InProgress", "", nil, time) }

    /// One step has ended.
    package mutating func stepEnded(_ item: Plan.Item, _ outcome: StepOutcome, _ ending: PlanMachine.Ending) {
        var out = outcome.standardOutput
        var err = ending.dropsStandardError ? BoundedOutput.Head() : outcome.standardError
        if let notice = ending.outputNotice { out.append(notice) }
        if let notice = ending.errorNotice { err.append(notice) }
        var shown = BoundedOutput(standardOutput: out, standardError: err)
        if let notice = outcome.notice {
            shown = BoundedOutput(notice: notice, isError: ending.status == .failed || ending.status == .timedOut)
        }
        let status = MusterWire.StepStatus(rawValue: ending.status.rawValue) ?? .failed
        let reply = StepReply(
            status: status,
            code: status == .failed && ending.code == 0 ? 1 : ending.code,
            name: item.action,
            output: shown.output,
            startDateTime: Timestamp(milliseconds: outcome.startedAt).iso8601,
            endDateTime: Timestamp(milliseconds: outcome.endedAt).iso8601,
            outputS3BucketName: bucket.name,
            outputS3KeyPrefix: bucket.name.isEmpty ? "" : bucket.prefix,
            stepName: bucket.name.isEmpty ? "" : item.name.rawValue,
            standardOutput: shown.standardOutput,
            standardError: shown.standardError,
            outputs: outcome.notice == nil ? outcome.outputs : nil)
        steps.append((item.name.rawValue, reply))
    }

    /// About the step that ended last.
    package func lastStep(at time: Timestamp) -> AgentJobReply? {
        guard let last = steps.last else { return nil }
        return reply("InProgress", "", [last.name: last.reply], time)
    }

    /// The step asked for a reboot and is run again after it: no end of anything.
    package func rebooting(_ item: Plan.Item, _ outcome: StepOutcome, at time: Timestamp) -> AgentJobReply? {
        var outcome = outcome
        // There will be more of the streams.
        outcome.outputs = nil
        var other = self
        other.stepEnded(item, outcome, PlanMachine.Ending(status: .successAndReboot, code: outcome.code))
        guard let last = other.steps.last else { return nil }
        return other.reply(DocumentStatus.successAndReboot.rawValue, "", [last.name: last.reply], time)
    }

    /// The job's end. It carries every step, not only that of a document with one: a step's own reply may have been lost
    /// with its connection, and is not kept.
    package func final(_ status: DocumentStatus, trace: String = "", at time: Timestamp) -> AgentJobReply? {
        reply(status.rawValue, trace, Dictionary(steps.map { ($0.name, $0.reply) }) { $1 }, time)
    }

    /// The job cannot be read, or is not for us.
    package func refused(_ reason: String, at time: Timestamp) -> AgentJobReply? {
        reply(DocumentStatus.failed.rawValue, reason, nil, time)
    }

    /// The job was cancelled before it came, and will not be started should it come.
    package func neverArrived(at time: Timestamp) -> AgentJobReply? {
        reply(DocumentStatus.cancelled.rawValue, "The command was cancelled before it reached the node. Nothing was run.", nil, time)
    }

    private func reply(_ status: String, _ trace: String, _ shown: [String: StepReply]?, _ time: Timestamp) -> AgentJobReply? {
        var counts: [String: Int] = [:]
        for step in steps { counts[step.reply.status.rawValue, default: 0] += 1 }
        var content = JobReplyContent(
            additionalInfo: JobReplyContent.AdditionalInfo(agent: agent, dateTime: time.iso8601, runtimeStatusCounts: counts),
            documentStatus: status, documentTraceOutput: BoundedOutput.cut(trace, to: BoundedOutput.outputLimit), runtimeStatus: shown)
        // Each round takes half of the streams: at most fifteen rounds from 24,000 to nothing, then the outputs.
        var limit = BoundedOutput.streamLimit
        while true {
            // Each time, because a text that has been cut holds its stream no longer.
            content.runtimeStatus = content.runtimeStatus?.mapValues(Self.marked)
            guard let reply = try? AgentJobReply(content, jobID: jobID) else { return nil }
            if reply.content.utf8.count <= Self.maximumBytes || limit == 0 { return reply }
            // An interface shows 8,000 of standard error at most, so that goes first.
            if limit == BoundedOutput.streamLimit {
                limit -= 1
                shrink(&content, output: BoundedOutput.streamLimit, error: 8000, total: BoundedOutput.outputLimit)
            } else {
                limit /= 2
                shrink(&content, output: limit, error: min(limit, 8000), total: limit < 100 ? limit : BoundedOutput.outputLimit)
            }
        }
    }

    /// Says of each stream whether the reply holds all of it.
    private static func marked(_ step: StepReply) -> StepReply {
        guard var outputs = step.outputs else { return step }
        for stream in OutputStream.allCases where outputs[stream] != nil {
            // What was thrown away is missing in the reply as well; the controller then shows the stream as truncated.
            outputs[stream]?.inline = step.holds(stream) ? true : nil
        }
        var step = step
        step.outputs = outputs
        return step
    }

    private func shrink(_ content: inout JobReplyContent, output: Int, error: Int, total: Int) {
        content.runtimeStatus = content.runtimeStatus?.mapValues { step in
            var step = step
            step.standardOutput = BoundedOutput.cut(step.standardOutput, to: output)
            step.standardError = BoundedOutput.cut(step.standardError, to: error)
            if total < BoundedOutput.outputLimit { step.output = BoundedOutput.cut(step.output, to: total) }
            return step
        }
    }
}
