import FoundationEssentials
import MusterAgent
import MusterDocuments
import MusterWire
import NIOConcurrencyHelpers
import NIOCore

/// Stands where a host has its `JobRunner`: takes jobs, runs nothing, and reports every step as succeeded after a delay.
///
/// What it says on the wire is what a host says: 200 for a new job, 208 for a known one, InProgress, then a final reply that is
/// kept and sent again on each new channel until it is acknowledged. It has no disk: the benchmark's nodes live as long as it does.
final class SwarmJobs: JobReceiver {
    private struct State {
        var clockOffset: Int64 = 0
        var send: (@Sendable (AgentMessage) -> Void)?
        /// Jobs that were accepted. What is running has its timer here.
        var known: Set<CommandID> = []
        var running: [CommandID: Scheduled<Void>] = [:]
        var unacknowledged: [CommandID: AgentMessage] = [:]
    }

    private let node: NodeID
    private let plans: SwarmPlans
    private let delay: TimeAmount
    private let loop: any EventLoop
    private let state = NIOLockedValueBox(State())

    init(node: NodeID, plans: SwarmPlans, delay: TimeAmount, loop: any EventLoop) {
        self.node = node
        self.plans = plans
        self.delay = delay
        self.loop = loop
    }

    func serverTime(_ offsetMilliseconds: Int64) {
        state.withLockedValue { $0.clockOffset = offsetMilliseconds }
    }

    func attach(_ send: @escaping @Sendable (AgentMessage) -> Void) {
        let waiting = state.withLockedValue { state in
            state.send = send
            return Array(state.unacknowledged.values)
        }
        for message in waiting { send(message) }
    }

    /// Its jobs write nothing.
    func followOutput(_ request: AgentOutputRequest) {}

    func detach() {
        state.withLockedValue { $0.send = nil }
    }

    func receive(_ job: AgentJob, messageID: UUID, createdDate: Timestamp) async -> AgentJobAcknowledge {
        AgentJobAcknowledge(
            jobID: job.jobID, acknowledgedMessageID: messageID.uuidString.lowercased(), createdDate: createdDate, code: take(job))
    }

    func replyAcknowledged(jobID: String, messageID: UUID) async {
        guard let job = JobID(jobID) else { return }
        state.withLockedValue { state in
            if state.unacknowledged[job.command]?.messageID == messageID { state.unacknowledged.removeValue(forKey: job.command) }
        }
    }

    private func take(_ job: AgentJob) -> JobAcknowledgeCode {
        if JobTopic.isCancelCommand(job.topic) { return cancel(job) }
        guard JobTopic.isSendCommand(job.topic), let id = JobID(job.jobID), id.node == node, let plan = plans.plan(of: job) else {
            return .parseError
        }
        guard state.withLockedValue({ $0.known.insert(id.command).inserted }) else { return .duplicate }
        let timer = loop.scheduleTask(in: delay) { self.finish(id, plan, isCancelled: false) }
        state.withLockedValue { $0.running[id.command] = timer }
        return .accepted
    }

    private func cancel(_ job: AgentJob) -> JobAcknowledgeCode {
        guard let content = try? job.decodeContent(CancelCommandContent.self), let target = JobID(content.cancelMessageID) else {
            return .parseError
        }
        let timer = state.withLockedValue { $0.running.removeValue(forKey: target.command) }
        if let timer, let plan = plans.any {
            timer.cancel()
            loop.execute { self.finish(target, plan, isCancelled: true) }
        }
        return .accepted
    }

    private func finish(_ id: JobID, _ plan: Plan, isCancelled: Bool) {
        let now = state.withLockedValue { Timestamp.now().adding(milliseconds: $0.clockOffset) }
        var reply = JobReply(jobID: id.description, content: nil, agentVersion: AgentVersion.current, platformVersion: "")
        send(reply.inProgress(at: now), as: UUID(), at: now)

        var machine = PlanMachine(plan: plan)
        if isCancelled { machine.cancel() }
        var status: DocumentStatus?
        while status == nil {
            switch machine.next() {
            case .run(let item):
                let ending = machine.stepEnded(item.name, status: .success, code: 0)
                reply.stepEnded(item, StepOutcome(status: .success, code: 0, at: now.milliseconds), ending)
            case .skip(let item, let reason):
                reply.stepEnded(
                    item, StepOutcome(status: .skipped, code: 0, notice: reason, at: now.milliseconds), .init(status: .skipped, code: 0))
            case .fail(let item, let reason):
                reply.stepEnded(
                    item, StepOutcome(status: .failed, code: 1, notice: reason, at: now.milliseconds), .init(status: .failed, code: 1))
            case .cancel(let item, let reason):
                reply.stepEnded(
                    item, StepOutcome(status: .cancelled, code: 1, notice: reason, at: now.milliseconds), .init(status: .cancelled, code: 1)
                )
            case .finish(let end):
                status = end
            case .wait:
                status = .failed
            }
        }
        guard let content = reply.final(status ?? .failed, at: now),
            let message = try? AgentMessage(.agentJobReply, createdDate: now, messageID: UUID(), payload: content)
        else { return }
        let send = state.withLockedValue { state in
            state.running.removeValue(forKey: id.command)
            state.unacknowledged[id.command] = message
            return state.send
        }
        send?(message)
    }

    private func send(_ reply: AgentJobReply?, as id: UUID, at time: Timestamp) {
        guard let reply, let send = state.withLockedValue({ $0.send }),
            let message = try? AgentMessage(.agentJobReply, createdDate: time, messageID: id, payload: reply)
        else { return }
        send(message)
    }
}

/// Plans by the text they were made of, which is the same for all nodes of a command: each host reads its job itself, and here
/// thousands of hosts share the processors with the controller that is measured.
final class SwarmPlans: Sendable {
    private let plans = NIOLockedValueBox<[String: Plan]>([:])

    var any: Plan? { plans.withLockedValue { $0.values.first } }

    func plan(of job: AgentJob) -> Plan? {
        if let known = plans.withLockedValue({ $0[job.content] }) { return known }
        guard let content = try? job.decodeContent(SendCommandContent.self),
            let document = try? DocumentDecoder.decode(DocumentValue(content.documentContent)),
            let plan = try? Plan.build(
                document: document, values: content.parameters.mapValues(DocumentValue.init), platform: .linux, plugins: PluginTable.actions
            )
        else { return nil }
        plans.withLockedValue { plans in
            if plans.count >= 64 { plans.removeAll() }
            plans[job.content] = plan
        }
        return plan
    }
}
