import Glibc
import MusterAgent
import Testing

@Suite struct StepCgroupPlaceTests {
    private func place(_ own: String, _ mounts: String) -> String? {
        StepCgroup.place(own: own, mounts: mounts).map { $0.folder + ($0.isRoot ? " root" : "") }
    }

    private let unified = "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"

    @Test func whereTheAgentIs() {
        let unit = "0::/system.slice/muster-agent.service\n"
        #expect(place(unit, unified) == "/sys/fs/cgroup/system.slice/muster-agent.service")
        #expect(place("0::/\n", unified) == "/sys/fs/cgroup root")
        // Beside the groups of version 1, and with optional fields.
        let hybrid =
            "31 23 0:27 / /sys/fs/cgroup/cpu rw shared:9 - cgroup cgroup rw,cpu\n32 23 0:28 / /sys/fs/cgroup/unified rw shared:7 - cgroup2 c rw\n"
        #expect(place("12:cpu:/a\n" + unit, hybrid) == "/sys/fs/cgroup/unified/system.slice/muster-agent.service")
        // A container that sees a part of the host's tree only.
        let part = "33 23 0:28 /docker/abc /sys/fs/cgroup rw - cgroup2 cgroup rw\n"
        #expect(place("0::/docker/abc\n", part) == "/sys/fs/cgroup root")
        #expect(place("0::/docker/abc/x\n", part) == "/sys/fs/cgroup/x")
        #expect(place("0::/docker/abcd\n", part) == nil)
    }

    @Test(arguments: [
        "", "\n", "4:memory:/x\n", "0::/../other\n", "0::/gone (deleted)\n", "0::\n", "0::relative\n",
    ]) func nowhere(_ own: String) {
        #expect(place(own, unified) == nil)
        #expect(place("0::/x\n", own) == nil)
    }

    @Test func whatIsNoMountOfGroupsIsPassedOver() {
        for line in [
            "30 23 0:26 / /x rw - tmpfs cgroup2 rw", "30 23 0:26 / /x\\040y rw - cgroup2 c rw", "- cgroup2", "30 23 - cgroup2 a b",
        ] {
            #expect(place("0::/a\n", line + "\n") == nil)
            #expect(place("0::/a\n", line + "\n" + unified) == "/sys/fs/cgroup/a")
        }
    }

    @Test func aFolderThatCannotKillIsNotUsed() throws {
        let temporary = try TemporaryFolder()
        let supervisor = ProcessIdentity(pid: 12, startTime: 34)
        #expect(StepCgroup.create(in: temporary.path, for: supervisor) == nil)
        #expect(access("\(temporary.path)/muster-step-12-34", F_OK) != 0)
        #expect(StepCgroup.create(in: temporary.path + "/missing", for: supervisor) == nil)
    }

    @Test func onlyWhatHasTheNameOfAGroupIsTakenForOne() throws {
        #expect(StepCgroup(path: "/sys/fs/cgroup/muster-step-1-2")?.path == "/sys/fs/cgroup/muster-step-1-2")
        for path in ["", "/", "muster-step-1-2", "/sys/fs/cgroup", "/sys/fs/cgroup/muster-step-1-2/", "/muster-step-1/x"] {
            #expect(StepCgroup(path: path) == nil)
        }
        let temporary = try TemporaryFolder()
        for name in ["muster-step-1-2", "muster-step-full", "other"] { mkdir("\(temporary.path)/\(name)", 0o755) }
        creat("\(temporary.path)/muster-step-full/x", 0o600)
        StepCgroup.sweep(temporary.path)
        #expect(access("\(temporary.path)/muster-step-1-2", F_OK) != 0)
        #expect(access("\(temporary.path)/muster-step-full", F_OK) == 0 && access("\(temporary.path)/other", F_OK) == 0)
    }
}

/// With the groups of this host, where they can be made.
@Suite(.enabled(if: StepCgroup.home() != nil), .timeLimit(.minutes(1))) struct StepCgroupTests {
    private let temporary: TemporaryFolder
    private let executor = ProcessExecutor(executable: AgentProgram.path)

    init() throws { temporary = try TemporaryFolder() }

    private func step(_ script: String, timeout: Int = 30) throws -> Folder {
        let step = try Folder.open(temporary.path).create("step")
        try step.createFile(StepFolder.script, mode: 0o700, containing: Array((script + "\n").utf8))
        let order = StepOrder(
            shell: "/bin/sh", workingDirectory: "", timeoutSeconds: timeout,
            environment: ["PATH=/usr/bin:/bin", "MUSTER_STEP=\(temporary.path)"])
        try step.createFile(StepFolder.order, containing: try #require(order.bytes))
        try step.createFile(StepFolder.started, containing: Array(ProcessTable.bootID().utf8))
        return step
    }

    private func group(_ step: Folder) -> String { text(step.path(of: StepFolder.cgroup)) }
    private func own(_ process: String = "self") -> String {
        text("/proc/\(process)/cgroup").split(separator: "\n").last.map(String.init) ?? ""
    }

    @Test func aStepHasAGroupAndItGoesWithIt() async throws {
        let step = try step("tail -n 1 /proc/self/cgroup; exit 4")
        #expect(try await executor.start(step).awaitEnd())
        #expect(try executor.result(in: step)?.exitCode == 4)
        let name = try #require(group(step).split(separator: "/").last)
        #expect(name.hasPrefix(StepCgroup.prefix))
        #expect(text(step.path(of: StepFolder.standardOutput)).hasSuffix("/\(name)\n"))
        #expect(access(group(step), F_OK) != 0)
    }

    @Test func aDaemonLivesOnInTheAgentsGroup() async throws {
        let step = try step("setsid sleep 1000 > /dev/null 2>&1 & echo $! > \(temporary.path)/pid")
        #expect(try await executor.start(step).awaitEnd())
        let daemon = try await pid(in: temporary.path + "/pid")
        #expect(isAlive(daemon) && own("\(daemon)") == own())
        #expect(access(group(step), F_OK) != 0)
        kill(daemon, SIGKILL)
    }

    @Test func whatForksAllTheTimeIsEnded() async throws {
        // Each copy forks the next and ends, with a session of its own; nobody is there for long enough to be stopped.
        let script = "f() { echo x >> \(temporary.path)/ticks; setsid sh \(temporary.path)/fork & }; f; exec sleep 1000"
        let file = try Folder.open(temporary.path)
        try file.createFile("fork", containing: Array("echo x >> \(temporary.path)/ticks; sleep 0.01; setsid sh $0 & exit\n".utf8))
        let step = try step(script, timeout: 1)
        #expect(try await executor.start(step).awaitEnd())
        #expect(try executor.result(in: step)?.ending == .timedOut)
        #expect(try executor.result(in: step)?.problem == "")
        let ticks = text(temporary.path + "/ticks").count
        try await Task.sleep(for: .milliseconds(200))
        #expect(text(temporary.path + "/ticks").count == ticks && ticks > 10)
        #expect(access(group(step), F_OK) != 0)
    }

    @Test func whatALostSupervisorLeftIsFoundWithoutEnvironmentAndSession() async throws {
        let step = try step("env -i /usr/bin/setsid /bin/sh -c 'echo $$ > \(temporary.path)/pid; exec sleep 1000' & sleep 1000")
        let supervisor = try executor.start(step)
        let hidden = try await pid(in: temporary.path + "/pid")
        // Its parent goes first, so that nothing leads to it.
        let identity = try #require(StepFolder.decode(Array(text(step.path(of: StepFolder.lock)).utf8)))
        kill(identity.pid, SIGKILL)
        #expect(await supervisor.awaitEnd())
        #expect(executor.endLeftovers(of: step, marker: temporary.path) == 0)
        #expect(try await eventually { !isAlive(hidden) })
        #expect(access(group(step), F_OK) != 0)
    }

    @Test func aShellThatCannotBeExecutedIsSaidSo() async throws {
        let step = try step("true")
        let order = StepOrder(shell: "/no/such/shell", workingDirectory: "", timeoutSeconds: 5, environment: [])
        try step.replaceFile(StepFolder.order, containing: try #require(order.bytes), sync: false)
        #expect(try await executor.start(step).awaitEnd())
        let result = try #require(try executor.result(in: step))
        #expect(result.ending == .notStarted && result.problem.contains("cannot execute /no/such/shell: there is no such file"))
        #expect(access(group(step), F_OK) != 0)
    }
}
