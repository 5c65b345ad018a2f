import Glibc
import MusterAgent
import Testing

@Suite(.timeLimit(.minutes(2))) struct StepSupervisorTests {
    private let temporary: TemporaryFolder
    private let job: Folder
    private let executor = ProcessExecutor(executable: AgentProgram.path)
    private let bootID = ProcessTable.bootID()

    init() throws {
        temporary = try TemporaryFolder()
        job = try Folder.open(temporary.path)
    }

    private func step(
        _ script: String, timeout: Int = 60, directory: String = "", budget: Int = StepOrder.outputBudget, environment: [String] = [],
        boot: String? = nil
    ) throws -> Folder {
        let step = try job.create("step")
        try step.createFile(StepFolder.script, mode: 0o700, containing: Array((script + "\n").utf8))
        let order = StepOrder(
            shell: "/bin/sh", workingDirectory: directory, timeoutSeconds: timeout, outputBudget: budget,
            environment: ["PATH=/usr/bin:/bin", "MUSTER_STEP=\(temporary.path)"] + environment)
        try step.createFile(StepFolder.order, containing: try #require(order.bytes))
        try step.createFile(StepFolder.started, containing: Array((boot ?? bootID).utf8))
        return step
    }

    private func run(_ step: Folder) async throws -> StepResult {
        #expect(try await executor.start(step).awaitEnd())
        return try #require(try executor.result(in: step))
    }

    private func out(_ step: Folder) -> String { text(step.path(of: StepFolder.standardOutput)) }
    private func err(_ step: Folder) -> String { text(step.path(of: StepFolder.standardError)) }

    @Test func outputAndExitCode() async throws {
        let step = try step("echo out; echo err >&2; exit 3")
        let result = try await run(step)
        #expect(result.ending == .exited)
        #expect(result.exitCode == 3)
        #expect(result.problem == "")
        #expect(out(step) == "out\n")
        #expect(err(step) == "err\n")
    }

    @Test(arguments: [("TERM", 143), ("KILL", 137), ("INT", 130)])
    func aSignalShowsAs128AndMore(_ name: String, _ code: Int) async throws {
        #expect(try await run(step("kill -\(name) $$")).exitCode == code)
    }

    @Test func aShebangCounts() async throws {
        let step = try step("#!/usr/bin/env python3\nimport sys; print(len(sys.argv))")
        #expect(try await run(step).exitCode == 0)
        #expect(out(step) == "1\n")
    }

    @Test func surroundings() async throws {
        let step = try step(
            "pwd; echo $GREETING; cat; ps -o sid= -o pgid= -o pid= -p $$ 2>/dev/null || echo; ls /proc/self/fd | wc -l", directory: "/usr",
            environment: ["GREETING=a b"])
        #expect(try await run(step).exitCode == 0)
        #expect(out(step).hasPrefix("/usr\na b\n"))
        // stdin, stdout, stderr and the one that reads the folder.
        #expect(out(step).split(separator: "\n").last.map { $0.filter(\.isNumber) } == "4")
    }

    @Test func aMissingWorkingDirectoryFails() async throws {
        let result = try await run(step("touch ran", directory: "/no/such/folder"))
        #expect(result.ending == .notStarted)
        #expect(result.exitCode == 1)
        #expect(result.problem.contains("/no/such/folder"))
        #expect(try !job.open("step").contains(StepFolder.launched))
    }

    /// A full disk is one way not to get this far.
    @Test func aSupervisorThatCannotBeginSaysWhy() async throws {
        let step = try step("touch ran")
        _ = try step.create(StepFolder.standardOutput).createFile("in the way")
        let supervisor = try executor.start(step)
        #expect(await supervisor.awaitEnd())
        #expect(supervisor.words()?.hasPrefix("Cannot remove \(step.path)/stdout: ") == true)
        #expect(try !step.contains(StepFolder.launched))
        #expect(try executor.result(in: step) == nil)
    }

    @Test func aChildThatHoldsTheOutputIsNamed() async throws {
        let result = try await run(step("sleep 60 & echo $! > \(temporary.path)/child; echo done", timeout: 2))
        #expect(result.ending == .timedOut)
        let step = try job.open("step")
        #expect(out(step) == "done\n")
        let child = try await pid(in: temporary.path + "/child")
        #expect(err(step).contains("ended with exit status 0") && err(step).contains("sleep (process \(child))"))
    }

    @Test func aMegabyteArrivesWhole() async throws {
        let step = try step("head -c 1048576 /dev/zero | tr '\\0' x; head -c 1048576 /dev/zero | tr '\\0' y >&2")
        #expect(try await run(step).exitCode == 0)
        #expect(out(step).utf8.count == 1_048_576)
        #expect(err(step).utf8.count == 1_048_576)
    }

    @Test func outputBeyondTheBudgetIsThrownAwayAndSaidSo() async throws {
        let step = try step("yes | head -c 1000000", budget: 1000)
        let result = try await run(step)
        #expect(result.exitCode == 0)
        #expect(out(step).utf8.count == 1000)
        #expect(result.problem.contains("999000 bytes of standard output beyond the limit of 1000"))
    }

    @Test func timeOutEndsOrphansAndSessions() async throws {
        let pids = temporary.path
        let step = try step("(setsid sh -c 'echo $$ > \(pids)/a; exec sleep 1000' &); echo $$ > \(pids)/b; sleep 1000", timeout: 1)
        let result = try await run(step)
        #expect(result.ending == .timedOut)
        #expect(result.exitCode == 137)
        #expect(try await !isAlive(pid(in: pids + "/a")))
        #expect(try await !isAlive(pid(in: pids + "/b")))
    }

    @Test func aChildThatHoldsTheOutputHoldsTheStep() async throws {
        let result = try await run(step("sleep 0.5 & exit 0"))
        #expect(result.exitCode == 0)
        #expect(result.endedAt - result.startedAt >= 400)
    }

    @Test func cancelEndsOrphansAndSessionsAndNothingElseDoes() async throws {
        let pids = temporary.path
        let step = try step("(setsid sh -c 'echo $$ > \(pids)/a; exec sleep 1000' &) ; echo $$ > \(pids)/b; sleep 1000")
        let supervisor = try executor.start(step)
        let (a, b) = (try await pid(in: pids + "/a"), try await pid(in: pids + "/b"))
        // A signal alone is no cancellation: a host that shuts down sends it too.
        supervisor.nudge()
        try await Task.sleep(for: .milliseconds(100))
        #expect(isAlive(a) && isAlive(b))
        try job.createFile(StepFolder.cancelled, containing: [])
        supervisor.nudge()
        #expect(await supervisor.awaitEnd())
        let result = try #require(try executor.result(in: step))
        #expect(result.ending == .cancelled)
        #expect(result.exitCode == 137)
        #expect(!isAlive(a) && !isAlive(b))
    }

    @Test func cancelledBeforeTheStartIsNeverLaunched() async throws {
        try job.createFile(StepFolder.cancelled, containing: [])
        let step = try step("touch \(temporary.path)/ran")
        #expect(try await run(step).ending == .cancelled)
        #expect(try !step.contains(StepFolder.launched))
        #expect(try !job.contains("ran"))
    }

    @Test func aDaemonOfASuccessfulScriptLivesOn() async throws {
        let step = try step("setsid sleep 30 > /dev/null 2>&1 < /dev/null & echo $! > \(temporary.path)/d")
        #expect(try await run(step).exitCode == 0)
        let daemon = try await pid(in: temporary.path + "/d")
        #expect(isAlive(daemon))
        kill(daemon, SIGKILL)
    }

    @Test func aSecondSupervisorStartsNothing() async throws {
        let step = try step("echo x >> \(temporary.path)/runs; sleep 0.3")
        let first = try executor.start(step)
        let second = try executor.start(step)
        #expect(await first.awaitEnd())
        #expect(await second.awaitEnd())
        #expect(try await executor.start(step).awaitEnd())
        #expect(text(temporary.path + "/runs") == "x\n")
        #expect(try executor.result(in: step)?.exitCode == 0)
    }

    @Test func modesDoNotDependOnTheUmask() async throws {
        let step = try step("touch \(temporary.path)/made")
        try job.createFile("hostile", mode: 0o700, containing: Array("#!/bin/sh\numask 777\nexec \(AgentProgram.path) \"$@\"\n".utf8))
        #expect(try await ProcessExecutor(executable: temporary.path + "/hostile").start(step).awaitEnd())
        for (name, mode) in [
            ("step/stdout", 0o600), ("step/lock", 0o600), ("step/launched", 0o600), ("step/result.json", 0o600), ("made", 0o644),
        ] {
            var facts = stat()
            #expect(stat(temporary.path + "/" + name, &facts) == 0)
            #expect(Int(facts.st_mode & 0o7777) == mode, "\(name)")
        }
    }

    // MARK: What a restarted agent finds

    @Test func aLiveSupervisorIsAdopted() async throws {
        let go = temporary.path + "/go"
        #expect(mkfifo(go, 0o600) == 0)
        let step = try step("read line < '\(go)'; exit 7")
        let supervisor = try executor.start(step)
        _ = try await eventually { try step.contains(StepFolder.launched) }
        guard case .supervised(let adopted) = try ProcessExecutor(executable: "/nonexistent").standing(of: step, bootID: bootID) else {
            Issue.record("not found alive")
            return
        }
        // Opening a FIFO to read and write does not wait for the other side (fifo(7)).
        let writer = open(go, O_RDWR | O_CLOEXEC)
        #expect(write(writer, "\n", 1) == 1)
        #expect(await adopted.awaitEnd())
        guard case .ended(let result) = try executor.standing(of: step, bootID: bootID) else {
            Issue.record("no result")
            return
        }
        #expect(result.exitCode == 7)
        _ = await supervisor.awaitEnd()
        close(writer)
    }

    @Test func aLostSupervisorIsUnknownAndItsTreeIsEnded() async throws {
        let pids = temporary.path
        let step = try step(
            "(setsid sh -c 'echo $$ > \(pids)/a; exec sleep 1000' &) ; (env -i sh -c 'echo $$ > \(pids)/b; exec sleep 1000'); true")
        let supervisor = try executor.start(step)
        let (a, b) = (try await pid(in: pids + "/a"), try await pid(in: pids + "/b"))
        let identity = try #require(try step.read(StepFolder.lock, atMost: 100).flatMap(StepFolder.decode))
        kill(identity.pid, SIGKILL)
        #expect(await supervisor.awaitEnd())
        guard case .unknown(let words, _) = try executor.standing(of: step, bootID: bootID) else {
            Issue.record("should be unknown")
            return
        }
        #expect(words.hasPrefix("Outcome unknown"))
        #expect(isAlive(a) && isAlive(b))
        #expect(executor.endLeftovers(of: step, marker: temporary.path) == 0)
        #expect(!isAlive(a) && !isAlive(b))
    }

    @Test func begunButNotLaunchedMayStillStart() async throws {
        let step = try step("exit 5")
        guard case .notLaunched = try executor.standing(of: step, bootID: bootID) else {
            Issue.record("nothing was launched")
            return
        }
        #expect(try await run(step).exitCode == 5)
    }

    @Test func anotherBootIsUnknown() throws {
        let step = try step("exit 5", boot: "another boot")
        guard case .unknown(let words, _) = try executor.standing(of: step, bootID: bootID) else {
            Issue.record("should be unknown")
            return
        }
        #expect(words.contains("rebooted"))
    }

    @Test func launchedWithoutSupervisorIsUnknown() throws {
        let step = try step("exit 5")
        try step.createFile(StepFolder.launched, containing: [])
        guard case .unknown = try executor.standing(of: step, bootID: bootID) else {
            Issue.record("should be unknown")
            return
        }
    }

    @Test func awaitingEndsWithTheTask() async throws {
        let step = try step("sleep 1000")
        let supervisor = try executor.start(step)
        let waiting = Task { await supervisor.awaitEnd() }
        try await Task.sleep(for: .milliseconds(50))
        waiting.cancel()
        #expect(await waiting.value == false)
        try job.createFile(StepFolder.cancelled, containing: [])
        supervisor.nudge()
        #expect(await supervisor.awaitEnd())
    }
}

@Suite struct StepRecordTests {
    @Test func ordersComeBack() throws {
        let order = StepOrder(shell: "/bin/sh", workingDirectory: "", timeoutSeconds: 5, outputBudget: 7, environment: ["A=", "B=x\ny"])
        #expect(StepOrder(bytes: try #require(order.bytes)) == order)
        #expect(StepOrder(shell: "/bin/sh\0", workingDirectory: "", timeoutSeconds: 5, environment: []).bytes == nil)
        let bytes = try #require(order.bytes)
        for length in 0..<bytes.count - 10 { #expect(StepOrder(bytes: Array(bytes.prefix(length))) != order) }
    }

    @Test func resultsComeBackAndPartialOnesDoNot() {
        let result = StepResult(ending: .timedOut, exitCode: 137, startedAt: 1, endedAt: 2, problem: "a \"b\" \\ c\nd\u{1} é")
        let bytes = result.reservedJSON
        #expect(bytes.count == StepResult.reservedBytes)
        var expected = result
        expected.problem = "a \"b\" \\ c\nd  é"
        #expect(StepResult(json: bytes) == expected)
        #expect(StepResult(json: Array(bytes.prefix(40))) == nil)
        #expect(StepResult(json: [UInt8](repeating: 0x20, count: 1024)) == nil)
        let long = StepResult(ending: .exited, exitCode: 0, startedAt: 1, endedAt: 2, problem: String(repeating: "\"", count: 5000))
        #expect(StepResult(json: long.reservedJSON)?.exitCode == 0)
        #expect(long.reservedJSON.count == StepResult.reservedBytes)
    }
}
