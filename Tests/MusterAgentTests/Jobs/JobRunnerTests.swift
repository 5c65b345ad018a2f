import FoundationEssentials
import Glibc
import Logging
import MusterAgent
import MusterWire
import NIOConcurrencyHelpers
import ServiceLifecycle
import Testing

@Suite(.timeLimit(.minutes(2))) struct JobRunnerTests {
    private let temporary: TemporaryFolder
    private let node = NodeID.random()

    init() throws { temporary = try TemporaryFolder() }

    /// The other side: what the agent said, in order.
    private final class Controller: Sendable {
        private let messages = NIOLockedValueBox<[(id: UUID, reply: AgentJobReply)]>([])

        var replies: [(id: UUID, reply: AgentJobReply)] { messages.withLockedValue { $0 } }

        func take(_ message: AgentMessage) {
            guard let reply = try? message.decodePayload(AgentJobReply.self) else { return }
            messages.withLockedValue { $0.append((message.messageID, reply)) }
        }

        func contents(_ id: CommandID) -> [(id: UUID, content: JobReplyContent)] {
            replies.filter { $0.reply.jobID.contains(id.rawValue) }.compactMap { entry in
                (try? entry.reply.decodeContent()).map { (entry.id, $0) }
            }
        }

        func final(_ id: CommandID) async throws -> (id: UUID, content: JobReplyContent) {
            func find() -> (id: UUID, content: JobReplyContent)? {
                contents(id).last { !["InProgress", "SuccessAndReboot"].contains($0.content.documentStatus) }
            }
            _ = try await eventually(within: 20) { find() != nil }
            return try #require(find())
        }
    }

    private func configuration(
        parallel: Int = 5, queued: Int = 5, program: String = AgentProgram.path, reboot: HostReboot.Settings? = nil
    ) -> JobRunnerConfiguration {
        JobRunnerConfiguration(
            stateDirectory: temporary.path + "/state", node: node, region: "eu-test-1", agentVersion: "3.3.1.0", platformName: "Debian",
            platformVersion: "12",
            maximumParallelJobs: parallel, queuedJobs: queued, identityGeneration: 2, agentExecutable: program,
            reboot: reboot, bootIDFile: reboot == nil ? ProcessTable.bootIDFile : temporary.path + "/boot")
    }

    /// An agent's life: from its start to its end, which leaves its supervisors alone as kill -9 would.
    private func withAgent<T: Sendable>(
        _ configuration: JobRunnerConfiguration? = nil, controller: Controller = Controller(), connected: Bool = true,
        _ body: (JobRunner, Controller) async throws -> T
    ) async throws -> T {
        var opened: JobRunner?
        // The runner before this one lets go of the ledger when its last task is gone.
        _ = try await eventually {
            opened = try? JobRunner(configuration: configuration ?? self.configuration(), logger: Logger(label: "test"))
            return opened != nil
        }
        let runner = try #require(opened)
        opened = nil
        let running = Task { try await runner.run() }
        if connected {
            runner.serverTime(0)
            runner.attach { controller.take($0) }
        }
        let result: Result<T, any Error>
        do { result = .success(try await body(runner, controller)) } catch { result = .failure(error) }
        running.cancel()
        try await running.value
        return try result.get()
    }

    private func job(
        _ commands: [String], id: CommandID, startBy: Int64? = nil, generation: Int = 2, document: JSONValue? = nil,
        timeout: String = "3600"
    ) throws -> AgentJob {
        let content: JSONValue =
            document
            ?? .object([
                "schemaVersion": .string("2.2"),
                "parameters": .object(["commands": .object(["type": .string("StringList")])]),
                "mainSteps": .array([
                    .object([
                        "action": .string("aws:runShellScript"), "name": .string("run"),
                        "inputs": .object(["runCommand": .string("{{ commands }}"), "timeoutSeconds": .string(timeout)]),
                    ])
                ]),
            ])
        return try AgentJob(
            SendCommandContent(
                parameters: document == nil ? ["commands": .array(commands.map(JSONValue.string))] : [:], documentContent: content,
                commandID: id.rawValue,
                documentName: "AWS-RunShellScript", startBy: startBy ?? Timestamp.now().milliseconds + 60_000,
                identityGeneration: generation, storeEpoch: "e",
                dispatchFence: 1),
            jobID: JobID(command: id, node: node))
    }

    private func steps(_ steps: [(name: String, command: String, extra: [String: JSONValue])]) -> JSONValue {
        .object([
            "schemaVersion": .string("2.2"),
            "mainSteps": .array(
                steps.map { step in
                    .object([
                        "action": .string("aws:runShellScript"), "name": .string(step.name),
                        "inputs": .object(["runCommand": .array([.string(step.command)])].merging(step.extra) { $1 }),
                    ])
                }),
        ])
    }

    private func deliver(_ job: AgentJob, to runner: JobRunner) async -> String {
        await runner.receive(job, messageID: UUID(), createdDate: .now()).statusCode
    }

    private func cancel(_ id: CommandID, at runner: JobRunner) async throws -> String {
        let target = JobID(command: id, node: node)
        return await deliver(
            try AgentJob(CancelCommandContent(cancelMessageID: target.description), jobID: JobID(command: .random(), node: node)),
            to: runner)
    }

    // MARK: One job

    /// A job that cannot be stored: the reason stands where readers of a step's output look.
    @Test func whatCannotBeStoredIsRefusedInWords() async throws {
        try await withAgent { runner, controller in
            let id = CommandID.random()
            let jobs = try Folder.open(temporary.path + "/state/jobs")
            try jobs.createFile(id.rawValue, containing: [])
            #expect(await deliver(try job(["echo hi"], id: id), to: runner) == JobAcknowledgeCode.parseError.rawValue)
            let step = try #require(try await controller.final(id).content.runtimeStatus?["run"])
            #expect(step.status == .failed)
            #expect(step.standardError.hasPrefix("The command was not run: the node could not store it. Cannot open folder "))
        }
    }

    @Test func aJobFromAcceptanceToTombstone() async throws {
        let id = CommandID.random()
        try await withAgent { (runner: JobRunner, controller: Controller) async throws in
            let job = try job(
                [
                    "echo hi; echo $SSM_COMMAND_ID $AWS_SSM_INSTANCE_ID $AWS_SSM_REGION_NAME $AWS_SSM_PLATFORM_NAME $AWS_SSM_PLATFORM_VERSION"
                ], id: id)
            let acknowledge = await runner.receive(job, messageID: UUID(), createdDate: Timestamp(milliseconds: 1_700_000_000_123))
            #expect(acknowledge.statusCode == "200")
            #expect(acknowledge.createdDate == "2023-11-14T22:13:20.123Z")
            let final = try await controller.final(id)
            #expect(final.content.documentStatus == "Success")
            let step = try #require(final.content.runtimeStatus?["run"])
            #expect(step.output == "hi\n\(id) \(node) eu-test-1 Debian 12\n")
            #expect(controller.contents(id).first?.content.runtimeStatus == nil)
            // Not acknowledged: a duplicate brings the same message again.
            #expect(await deliver(job, to: runner) == "51405")
            #expect(try await eventually { controller.contents(id).filter { $0.id == final.id }.count == 2 })
            await runner.replyAcknowledged(jobID: job.jobID, messageID: UUID())
            #expect(text(temporary.path + "/state/jobs/\(id)/job.json") != "")
            await runner.replyAcknowledged(jobID: job.jobID, messageID: final.id)
            #expect(text(temporary.path + "/state/jobs/\(id)/job.json") == "")
            #expect(text(temporary.path + "/state/jobs/\(id)/tombstone.json").contains("Success"))
            #expect(text(temporary.path + "/state/jobs/\(id)/step.run/stdout").hasPrefix("hi\n"))
            #expect(await deliver(job, to: runner) == "51405")
        }
        try await withAgent { (runner: JobRunner, controller: Controller) async throws in
            #expect(try await deliver(job(["echo again"], id: id), to: runner) == "51405")
            #expect(controller.contents(id).isEmpty)
        }
    }

    @Test(arguments: [
        ("exit 3", "Failed", 3), ("exit 137", "TimedOut", 137), ("exit 168", "Success", 168), ("exit 194", "Failed", 194),
        ("exit 0", "Success", 0),
    ])
    func exitCodes(_ command: String, _ status: String, _ code: Int) async throws {
        let id = CommandID.random()
        try await withAgent { (runner: JobRunner, controller: Controller) async throws in
            #expect(try await deliver(job([command], id: id), to: runner) == "200")
            let final = try await controller.final(id).content
            #expect(final.documentStatus == status)
            #expect(final.runtimeStatus?["run"]?.code == code)
        }
    }

    @Test func aMegabyteShowsAs2500() async throws {
        let id = CommandID.random()
        try await withAgent { (runner: JobRunner, controller: Controller) async throws in
            #expect(try await deliver(job(["head -c 1048576 /dev/zero | tr '\\0' '\\001'"], id: id), to: runner) == "200")
            let final = try await controller.final(id).content
            #expect(final.runtimeStatus?["run"]?.output.unicodeScalars.count == 2500)
        }
    }

    @Test func stepsFollowTheDocument() async throws {
        let id = CommandID.random()
        let document = steps([
            ("one", "echo 1", [:]), ("two", "exit 4", ["onFailure": .string("exit")]), ("three", "echo 3", [:]),
            ("four", "echo 4", ["finallyStep": .bool(true)]),
        ])
        try await withAgent { (runner: JobRunner, controller: Controller) async throws in
            #expect(try await deliver(job([], id: id, document: document), to: runner) == "200")
            let final = try await controller.final(id).content
            #expect(final.documentStatus == "Failed")
            #expect(final.runtimeStatus?.mapValues(\.status) == ["one": .success, "two": .failed, "three": .skipped, "four": .success])
            #expect(controller.contents(id).filter { $0.content.runtimeStatus?.count == 1 }.count == 4)
        }
    }

    @Test func anUnknownPluginFailsInWords() async throws {
        let id = CommandID.random()
        let document: JSONValue = .object([
            "schemaVersion": .string("2.2"),
            "mainSteps": .array([.object(["action": .string("aws:softwareInventory"), "name": .string("inv"), "inputs": .object([:])])]),
        ])
        try await withAgent { (runner: JobRunner, controller: Controller) async throws in
            #expect(try await deliver(job([], id: id, document: document), to: runner) == "200")
            let final = try await controller.final(id).content
            #expect(final.documentStatus == "Failed")
            #expect(final.runtimeStatus?["inv"]?.output.contains("aws:softwareInventory") == true)
        }
    }

    // MARK: What is not run

    @Test func aJobPastStartByIsNeverStarted() async throws {
        let id = CommandID.random()
        try await withAgent { (runner: JobRunner, controller: Controller) async throws in
            // The host's clock is an hour behind the server's.
            runner.serverTime(3_600_000)
            #expect(
                try await deliver(job(["touch \(temporary.path)/ran"], id: id, startBy: Timestamp.now().milliseconds + 60_000), to: runner)
                    == "200")
            let final = try await controller.final(id).content
            #expect(final.documentStatus == "TimedOut")
            #expect(final.documentTraceOutput.hasPrefix("Not started"))
        }
        try await withAgent { (_: JobRunner, controller: Controller) async throws in
            // Found again with another clock, it stays what it was.
            #expect(try await controller.final(id).content.documentStatus == "TimedOut")
        }
        #expect(access(temporary.path + "/ran", F_OK) != 0)
    }

    @Test func badJobsAreRefusedAndSaidSo() async throws {
        let before = try Set(FileManager.default.contentsOfDirectory(atPath: temporary.path))
        try await withAgent { (runner: JobRunner, controller: Controller) async throws in
            let good = try job(["true"], id: .random())
            var bad: [AgentJob] = [
                "{", "[]", "{\"DocumentContent\":{},\"CommandId\":\"\",\"DocumentName\":\"\"}", String(repeating: "[", count: 20_000),
            ].map {
                AgentJob(content: $0, jobID: good.jobID, topic: good.topic)
            }
            for name in [
                "", "../../etc/cron.d/x", "aws.ssm.../../x.\(node)", "aws.ssm.\(CommandID.random()).\(NodeID.random())",
                "aws.ssm.\0.\(node)", String(repeating: "a", count: 4096),
            ] {
                bad.append(AgentJob(content: good.content, jobID: name, topic: good.topic))
            }
            bad.append(try job(["true"], id: .random(), generation: 1))
            for job in bad { #expect(await deliver(job, to: runner) == "51408", "\(job.jobID.prefix(60))") }
            // All but the one whose name is too long to be said back.
            #expect(controller.replies.count == bad.count - 1)
            let statuses = Set(controller.replies.map { try? $0.reply.decodeContent().documentStatus })
            #expect(statuses == ["Failed"])
            #expect(await deliver(AgentJob(content: "", jobID: good.jobID, topic: "other"), to: runner) == "51403")
            #expect(try FileManager.default.contentsOfDirectory(atPath: temporary.path + "/state/jobs") == [".lock"])
        }
        #expect(try Set(FileManager.default.contentsOfDirectory(atPath: temporary.path)) == before.union(["state"]))
    }

    @Test func aFullBufferStoresNothingAndAStuckJobBlocksNobody() async throws {
        let ids = (0..<4).map { _ in CommandID.random() }
        try await withAgent(configuration(parallel: 2, queued: 1)) { (runner: JobRunner, controller: Controller) async throws in
            #expect(try await deliver(job(["sleep 1000"], id: ids[0]), to: runner) == "200")
            #expect(try await deliver(job(["while [ ! -e \(temporary.path)/go ]; do sleep 0.02; done"], id: ids[1]), to: runner) == "200")
            #expect(try await deliver(job(["echo third"], id: ids[2]), to: runner) == "200")
            #expect(try await deliver(job(["echo fourth"], id: ids[3]), to: runner) == "51402")
            #expect(access(temporary.path + "/state/jobs/\(ids[3])", F_OK) != 0)
            creat(temporary.path + "/go", 0o600)
            #expect(try await controller.final(ids[1]).content.documentStatus == "Success")
            #expect(try await controller.final(ids[2]).content.documentStatus == "Success")
            #expect(try await deliver(job(["echo fourth"], id: ids[3]), to: runner) == "200")
            #expect(try await controller.final(ids[3]).content.documentStatus == "Success")
            #expect(try await cancel(ids[0], at: runner) == "200")
            #expect(try await controller.final(ids[0]).content.documentStatus == "Cancelled")
        }
    }

    // MARK: Cancelling

    @Test func cancelWhileRunningEndsTheTree() async throws {
        let id = CommandID.random()
        try await withAgent { (runner: JobRunner, controller: Controller) async throws in
            let script = "(setsid sh -c 'echo $$ > \(temporary.path)/a; exec sleep 1000' &) ; echo $$ > \(temporary.path)/b; sleep 1000"
            #expect(try await deliver(job([script], id: id), to: runner) == "200")
            let (a, b) = (try await pid(in: temporary.path + "/a"), try await pid(in: temporary.path + "/b"))
            #expect(try await cancel(id, at: runner) == "200")
            let final = try await controller.final(id).content
            #expect(final.documentStatus == "Cancelled")
            #expect(final.runtimeStatus?["run"]?.code == 137)
            #expect(!isAlive(a) && !isAlive(b))
        }
    }

    @Test func cancelWhileWaitingIsAnsweredAtOnce() async throws {
        let (first, second) = (CommandID.random(), CommandID.random())
        try await withAgent(configuration(parallel: 1)) { (runner: JobRunner, controller: Controller) async throws in
            #expect(try await deliver(job(["sleep 1000"], id: first), to: runner) == "200")
            #expect(try await deliver(job(["touch \(temporary.path)/ran"], id: second), to: runner) == "200")
            #expect(try await cancel(second, at: runner) == "200")
            #expect(try await controller.final(second).content.documentStatus == "Cancelled")
            #expect(try await cancel(first, at: runner) == "200")
            #expect(try await controller.final(first).content.documentStatus == "Cancelled")
        }
        #expect(access(temporary.path + "/ran", F_OK) != 0)
    }

    /// The connection that had the job may have ended under it. Whoever cancels then must not wait for a job that is not there.
    @Test func cancelBeforeTheJobComes() async throws {
        let id = CommandID.random()
        try await withAgent { (runner: JobRunner, controller: Controller) async throws in
            for count in 1...2 {
                #expect(try await cancel(id, at: runner) == "200")
                let said = controller.contents(id)
                #expect(said.count == count && said.last?.content.documentStatus == "Cancelled")
                #expect(said.last?.content.documentTraceOutput.contains("Nothing was run") == true)
            }
        }
        try await withAgent { (runner: JobRunner, controller: Controller) async throws in
            #expect(try await deliver(job(["touch \(temporary.path)/ran"], id: id), to: runner) == "51405")
            #expect(try await cancel(id, at: runner) == "200")
            #expect(controller.contents(id).map(\.content.documentStatus) == ["Cancelled"])
        }
        #expect(access(temporary.path + "/ran", F_OK) != 0)
    }

    @Test func cancelInTheFirstMoments() async throws {
        try await withAgent(configuration(parallel: 20)) { (runner: JobRunner, controller: Controller) async throws in
            for round in 0..<20 {
                let id = CommandID.random()
                #expect(try await deliver(job(["sleep 1000"], id: id), to: runner) == "200")
                if round % 2 == 1 { try await Task.sleep(for: .milliseconds(round)) }
                #expect(try await cancel(id, at: runner) == "200")
                #expect(try await controller.final(id).content.documentStatus == "Cancelled")
            }
        }
    }

    // MARK: Reboots

    /// A host that is asked to reboot, and does when the test says so.
    private func reboots(_ command: String = "echo asked >> asked", patience: Duration = .seconds(60)) -> JobRunnerConfiguration {
        configuration(
            reboot: HostReboot.Settings(command: ["sh", "-c", "cd \(temporary.path); \(command)"], patience: patience))
    }

    private func boot(_ name: String) throws { try Data(name.utf8).write(to: URL(filePath: temporary.path + "/boot")) }

    private func hasAsked(_ id: CommandID, _ controller: Controller) -> Bool {
        controller.contents(id).contains { $0.content.documentStatus == "SuccessAndReboot" } && text(temporary.path + "/asked") == "asked\n"
    }

    @Test func afterARebootTheStepThatAskedForItGoesOnAndNoOther() async throws {
        let id = CommandID.random()
        let folder = temporary.path
        let document = steps([
            ("one", "echo x >> \(folder)/one", [:]),
            ("two", "echo x >> \(folder)/two; echo run $(wc -l < \(folder)/two); [ $(wc -l < \(folder)/two) -gt 1 ] || exit 194", [:]),
            ("three", "echo x >> \(folder)/three", [:]),
        ])
        try boot("first")
        try await withAgent(reboots()) { (runner: JobRunner, controller: Controller) async throws in
            #expect(try await deliver(job([], id: id, document: document), to: runner) == "200")
            #expect(try await eventually { hasAsked(id, controller) })
            let step = try #require(controller.contents(id).last?.content.runtimeStatus?["two"])
            #expect(step.status == .successAndReboot && step.output == "run 1\n")
        }
        // Not rebooted: the next agent waits as well, and asks once more.
        try await withAgent(reboots()) { (_: JobRunner, _: Controller) async throws in
            #expect(try await eventually { text(folder + "/asked") == "asked\nasked\n" })
        }
        #expect(text(folder + "/two") == "x\n" && text(folder + "/three") == "")
        try boot("second")
        try await withAgent(reboots()) { (_: JobRunner, controller: Controller) async throws in
            let final = try await controller.final(id).content
            #expect(final.documentStatus == "Success")
            #expect(final.runtimeStatus?["two"]?.output == "run 1\nrun 2\n")
        }
        #expect([text(folder + "/one"), text(folder + "/two"), text(folder + "/three")] == ["x\n", "x\nx\n", "x\n"])
        #expect(text(folder + "/asked") == "asked\nasked\n")
    }

    /// Where between two runs it is interrupted makes no difference.
    @Test(arguments: 0...4) func theNextRunBeginsOnceWhereverItsBeginningWasInterrupted(_ stage: Int) async throws {
        let id = CommandID.random()
        let folder = temporary.path
        let script = "echo x >> \(folder)/runs; [ $(wc -l < \(folder)/runs) -gt 1 ] || exit 194"
        try boot("first")
        try await withAgent(reboots()) { (runner: JobRunner, controller: Controller) async throws in
            #expect(try await deliver(job([script], id: id), to: runner) == "200")
            #expect(try await eventually { hasAsked(id, controller) })
        }
        let step = try Folder.open("\(folder)/state/jobs/\(id)/step.run")
        if stage >= 1 { try step.createFile(StepFolder.attempt, containing: Array("2 5 0 0\n".utf8)) }
        if stage >= 2 { try step.replaceFile(StepFolder.started, containing: Array("second".utf8), sync: false) }
        if stage >= 3 { try step.removeFile(StepFolder.result) }
        if stage >= 4 { for name in [StepFolder.launched, StepFolder.lock] { try step.removeFile(name) } }
        // Interrupted on one boot, and gone on with on the next.
        try boot(stage.isMultiple(of: 2) ? "second" : "third")
        try await withAgent(reboots(), connected: false) { (runner: JobRunner, controller: Controller) async throws in
            runner.attach { controller.take($0) }
            // That the job may no longer be started does not concern one that has been.
            runner.serverTime(120_000)
            #expect(try await controller.final(id).content.documentStatus == "Success")
        }
        #expect(text(folder + "/runs") == "x\nx\n")
        #expect(try StepAttempt.read(in: step).number == 2)
        #expect(try StepAttempt.RebootMark.read(in: step) == nil)
    }

    @Test func aRebootInTheMiddleOfTheNextRunIsUnknown() async throws {
        let id = CommandID.random()
        let folder = temporary.path
        try boot("first")
        try await withAgent(reboots()) { (runner: JobRunner, controller: Controller) async throws in
            let script =
                "echo $$ > \(folder)/pid; echo x >> \(folder)/runs; [ $(wc -l < \(folder)/runs) -gt 1 ] || exit 194; exec sleep 1000"
            #expect(try await deliver(job([script], id: id), to: runner) == "200")
            #expect(try await eventually { hasAsked(id, controller) })
        }
        try boot("second")
        try await withAgent(reboots()) { (_: JobRunner, _: Controller) async throws in
            #expect(try await eventually { text(folder + "/runs") == "x\nx\n" })
            // The supervisor writes down whom it has started when that one runs already.
            let launched = "\(folder)/state/jobs/\(id)/step.run/launched"
            #expect(try await eventually { StepFolder.decode(Array(text(launched).utf8)) != nil })
        }
        let supervisor = try #require(StepFolder.decode(Array(text("\(folder)/state/jobs/\(id)/step.run/lock").utf8)))
        let script = try #require(StepFolder.decode(Array(text("\(folder)/state/jobs/\(id)/step.run/launched").utf8)))
        for pid in [supervisor.pid, script.pid, try await pid(in: folder + "/pid")] { kill(pid, SIGKILL) }
        try boot("third")
        try await withAgent(reboots()) { (_: JobRunner, controller: Controller) async throws in
            let final = try await controller.final(id).content
            #expect(final.documentStatus == "Failed" && final.runtimeStatus?["run"]?.standardError.contains("Outcome unknown") == true)
        }
        #expect(text(folder + "/runs") == "x\nx\n")
    }

    @Test func aRebootThatDoesNotComeAboutIsAFailureInWords() async throws {
        try boot("first")
        let cases: [(String, Duration, String)] = [
            ("exit 3", .seconds(60), "ended with exit status 3"),
            ("exec sleep 60", .milliseconds(100), "asked to reboot 3 times, and did not"),
            ("exit 0", .milliseconds(100), "asked to reboot 3 times, and did not"),
        ]
        for (command, patience, words) in cases {
            let id = CommandID.random()
            try await withAgent(reboots(command, patience: patience)) { (runner: JobRunner, controller: Controller) async throws in
                #expect(try await deliver(job(["exit 194"], id: id), to: runner) == "200")
                let final = try await controller.final(id).content
                #expect(final.documentStatus == "Failed" && final.runtimeStatus?["run"]?.code == 194)
                #expect(final.runtimeStatus?["run"]?.standardError.contains(words) == true)
                // The node goes on.
                let next = CommandID.random()
                #expect(try await deliver(job(["echo on"], id: next), to: runner) == "200")
                #expect(try await controller.final(next).content.documentStatus == "Success")
            }
        }
    }

    @Test func aJobIsCancelledWhileItWaitsForAReboot() async throws {
        let id = CommandID.random()
        try boot("first")
        try await withAgent(reboots()) { (runner: JobRunner, controller: Controller) async throws in
            #expect(try await deliver(job(["exit 194"], id: id), to: runner) == "200")
            #expect(try await eventually { hasAsked(id, controller) })
            #expect(try await cancel(id, at: runner) == "200")
            #expect(try await controller.final(id).content.documentStatus == "Cancelled")
        }
    }

    // MARK: A new agent after the old one

    @Test func aRunningStepIsAdopted() async throws {
        let id = CommandID.random()
        try await withAgent { (runner: JobRunner, _: Controller) async throws in
            #expect(
                try await deliver(
                    job(["echo x >> \(temporary.path)/runs; while [ ! -e \(temporary.path)/go ]; do sleep 0.02; done; exit 6"], id: id),
                    to: runner) == "200")
            #expect(try await eventually { text(temporary.path + "/runs") == "x\n" })
        }
        try await withAgent { (_: JobRunner, controller: Controller) async throws in
            creat(temporary.path + "/go", 0o600)
            #expect(try await controller.final(id).content.runtimeStatus?["run"]?.code == 6)
        }
        #expect(text(temporary.path + "/runs") == "x\n")
    }

    @Test func aStepThatEndedMeanwhileIsReported() async throws {
        let id = CommandID.random()
        try await withAgent { (runner: JobRunner, _: Controller) async throws in
            #expect(try await deliver(job(["echo x >> \(temporary.path)/runs; sleep 0.3"], id: id), to: runner) == "200")
            #expect(try await eventually { text(temporary.path + "/runs") == "x\n" })
        }
        #expect(try await eventually { text(temporary.path + "/state/jobs/\(id)/step.run/result.json") != "" })
        try await withAgent { (_: JobRunner, controller: Controller) async throws in
            #expect(try await controller.final(id).content.documentStatus == "Success")
        }
        #expect(text(temporary.path + "/runs") == "x\n")
    }

    @Test func anUnacknowledgedReplyIsSentAgainAsTheSameMessage() async throws {
        let id = CommandID.random()
        let first = try await withAgent { (runner: JobRunner, controller: Controller) async throws in
            #expect(try await deliver(job(["echo hi"], id: id), to: runner) == "200")
            return try await controller.final(id).id
        }
        try await withAgent { (runner: JobRunner, controller: Controller) async throws in
            #expect(try await controller.final(id).id == first)
            runner.detach()
            let later = Controller()
            runner.attach { later.take($0) }
            #expect(try await later.final(id).id == first)
        }
        // Lost with the power: made again from the results.
        unlink(temporary.path + "/state/jobs/\(id)/reply.json")
        try await withAgent { (runner: JobRunner, controller: Controller) async throws in
            let final = try await controller.final(id)
            #expect(final.id == first)
            #expect(final.content.runtimeStatus?["run"]?.output == "hi\n")
        }
    }

    @Test func acceptedAndNotStartedIsStartedOnceTheTimeIsKnown() async throws {
        let id = CommandID.random()
        // Accepted while nothing can start: the first job holds the only place.
        let first = CommandID.random()
        try await withAgent(configuration(parallel: 1)) { (runner: JobRunner, _: Controller) async throws in
            #expect(try await deliver(job(["sleep 0.2"], id: first), to: runner) == "200")
            #expect(try await deliver(job(["echo x >> \(temporary.path)/runs"], id: id), to: runner) == "200")
        }
        try await withAgent(connected: false) { (runner: JobRunner, controller: Controller) async throws in
            try await Task.sleep(for: .milliseconds(400))
            #expect(text(temporary.path + "/runs") == "")
            runner.attach { controller.take($0) }
            runner.serverTime(0)
            #expect(try await controller.final(id).content.documentStatus == "Success")
        }
        #expect(text(temporary.path + "/runs") == "x\n")
    }

    @Test func aLostSupervisorIsUnknownAndNotRunAgain() async throws {
        let id = CommandID.random()
        try await withAgent { (runner: JobRunner, controller: Controller) async throws in
            #expect(
                try await deliver(
                    job(["echo x >> \(temporary.path)/runs; echo partial; echo $$ > \(temporary.path)/pid; sleep 1000"], id: id), to: runner
                ) == "200")
            let script = try await pid(in: temporary.path + "/pid")
            let supervisor = try #require(StepFolder.decode(Array(text(temporary.path + "/state/jobs/\(id)/step.run/lock").utf8)))
            // What is in the pipe goes with the supervisor; what it has written down stays.
            _ = try await eventually { text(temporary.path + "/state/jobs/\(id)/step.run/stdout") == "partial\n" }
            kill(supervisor.pid, SIGKILL)
            let final = try await controller.final(id).content
            #expect(final.documentStatus == "Failed")
            #expect(final.documentTraceOutput.contains("unknown"))
            let step = try #require(final.runtimeStatus?["run"])
            #expect(step.code == -1)
            #expect(step.output.hasPrefix("partial\n"))
            #expect(step.standardError.contains("Outcome unknown"))
            #expect(!isAlive(script))
        }
        #expect(text(temporary.path + "/runs") == "x\n")
    }

    @Test func agentAndSupervisorLostTogether() async throws {
        let id = CommandID.random()
        let document = steps([
            ("one", "echo x >> \(temporary.path)/runs; echo $$ > \(temporary.path)/pid; exec sleep 1000", [:]),
            ("two", "touch \(temporary.path)/second", [:]),
        ])
        try await withAgent { (runner: JobRunner, _: Controller) async throws in
            #expect(try await deliver(job([], id: id, document: document), to: runner) == "200")
            _ = try await pid(in: temporary.path + "/pid")
        }
        let supervisor = try #require(StepFolder.decode(Array(text(temporary.path + "/state/jobs/\(id)/step.one/lock").utf8)))
        kill(supervisor.pid, SIGKILL)
        #expect(try await eventually { !isAlive(supervisor.pid) })
        try await withAgent { (_: JobRunner, controller: Controller) async throws in
            let final = try await controller.final(id).content
            #expect(final.documentStatus == "Failed")
            #expect(final.runtimeStatus?.mapValues(\.status) == ["one": .failed, "two": .skipped])
            #expect(try await !isAlive(pid(in: temporary.path + "/pid")))
        }
        #expect(text(temporary.path + "/runs") == "x\n")
        #expect(access(temporary.path + "/second", F_OK) != 0)
    }

    @Test func aRebootBetweenMarkAndResultIsUnknown() async throws {
        let id = CommandID.random()
        try await withAgent(configuration(program: "/bin/false")) { (runner: JobRunner, controller: Controller) async throws in
            #expect(try await deliver(job(["true"], id: id), to: runner) == "200")
            // A program that ends without doing anything: nothing was started, and that is what is said.
            let final = try await controller.final(id).content
            #expect(final.documentStatus == "Failed")
            #expect(final.runtimeStatus?["run"]?.output.contains("ended three times before it could") == true)
        }
        unlink(temporary.path + "/state/jobs/\(id)/reply.json")
        let mark = temporary.path + "/state/jobs/\(id)/step.run/started"
        try Data("another boot".utf8).write(to: URL(filePath: mark))
        try await withAgent { (_: JobRunner, controller: Controller) async throws in
            let final = try await controller.final(id).content
            #expect(final.documentStatus == "Failed")
            #expect(final.runtimeStatus?["run"]?.standardError.contains("rebooted") == true)
        }
    }
}
