import Dispatch
package import FoundationEssentials
package import Logging
package import MusterDocuments
package import MusterWire
import NIOConcurrencyHelpers
import ServiceLifecycle

/// Takes jobs, runs a bounded number of them side by side, and reports each one's single, true end.
///
///     receive ──▶ JobLedger (durable) ──▶ 200        run ──▶ PlanMachine ──▶ supervisor ──▶ BoundedOutput
///                                                                 ▲              │              │
///                                                                 └── outcome ◀──┘              ▼
///     replyAcknowledged ──▶ JobLedger (tombstone) ◀── attach, resend ◀── reply.json ◀─────── JobReply
///
/// At most one start per step, ever: the step's name in the ledger, synced, comes before its supervisor; the
/// supervisor's exclusive mark comes before the script. After a crash the step is adopted, read, or reported as
/// unknown; it is started then only if no script can have been (see `ProcessExecutor.standing`). The exception is a step that asks
/// for it: exit status 194, and another run on another boot (see `StepAttempt`).
package final class JobRunner: Service, JobReceiver {
    private let configuration: JobRunnerConfiguration
    private let logger: Logger
    let ledger: JobLedger
    private let outputs: OutputWork
    private let holdEpoch: @Sendable (String, StoreRestoration?) throws -> Void
    private let executor: ProcessExecutor
    private let bootID: String
    private let reboot: HostReboot?
    private let environment: [String: String]
    private let account = RunShellScript.Account.current()
    /// Files are read and synced here, off the threads that everything else runs on.
    private let disk = DispatchQueue(label: "muster.jobs")
    private let wakes: AsyncStream<Void>
    private let wake: AsyncStream<Void>.Continuation
    private let state: NIOLockedValueBox<State>

    private struct State {
        var queue: JobQueue
        /// Server clock minus host clock. Nil until the server was heard: no job starts before, because start-by could
        /// not be judged.
        var clockOffset: Int64?
        var send: (@Sendable (AgentMessage) -> Void)?
        var supervisors: [CommandID: Supervisor] = [:]
        var cancelled: Set<CommandID> = []
        /// Cancelled while they waited: they get their end at once, which takes no process and so no place.
        var pulled: [CommandID] = []
        /// Final replies on disk that nobody has acknowledged, with what a tombstone will say.
        var unacknowledged: [CommandID: (reply: UUID, outcome: String)] = [:]
        var mustResend = false
        var isResendPlanned = false
        var isClosed = false
        var lastSweep: Int64 = 0
    }

    /// How long an acknowledgement may take before the reply is sent again on a connection that seems to live.
    private static let resendSeconds = 30
    /// Added to start-by before a tombstone may go: clocks differ, and deliveries are late.
    private static let startBySlack: Int64 = 24 * 3600 * 1000

    /// Opens the ledger: nothing is accepted before the truth on the disk is known.
    /// - Parameter holdEpoch: throws for a job of a store that this node does not know.
    package init(
        configuration: JobRunnerConfiguration, outputs: OutputWork = OutputWork(),
        holdEpoch: @escaping @Sendable (String, StoreRestoration?) throws -> Void = { _, _ in }, logger: Logger
    ) throws {
        self.configuration = configuration
        self.logger = logger
        self.outputs = outputs
        self.holdEpoch = holdEpoch
        ledger = try JobLedger(stateDirectory: configuration.stateDirectory)
        executor = ProcessExecutor(executable: configuration.agentExecutable)
        bootID = ProcessTable.bootID(in: configuration.bootIDFile)
        reboot = configuration.reboot.map { HostReboot($0, logger: logger) }
        environment = ProcessInfo.processInfo.environment
        (wakes, wake) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1))

        var state = State(queue: JobQueue(maximumRunning: configuration.maximumParallelJobs, maximumWaiting: configuration.queuedJobs))
        let found = try ledger.open()
        for name in found.strangers {
            logger.warning("passed over an unknown entry in the jobs folder", metadata: ["name": "\(name.debugDescription)"])
        }
        for job in found.jobs {
            if job.hasReply, let reply = try ledger.reply(job.id) {
                state.unacknowledged[job.id] = (job.record.replyID, Self.outcome(of: reply))
            } else {
                state.queue.restore(job.id, isStarted: job.isStarted)
                if job.isCancelled { state.cancelled.insert(job.id) }
            }
        }
        self.state = NIOLockedValueBox(state)
    }

    /// Takes up what a former agent left, then runs jobs until it is asked to stop. Steps that run then go on; the next
    /// agent adopts them.
    package func run() async throws {
        await cancelWhenGracefulShutdown { [self] in
            await withDiscardingTaskGroup { group in
                for id in state.withLockedValue({ Array($0.queue.running) }) { group.addTask { await self.execute(id, isRestored: true) } }
                wake.yield()
                for await _ in wakes {
                    while let id = startNext() { group.addTask { await self.execute(id, isRestored: false) } }
                    if let reboot, reboot.takesDriver() { group.addTask { await self.drive(reboot) } }
                    await resend()
                    planResend(in: &group)
                }
                group.cancelAll()
            }
        }
        state.withLockedValue { $0.isClosed = true }
    }

    private func startNext() -> CommandID? {
        // What would start now would be interrupted.
        let isHeld = reboot?.isDue == true
        return state.withLockedValue { state in
            if !state.pulled.isEmpty { return state.pulled.removeFirst() }
            return state.clockOffset == nil || isHeld ? nil : state.queue.startNext()
        }
    }

    // MARK: What the control channel says

    package func serverTime(_ offsetMilliseconds: Int64) {
        state.withLockedValue { $0.clockOffset = offsetMilliseconds }
        wake.yield()
    }

    /// A control channel is up: every final reply that was not acknowledged is sent now, later ones as they happen.
    package func attach(_ send: @escaping @Sendable (AgentMessage) -> Void) {
        state.withLockedValue {
            $0.send = send
            $0.mustResend = true
        }
        wake.yield()
    }

    package func detach() { state.withLockedValue { $0.send = nil } }

    /// Durable before it returns "accepted".
    package func receive(_ job: AgentJob, messageID: UUID, createdDate: Timestamp) async -> AgentJobAcknowledge {
        // A message from the server tells its time as well, if less exactly than its answers do.
        state.withLockedValue { if $0.clockOffset == nil { $0.clockOffset = createdDate.milliseconds - Timestamp.now().milliseconds } }
        let code: JobAcknowledgeCode
        if state.withLockedValue({ $0.isClosed }) {
            code = .closed
        } else if JobTopic.isSendCommand(job.topic) {
            code = await accept(job)
        } else if JobTopic.isCancelCommand(job.topic) {
            code = await cancel(job)
        } else {
            code = .unexpectedDocumentType
        }
        return AgentJobAcknowledge(
            jobID: job.jobID, acknowledgedMessageID: messageID.uuidString.lowercased(), createdDate: createdDate, code: code)
    }

    /// Somebody watches the command: what it writes is uploaded while it writes it, for so long.
    package func followOutput(_ request: AgentOutputRequest) {
        guard let id = CommandID(request.commandID) else { return }
        outputs.follow(id, for: .seconds(min(max(request.seconds, 0), AgentOutputRequest.longest)))
    }

    package func replyAcknowledged(jobID: String, messageID: UUID) async {
        guard let job = JobID(jobID) else { return }
        let entry = state.withLockedValue { state -> (reply: UUID, outcome: String)? in
            guard state.unacknowledged[job.command]?.reply == messageID else { return nil }
            return state.unacknowledged.removeValue(forKey: job.command)
        }
        guard let entry else { return }
        let now = serverNow()
        do {
            try await onDisk { try $0.bury(job.command, outcome: entry.outcome, finishedAt: now.milliseconds) }
        } catch {
            // Harmless: the reply is sent once more after the next start.
            logger.error("could not put a finished job away", metadata: ["command": "\(job.command)", "reason": "\(error)"])
        }
        await sweepNowAndThen(now)
    }

    // MARK: Accepting

    private func accept(_ job: AgentJob) async -> JobAcknowledgeCode {
        guard let id = JobID(job.jobID), id.node == configuration.node else {
            return refuse(job, "The job id is not one of this node.")
        }
        let content: SendCommandContent
        do {
            content = try job.decodeContent(SendCommandContent.self)
            _ = try DocumentDecoder.decode(DocumentValue(content.documentContent))
        } catch {
            return refuse(job, "The job cannot be read. \(words(error))")
        }
        if let generation = content.identityGeneration, generation != configuration.identityGeneration {
            return refuse(
                job,
                "The job is for generation \(generation) of this node's identity, which is at \(configuration.identityGeneration). Not started.",
                content)
        }
        if let epoch = content.storeEpoch {
            do {
                try holdEpoch(epoch, content.storeRestoration)
            } catch let refusal as StoreEpoch.Refusal {
                return refuse(job, "\(refusal) Not started.")
            } catch {
                logger.error("could not store the epoch of the controller's store", metadata: ["job": "\(id)", "error": "\(error)"])
                return .unexpected
            }
        }
        let command = id.command
        do {
            if try await onDisk({ try $0.isKnown(command) }) {
                await resend(command)
                return .duplicate
            }
            guard state.withLockedValue({ $0.queue.admit(command) }) else { return .bufferFull }
            let record = JobRecord(jobID: id, acceptedAt: serverNow().milliseconds, content: content)
            do {
                guard try await onDisk({ try $0.accept(record, as: command) }) else { return .duplicate }
            } catch {
                state.withLockedValue { $0.queue.remove(command) }
                throw error
            }
        } catch {
            return refuse(job, "The command was not run: the node could not store it. \(error)", content)
        }
        logger.info("job accepted", metadata: ["command": "\(command)"])
        wake.yield()
        return .accepted
    }

    /// Not stored, because it can never run: the reply goes out once, and the acknowledgement says the same.
    private func refuse(_ job: AgentJob, _ reason: String, _ content: SendCommandContent? = nil) -> JobAcknowledgeCode {
        let now = serverNow()
        logger.warning("job refused", metadata: ["job": "\(job.jobID)", "reason": "\(reason)"])
        // The id came from outside and goes back as it came, up to a length.
        guard job.jobID.utf8.count <= 512 else { return .parseError }
        var builder = builder(job.jobID, content)
        // Where people look for the reason: in the output of each step.
        for item in content.flatMap({ try? plan(of: $0) })?.items ?? [] {
            builder.stepEnded(
                item, StepOutcome(status: .failed, code: 1, notice: reason, at: now.milliseconds),
                PlanMachine.Ending(status: .failed, code: 1))
        }
        send(builder.final(.failed, trace: reason, at: now), id: UUID(), at: now)
        return .parseError
    }

    private func plan(of content: SendCommandContent) throws(DocumentError) -> Plan {
        try Plan.build(
            document: try DocumentDecoder.decode(DocumentValue(content.documentContent)),
            values: content.parameters.mapValues(DocumentValue.init), platform: .linux, plugins: PluginTable.actions)
    }

    private func cancel(_ job: AgentJob) async -> JobAcknowledgeCode {
        guard let content = try? job.decodeContent(CancelCommandContent.self), let target = JobID(content.cancelMessageID),
            target.node == configuration.node
        else { return .parseError }
        let id = target.command
        let now = serverNow()
        do {
            switch try await onDisk({ try $0.cancel(target, at: now.milliseconds) }) {
            case .marked: break
            case .over: return .accepted
            case .neverArrived:
                // Ahead of the acknowledgement: whoever has that one has this one. It is not kept; said again when asked again.
                send(builder(target.description, nil).neverArrived(at: now), id: UUID(), at: now)
                return .accepted
            }
        } catch {
            logger.error("could not store a cancellation", metadata: ["command": "\(id)", "reason": "\(error)"])
            return .unexpected
        }
        logger.info("cancellation accepted", metadata: ["command": "\(id)"])
        // The mark is on the disk: a supervisor that starts from now on sees it, and the present one is told.
        state.withLockedValue { state -> Supervisor? in
            guard state.queue.contains(id) else { return nil }
            state.cancelled.insert(id)
            if state.queue.pull(id) { state.pulled.append(id) }
            return state.supervisors[id]
        }?.nudge()
        reboot?.cancel(id)
        wake.yield()
        return .accepted
    }

    // MARK: Running

    /// A job from wherever it stands to its reply.
    private func execute(_ id: CommandID, isRestored: Bool) async {
        do {
            guard let record = try await onDisk({ try $0.record(id) }) else {
                throw FileError("read job", id.rawValue, 2)
            }
            try await execute(id, record, isRestored: isRestored)
        } catch is CancellationError {
            // The agent stops. The supervisor goes on, and the next agent takes the job up.
        } catch {
            logger.error(
                "a job cannot go on; it is taken up again when the agent starts", metadata: ["command": "\(id)", "reason": "\(error)"])
            end(id)
        }
    }

    private func execute(_ id: CommandID, _ record: JobRecord, isRestored: Bool) async throws {
        var builder = builder(record.jobID, record.content)
        let plan: Plan
        do {
            plan = try self.plan(of: record.content)
        } catch {
            return try await finish(
                id, record, builder.final(.failed, trace: "Not started: \(error)", at: serverNow()), .failed, isStarted: false)
        }
        logger.info(isRestored ? "job taken up again" : "job started", metadata: ["command": "\(id)", "steps": "\(plan.items.count)"])
        if !isRestored { send(builder.inProgress(at: serverNow()), id: UUID(), at: serverNow()) }

        var machine = PlanMachine(plan: plan)
        var isStarted = false
        var isDecidedHere = false
        while true {
            try Task.checkCancellation()
            if isCancelled(id) { machine.cancel() }
            switch machine.next() {
            case .run(let item):
                let outcome: StepOutcome
                switch try await perform(item, of: id, record, builder, mayExpire: !isStarted) {
                case .ended(let ended): outcome = ended
                case .expired(let words): return try await expire(id, record, builder, plan, words)
                }
                isStarted = true
                isDecidedHere = isDecidedHere || outcome.isDecidedHere
                let ending = machine.stepEnded(item.name, status: outcome.status, code: outcome.code)
                builder.stepEnded(item, outcome, ending)
                if outcome.isUnknown { return try await stopAfterUnknown(id, record, builder, plan, item) }
                // The final reply of a document with one step follows at once and says it all.
                if plan.items.count > 1 { send(builder.lastStep(at: serverNow()), id: UUID(), at: serverNow()) }
            case .skip(let item, let reason): note(item, .skipped, 0, reason, &builder, plan)
            case .fail(let item, let reason): note(item, .failed, 1, reason, &builder, plan)
            case .cancel(let item, let reason): note(item, .cancelled, 1, reason, &builder, plan)
            case .finish(let status):
                return try await finish(
                    id, record, builder.final(status, at: serverNow()), status, isStarted: isStarted && !isDecidedHere)
            case .wait:
                // Steps run one after the other here.
                throw FileError("run", "the next step of \(id)", 11)
            }
        }
    }

    private func note(
        _ item: Plan.Item, _ status: MusterDocuments.StepStatus, _ code: Int, _ reason: String, _ builder: inout JobReply, _ plan: Plan
    ) {
        let now = serverNow()
        builder.stepEnded(
            item, StepOutcome(status: status, code: code, notice: reason, at: now.milliseconds),
            PlanMachine.Ending(status: status, code: code))
        if plan.items.count > 1 { send(builder.lastStep(at: now), id: UUID(), at: now) }
    }

    private enum Performance {
        case ended(StepOutcome)
        /// Nothing was started, and nothing will be: it is too late.
        case expired(String)
    }

    /// One step from wherever it stands to its outcome. Throws CancellationError when the agent stops.
    private func perform(_ item: Plan.Item, of id: CommandID, _ record: JobRecord, _ builder: JobReply, mayExpire: Bool) async throws
        -> Performance
    {
        let name = item.name.rawValue
        var starts = 0
        var words: String?
        while true {
            let step = try await onDisk { try $0.step(name, of: id) }
            var standing = ProcessExecutor.Standing.notLaunched
            var attempt = StepAttempt()
            if let step {
                let (executor, bootID) = (executor, bootID)
                attempt = try await aside {
                    if let mark = try StepAttempt.RebootMark.read(in: step), mark.bootID != bootID {
                        try StepAttempt.beginNext(in: step, after: mark, result: executor.result(in: step), bootID: bootID)
                    }
                    return try StepAttempt.read(in: step)
                }
                standing = try await aside { try executor.standing(of: step, bootID: bootID) }
            }
            switch (standing, step) {
            case (.ended(let result), let step?):
                let streams = try await streams(step)
                var outcome = StepOutcome(result, standardOutput: streams.standardOutput, standardError: streams.standardError)
                outcome.startedAt = attempt.startedAt ?? outcome.startedAt
                outcome.outputs = streams.facts(
                    lostOutput: (result.lostOutput ?? 0) + attempt.lostOutput, lostError: (result.lostError ?? 0) + attempt.lostError)
                if outcome.status == .successAndReboot, try await isRebooted(item, step, attempt, &outcome, id, builder) { continue }
                return .ended(outcome)
            case (.supervised(let supervisor), _):
                try await follow(supervisor, id)
            case (.unknown(let reason, let leavesProcesses), let step?):
                let marker = marker(record, name)
                let executor = executor
                let left = leavesProcesses ? try await aside { executor.endLeftovers(of: step, marker: marker) } : 0
                let streams = try await streams(step)
                let words = left == 0 ? reason : reason + " \(left) of its processes could not be ended."
                var outcome = StepOutcome.unknown(
                    words, at: hostNow(), standardOutput: streams.standardOutput, standardError: streams.standardError)
                outcome.outputs = streams.facts(lostOutput: nil, lostError: nil)
                return .ended(outcome)
            default:
                if isCancelled(id) {
                    return .ended(StepOutcome(status: .cancelled, code: 137, notice: "Step cancelled before it started.", at: hostNow()))
                }
                if let words { return .ended(refused("The script was not started. \(words)")) }
                if mayExpire, attempt.number == 1, let startBy = record.content.startBy, serverNow().milliseconds > startBy {
                    return .expired(
                        "Not started: the job could be started until \(Timestamp(milliseconds: startBy).iso8601), and it is later.")
                }
                starts += 1
                guard starts <= 3 else {
                    return .ended(
                        refused(
                            "The script was not started: the process that was to run it ended three times before it could. "
                                + "Look at this host's memory, its limits on processes and its kernel's log."))
                }
                let supervisor: Supervisor
                do {
                    supervisor = try await start(item, step, id, record)
                } catch let error as DocumentError {
                    return .ended(refused("Step failed: invalid inputs: \(error)"))
                } catch let error as FileError {
                    let begun = try await onDisk { try $0.step(name, of: id) }
                    // Started and lost again: the next round finds out.
                    if let begun, try await aside({ try begun.contains(StepFolder.launched) }) { continue }
                    return .ended(refused("The script was not started. \(error)"))
                }
                try await follow(supervisor, id)
                words = supervisor.words()
            }
        }
    }

    /// The step exited with 194. True when the host has rebooted since, and the next run may begin; otherwise `outcome` says why
    /// there will be none. Mostly neither: the process ends while it waits here.
    private func isRebooted(
        _ item: Plan.Item, _ step: Folder, _ attempt: StepAttempt, _ outcome: inout StepOutcome, _ id: CommandID, _ builder: JobReply
    ) async throws -> Bool {
        if isCancelled(id) {
            outcome.rebootCancelled()
            return false
        }
        guard let reboot else {
            outcome.rebootFailed("Steps may not reboot this host (allowReboot in agent.json5).")
            return false
        }
        guard attempt.number < StepAttempt.maximum else {
            outcome.rebootFailed("It did so \(attempt.number) times, which is the limit.")
            return false
        }
        let bootID = bootID
        let mark = try await aside {
            if let mark = try StepAttempt.RebootMark.read(in: step) { return mark }
            // The boot on which it ran: it may have rebooted the host by itself.
            let mark = StepAttempt.RebootMark(attempt: attempt.number, bootID: try StepAttempt.boot(of: step) ?? bootID)
            try mark.write(in: step)
            return mark
        }
        guard mark.bootID == bootID else { return true }
        send(builder.rebooting(item, outcome, at: serverNow()), id: UUID(), at: serverNow())
        let end = await reboot.wait(id, asks: mark.asks) {
            // The cancellation may have come when nobody was waiting yet.
            if isCancelled(id) { reboot.cancel(id) }
            wake.yield()
        }
        switch end {
        case .stopped: throw CancellationError()
        case .cancelled: outcome.rebootCancelled()
        case .failed(let words): outcome.rebootFailed(words)
        }
        return false
    }

    private func drive(_ reboot: HostReboot) async {
        await reboot.drive {
            self.state.withLockedValue { $0.queue.running }.filter { !reboot.isWaiting($0) }.count
        } mark: { ids, asks in
            try await self.onDisk { ledger in
                for id in ids {
                    for name in try ledger.startedSteps(of: id) {
                        guard let step = try ledger.step(name, of: id), var mark = try StepAttempt.RebootMark.read(in: step) else {
                            continue
                        }
                        mark.asks = asks
                        try mark.write(in: step)
                    }
                }
            }
        }
        // For a step that asked when this was on its way out, and for what was held back.
        wake.yield()
    }

    /// The disk knows nothing of it: without its reply, a step that has been begun would be started after a restart.
    private func refused(_ words: String) -> StepOutcome {
        var outcome = StepOutcome(status: .failed, code: 1, notice: words, at: hostNow())
        outcome.isDecidedHere = true
        return outcome
    }

    private func start(_ item: Plan.Item, _ step: Folder?, _ id: CommandID, _ record: JobRecord) async throws -> Supervisor {
        let executor = executor
        // Begun before, and nothing was launched: the same order again.
        if let step { return try await aside { try executor.start(step) } }
        let name = item.name.rawValue
        let plugin = try RunShellScript(item.inputs)
        let order = plugin.order(
            shell: configuration.scriptShell, environment: environment, account: account,
            variables: [
                StepFolder.marker: marker(record, name),
                "SSM_COMMAND_ID": id.rawValue,
                "AWS_SSM_INSTANCE_ID": configuration.node.rawValue,
                "AWS_SSM_REGION_NAME": configuration.region,
                "AWS_SSM_PLATFORM_NAME": configuration.platformName,
                "AWS_SSM_PLATFORM_VERSION": configuration.platformVersion,
            ], outputBudget: configuration.outputBudgetBytes)
        guard let orderBytes = order.bytes else { throw FileError("write", "an environment variable that holds NUL", 22) }
        let (script, bootID) = (plugin.script, bootID)
        return try await onDisk { ledger in
            try executor.start(ledger.beginStep(name, of: id, script: script, order: orderBytes, bootID: bootID))
        }
    }

    /// Waits for the supervisor's end, and passes a cancellation on to it.
    private func follow(_ supervisor: Supervisor, _ id: CommandID) async throws {
        let isCancelled = state.withLockedValue { state in
            state.supervisors[id] = supervisor
            return state.cancelled.contains(id)
        }
        defer { state.withLockedValue { _ = $0.supervisors.removeValue(forKey: id) } }
        // The mark may have been made while nobody was registered to be told.
        if isCancelled { supervisor.nudge() }
        guard await supervisor.awaitEnd() else { throw CancellationError() }
    }

    private func streams(_ step: Folder) async throws -> StepStreams {
        try await aside { try StepStreams(of: step) }
    }

    /// By this a step's processes are found when their supervisor is lost: it is in their environment.
    private func marker(_ record: JobRecord, _ step: String) -> String { record.jobID + "/" + step }

    // MARK: Ending

    private func expire(_ id: CommandID, _ record: JobRecord, _ builder: JobReply, _ plan: Plan, _ words: String) async throws {
        var builder = builder
        for item in plan.items where !builder.endedSteps.contains(item.name.rawValue) {
            let outcome = StepOutcome(status: .timedOut, code: -1, notice: words, at: serverNow().milliseconds)
            builder.stepEnded(item, outcome, PlanMachine.Ending(status: .timedOut, code: -1))
        }
        try await finish(id, record, builder.final(.timedOut, trace: words, at: serverNow()), .timedOut, isStarted: false)
    }

    private func stopAfterUnknown(_ id: CommandID, _ record: JobRecord, _ builder: JobReply, _ plan: Plan, _ culprit: Plan.Item)
        async throws
    {
        var builder = builder
        for item in plan.items where !builder.endedSteps.contains(item.name.rawValue) {
            let outcome = StepOutcome(
                status: .skipped, code: 0, notice: "Step skipped: the outcome of step '\(culprit.name)' is unknown.",
                at: serverNow().milliseconds)
            builder.stepEnded(item, outcome, PlanMachine.Ending(status: .skipped, code: 0))
        }
        let trace = "Outcome unknown: step '\(culprit.name)' was interrupted. It is not run again."
        try await finish(id, record, builder.final(.failed, trace: trace, at: serverNow()), .failed, isStarted: true)
    }

    /// The reply is on the disk before it is sent, and there until it is acknowledged.
    private func finish(_ id: CommandID, _ record: JobRecord, _ reply: AgentJobReply?, _ status: DocumentStatus, isStarted: Bool)
        async throws
    {
        guard let reply else { throw FileError("encode", "the reply of \(id)", 22) }
        logger.info("job ended", metadata: ["command": "\(id)", "status": "\(status.rawValue)"])
        let uploads = PendingUpload.list(of: reply)
        do {
            if !uploads.isEmpty { try await onDisk { try $0.storeUploads(uploads, of: id) } }
            try await onDisk { try $0.store(reply, of: id, sync: !isStarted) }
        } catch {
            // A full disk must not keep the outcome from the controller. After a restart the same is made anew from the steps; where
            // they do not tell it, the job is closed, so that it is not run after it was reported as ended.
            logger.error("could not store a reply; it is sent all the same", metadata: ["command": "\(id)", "reason": "\(error)"])
            if !isStarted {
                let now = serverNow().milliseconds
                try? await onDisk { try $0.close(id, outcome: status.rawValue, finishedAt: now) }
            }
        }
        state.withLockedValue { $0.unacknowledged[id] = (record.replyID, status.rawValue) }
        send(reply, id: record.replyID, at: serverNow())
        outputs.ended(id, uploads)
        end(id)
    }

    private func end(_ id: CommandID) {
        state.withLockedValue { state in
            state.queue.remove(id)
            state.cancelled.remove(id)
        }
        reboot?.othersChanged()
        wake.yield()
    }

    // MARK: Sending

    private func builder(_ jobID: String, _ content: SendCommandContent?) -> JobReply {
        JobReply(jobID: jobID, content: content, agentVersion: configuration.agentVersion, platformVersion: configuration.platformVersion)
    }

    private func send(_ reply: AgentJobReply?, id: UUID, at time: Timestamp) {
        guard let reply, let send = state.withLockedValue({ $0.send }) else { return }
        do {
            send(try AgentMessage(.agentJobReply, createdDate: time, messageID: id, payload: reply))
        } catch {
            logger.error("could not send a reply", metadata: ["reason": "\(error)"])
        }
    }

    private func resend() async {
        let due = state.withLockedValue { state -> [CommandID] in
            guard state.mustResend, state.send != nil else { return [] }
            state.mustResend = false
            return state.unacknowledged.keys.sorted()
        }
        for id in due { await resend(id) }
    }

    private func resend(_ id: CommandID) async {
        guard let messageID = state.withLockedValue({ $0.unacknowledged[id]?.reply }) else { return }
        do {
            send(try await onDisk { try $0.reply(id) }, id: messageID, at: serverNow())
        } catch {
            logger.error("could not read a reply", metadata: ["command": "\(id)", "reason": "\(error)"])
        }
    }

    /// One timer for all replies that wait for an acknowledgement, and none when no reply does.
    private func planResend(in group: inout DiscardingTaskGroup) {
        let isNeeded = state.withLockedValue { state in
            guard !state.isResendPlanned, !state.unacknowledged.isEmpty, state.send != nil else { return false }
            state.isResendPlanned = true
            return true
        }
        guard isNeeded else { return }
        let waiting = Set(state.withLockedValue { $0.unacknowledged.keys })
        group.addTask { [self] in
            try? await Task.sleep(for: .seconds(Self.resendSeconds))
            state.withLockedValue { state in
                state.isResendPlanned = false
                // Those that came meanwhile have not waited long enough; they are in the next round.
                state.mustResend = state.mustResend || state.unacknowledged.keys.contains { waiting.contains($0) }
            }
            wake.yield()
        }
    }

    // MARK: Clock and disk

    private func hostNow() -> Int64 { Timestamp.now().milliseconds }

    private func serverNow() -> Timestamp { Timestamp.now().adding(milliseconds: state.withLockedValue { $0.clockOffset ?? 0 }) }

    private func isCancelled(_ id: CommandID) -> Bool { state.withLockedValue { $0.cancelled.contains(id) } }

    /// At most once an hour, and only when something happens anyway: an idle agent has no timer for it.
    private func sweepNowAndThen(_ now: Timestamp) async {
        let isDue = state.withLockedValue { state in
            guard now.milliseconds - state.lastSweep >= 3_600_000 else { return false }
            state.lastSweep = now.milliseconds
            return true
        }
        guard isDue else { return }
        let retention = Int64(configuration.retentionHours) * 3_600_000
        do {
            try await onDisk { _ = try $0.sweep(now: now.milliseconds, retention: retention, slack: Self.startBySlack) }
        } catch {
            logger.warning("could not remove old jobs", metadata: ["reason": "\(error)"])
        }
    }

    private func onDisk<T: Sendable>(_ body: @escaping @Sendable (JobLedger) throws -> T) async throws -> T {
        let ledger = ledger
        return try await withCheckedThrowingContinuation { continuation in
            disk.async { continuation.resume(with: Result { try body(ledger) }) }
        }
    }

    /// What may take long, and what concerns one job alone, does not hold up the ledger.
    private func aside<T: Sendable>(_ body: @escaping @Sendable () throws -> T) async throws -> T {
        try await withCheckedThrowingContinuation { continuation in
            DispatchQueue.global().async { continuation.resume(with: Result { try body() }) }
        }
    }

    private static func outcome(of reply: AgentJobReply) -> String {
        (try? reply.decodeContent().documentStatus) ?? DocumentStatus.failed.rawValue
    }
}

extension DocumentValue {
    package init(_ value: JSONValue) {
        self =
            switch value {
            case .null: .null
            case .bool(let value): .bool(value)
            case .integer(let value): .integer(value)
            case .number(let value): .number(value)
            case .string(let value): .string(value)
            case .array(let values): .array(values.map(DocumentValue.init))
            case .object(let members): .object(members.mapValues(DocumentValue.init))
            }
    }
}
