import CLinux
import Glibc

/// The process that owns one script: it starts it, copies its output to files, ends it when its time is over or it is
/// cancelled, and writes down how it ended. It outlives the agent, so that an upgrade or a crash of the agent neither
/// kills nor repeats work.
///
/// It runs before anything else of the program is set up, single-threaded and without Foundation, so that a step
/// starts within milliseconds.
///
///      agent ──spawn──▶ supervisor (own session, subreaper) ──spawn──▶ sh -c _script.sh (own session)
///                          │ flock(lock)                                   │
///                          │◀───────────── stdout, stderr pipes ───────────┘
///                          ▼
///                       stdout, stderr, result.json
///
/// Behaviour of the script's surroundings: AWS Systems Manager, aws:runShellScript.
package enum StepSupervisor {
    package enum ExitStatus {
        package static let done: Int32 = 0
        /// The folder cannot be used; nothing was started.
        package static let unusable: Int32 = 74
        /// Another supervisor has this step, or had it: nothing was started.
        package static let taken: Int32 = 75
    }

    package static func main(directory: String) -> Int32 {
        var signals = sigset_t()
        sigemptyset(&signals)
        for number in [SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGCHLD] { sigaddset(&signals, number) }
        sigprocmask(SIG_BLOCK, &signals, nil)
        signal(SIGPIPE, SIG_IGN)
        // Scripts find the usual one, whatever the agent has for its own files; ours have explicit modes.
        umask(0o022)
        // The script's environment, which may hold secrets, passes through this process.
        _ = muster_forbid_dumps()
        guard muster_become_subreaper() == 0 else { return ExitStatus.unusable }
        let signalDescriptor = muster_signalfd(&signals)
        guard signalDescriptor >= 0 else { return ExitStatus.unusable }

        do {
            let folder = try Folder.open(directory)
            let job = try Folder.open(parent(of: directory))
            guard let order = try StepOrder(bytes: folder.read(StepFolder.order, atMost: 4 << 20) ?? []) else { return ExitStatus.unusable }

            let lock = try folder.openFile(StepFolder.lock, create: true)
            guard muster_lock_exclusively(lock.number) == 0, let me = ProcessTable.entry(of: getpid())?.identity else {
                return ExitStatus.taken
            }
            guard ftruncate(lock.number, 0) == 0 else { return ExitStatus.unusable }
            try lock.write(StepFolder.encode(me), path: folder.path(of: StepFolder.lock))
            guard try !folder.contains(StepFolder.launched), try !folder.contains(StepFolder.result) else { return ExitStatus.taken }

            var supervision = try Supervision(
                folder: folder, job: job, order: order, signals: FileDescriptor(signalDescriptor), identity: me)
            try supervision.run()
            // The lock ends with the process, not before: until then nobody may think that it is over.
            withExtendedLifetime(lock) {}
            return ExitStatus.done
        } catch {
            // Of what was begun, its folder tells. Nobody may be there to hear it.
            let words = Array("\(error)".utf8.prefix(1024))
            _ = words.withUnsafeBytes { write(STDERR_FILENO, $0.baseAddress, $0.count) }
            return ExitStatus.unusable
        }
    }

    private static func parent(of path: String) -> String {
        guard let slash = path.lastIndex(of: "/"), slash != path.startIndex else { return "/" }
        return String(path[..<slash])
    }
}

/// One step from its start to its result.
private struct Supervision {
    private let folder: Folder
    private let job: Folder
    private let order: StepOrder
    private let signals: FileDescriptor
    private let identity: ProcessIdentity
    private let reserved: FileDescriptor
    /// A run after a reboot adds to the output of those before.
    private let isRepeated: Bool
    private var outputs: [OutputCopy] = []
    private var script: pid_t = 0
    private var cgroup: StepCgroup?
    private var status: Int32?
    private var problems: [String] = []
    private var startedAt = Supervision.now()

    init(folder: Folder, job: Folder, order: StepOrder, signals: FileDescriptor, identity: ProcessIdentity) throws(FileError) {
        self.folder = folder
        self.identity = identity
        self.job = job
        self.order = order
        self.signals = signals
        isRepeated = try folder.contains(StepFolder.attempt)
        // A supervisor that died before its script was launched may have left these; we hold the lock now.
        for name in [Self.reservedName, StepFolder.cgroup] { try folder.removeFile(name) }
        if !isRepeated { for name in [StepFolder.standardOutput, StepFolder.standardError] { try folder.removeFile(name) } }
        reserved = try folder.createFile(Self.reservedName)
        try reserved.write([UInt8](repeating: 0x20, count: StepResult.reservedBytes), path: folder.path(of: Self.reservedName))
    }

    private static let reservedName = ".result.json.new"

    mutating func run() throws(FileError) {
        if try job.contains(StepFolder.cancelled) {
            return try finish(.cancelled, exitCode: 137)
        }
        outputs = [
            try OutputCopy(to: outputFile(StepFolder.standardOutput), named: "standard output", budget: order.outputBudget),
            try OutputCopy(to: outputFile(StepFolder.standardError), named: "standard error", budget: order.outputBudget),
        ]
        if !order.workingDirectory.isEmpty, chdir(order.workingDirectory) != 0 {
            problems.append(
                "The script was not started: cannot use the working directory \(order.workingDirectory): \(SystemReason.words(errno)) "
                    + "Make it on this node, or pass another workingDirectory."
            )
            return try finish(.notStarted, exitCode: 1)
        }
        // Exclusive: whoever makes this file starts the script, and nobody ever after.
        let mark = try folder.createFile(StepFolder.launched)
        startedAt = Self.now()
        let failure = spawn()
        chdir("/")
        for index in outputs.indices { outputs[index].closeWriter() }
        guard failure == 0 else {
            problems.append("The script was not started: cannot execute \(order.shell): \(SystemReason.words(failure))")
            return try finish(.notStarted, exitCode: 1)
        }
        if let identity = ProcessTable.entry(of: script)?.identity {
            // A full disk costs this note, not the step.
            try? mark.write(StepFolder.encode(identity), path: folder.path(of: StepFolder.launched))
        }
        let ending = try awaitEnd()
        try finish(ending, exitCode: ending == .exited ? Int(status ?? 1) : 137)
        // A daemon that the script has left behind lives on.
        cgroup?.dissolve()
    }

    private func outputFile(_ name: String) throws(FileError) -> FileDescriptor {
        isRepeated ? try folder.openFile(name, create: true) : try folder.createFile(name)
    }

    /// `sh -c PATH` executes the file, so a #! line counts, and without one the shell interprets it.
    private mutating func spawn() -> Int32 {
        var quoted = "'"
        for character in folder.path(of: StepFolder.script).unicodeScalars {
            if character == "'" { quoted += "'\\''" } else { quoted.unicodeScalars.append(character) }
        }
        quoted += "'"
        let arguments = [order.shell, "-c", quoted]
        if let failure = spawnIntoCgroup(arguments) { return failure }
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_adddup2(&actions, outputs[0].writer, 1)
        posix_spawn_file_actions_adddup2(&actions, outputs[1].writer, 2)
        muster_spawn_close_from(&actions, 3)

        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        var none = sigset_t()
        sigemptyset(&none)
        let prepared = muster_spawn_attributes(&attributes, &none)
        guard prepared == 0 else { return prepared }

        return CStringArray.with(arguments) { arguments in
            CStringArray.with(order.environment) { environment in
                posix_spawn(&script, order.shell, &actions, &attributes, arguments, environment)
            }
        }
    }

    /// Nil when there is to be no group, and nothing was started.
    private mutating func spawnIntoCgroup(_ arguments: [String]) -> Int32? {
        guard let group = StepCgroup.create(for: identity) else { return nil }
        // Written down before anything is in it: should this supervisor be lost, the agent ends the group.
        let isNoted = (try? folder.createFile(StepFolder.cgroup, containing: Array(group.path.utf8))) != nil
        let number = isNoted ? muster_open(group.path, O_RDONLY | O_DIRECTORY, 0) : -1
        defer { if number >= 0 { close(number) } }
        var failure: Int32 = 0
        let process =
            number < 0
            ? -1
            : CStringArray.with(arguments) { arguments in
                CStringArray.with(order.environment) { environment in
                    muster_spawn_into_cgroup(
                        number, order.shell, arguments, environment, outputs[0].writer, outputs[1].writer, &failure)
                }
            }
        guard process > 0 else {
            group.dissolve()
            return process == 0 ? failure : nil
        }
        (script, cgroup) = (process, group)
        return 0
    }

    /// Copies output until the script has ended and nobody holds its pipes any more, its time is over, or it is
    /// cancelled.
    private mutating func awaitEnd() throws(FileError) -> StepResult.Ending {
        let deadline = Self.monotonic() + Int64(order.timeoutSeconds) * 1000
        // When it is said that the script is over and its streams are not.
        var heldAt: Int64?
        var isHeldSaid = false
        while true {
            reap()
            if status != nil && outputs.allSatisfy(\.isFinished) { return .exited }
            var left = deadline - Self.monotonic()
            if status != nil, !isHeldSaid {
                let due = heldAt ?? Self.monotonic() + Self.heldPatience
                heldAt = due
                if due <= Self.monotonic() || left <= 0 {
                    sayHeld()
                    isHeldSaid = true
                } else {
                    left = min(left, due - Self.monotonic())
                }
            }
            if deadline <= Self.monotonic() {
                endTree()
                return .timedOut
            }
            var descriptors = [pollfd(fd: signals.number, events: Int16(POLLIN), revents: 0)]
            // A negative descriptor is passed over (poll(2)).
            for output in outputs {
                descriptors.append(pollfd(fd: output.isFinished ? -1 : output.reader, events: Int16(POLLIN), revents: 0))
            }
            let ready = poll(&descriptors, nfds_t(descriptors.count), Int32(clamping: left))
            if ready < 0 && errno != EINTR { throw FileError("await", "the script", errno) }
            if ready <= 0 { continue }
            for index in outputs.indices where descriptors[index + 1].revents != 0 { outputs[index].copy() }
            if descriptors[0].revents != 0 {
                drainSignals()
                // A signal is only a hint: a host that shuts down sends SIGTERM as well, and that is no cancellation.
                if try job.contains(StepFolder.cancelled) {
                    endTree()
                    return .cancelled
                }
            }
        }
    }

    /// How long after the script its streams may stay open without a word, in milliseconds.
    private static let heldPatience: Int64 = 10_000

    /// What the script has left behind holds its streams, and with them the step, as with Systems Manager: what it writes belongs to the
    /// step. Whoever watches is told why nothing ends.
    private mutating func sayHeld() {
        guard outputs.count == 2 else { return }
        let holders = ProcessTree.ownDescendants().prefix(3).map {
            "\(ProcessTable.name(of: $0.identity.pid)) (process \($0.identity.pid))"
        }
        let names = holders.isEmpty ? "a process" : holders.joined(separator: ", ")
        outputs[1].say(
            "\nmuster-agent: The script has ended with exit status \(status ?? 0), and what it left behind holds its output open: \(names). "
                + "The step ends with that, or at its time-out. To leave a process behind, redirect its output: nohup COMMAND >/dev/null 2>&1 &\n"
        )
    }

    /// Orphans and processes with sessions of their own are found too: they became our children. So are those that have left the group.
    private mutating func endTree() {
        cgroup?.killAll()
        var status = self.status
        let script = self.script
        let left = ProcessTree.end(ProcessTree.ownDescendants, reap: { status = Self.reap(script) ?? status })
        self.status = status
        if left > 0 { problems.append("\(left) processes of the script could not be ended.") }
        // What was written before the end is still in the pipes.
        for index in outputs.indices { outputs[index].drain() }
    }

    private mutating func reap() { status = Self.reap(script) ?? status }

    /// Collects every child that has died; the script's status when it is among them.
    private static func reap(_ script: pid_t) -> Int32? {
        var found: Int32?
        while true {
            var raw: Int32 = 0
            let pid = waitpid(-1, &raw, WNOHANG)
            if pid < 0 && errno == EINTR { continue }
            if pid <= 0 { return found }
            // wait(2): the low seven bits are the signal, 0 when the process exited.
            if pid == script { found = raw & 0x7F == 0 ? (raw >> 8) & 0xFF : 128 + (raw & 0x7F) }
        }
    }

    private func drainSignals() {
        var record = signalfd_siginfo()
        while read(signals.number, &record, MemoryLayout<signalfd_siginfo>.size) > 0 {}
    }

    private mutating func finish(_ ending: StepResult.Ending, exitCode: Int) throws(FileError) {
        for output in outputs { if let loss = output.loss { problems.append(loss) } }
        let result = StepResult(
            ending: ending, exitCode: exitCode, startedAt: startedAt, endedAt: Self.now(), problem: problems.joined(separator: " "),
            lostOutput: lost(0), lostError: lost(1))
        guard lseek(reserved.number, 0, SEEK_SET) == 0 else { throw FileError("write", folder.path(of: StepFolder.result), errno) }
        try reserved.write(result.reservedJSON, path: folder.path(of: StepFolder.result))
        try reserved.sync(path: folder.path(of: StepFolder.result))
        try folder.rename(Self.reservedName, to: StepFolder.result)
        try folder.sync()
    }

    private func lost(_ index: Int) -> Int64? {
        guard outputs.indices.contains(index), outputs[index].lost > 0 else { return nil }
        return Int64(outputs[index].lost)
    }

    private static func now() -> Int64 { milliseconds(CLOCK_REALTIME) }
    private static func monotonic() -> Int64 { milliseconds(CLOCK_MONOTONIC) }

    private static func milliseconds(_ clock: clockid_t) -> Int64 {
        var time = timespec()
        clock_gettime(clock, &time)
        return Int64(time.tv_sec) * 1000 + Int64(time.tv_nsec) / 1_000_000
    }
}

/// One stream of the script: from its pipe to its file, up to a number of bytes.
private struct OutputCopy {
    let reader: Int32
    private(set) var writer: Int32
    private let file: FileDescriptor
    private let name: String
    private let budget: Int
    private var written = 0
    private(set) var lost = 0
    private var writeError: Int32 = 0
    private(set) var isFinished = false

    init(to file: FileDescriptor, named name: String, budget: Int) throws(FileError) {
        var ends: [Int32] = [-1, -1]
        guard muster_pipe(&ends) == 0 else { throw FileError("make a pipe for", name, errno) }
        (reader, writer) = (ends[0], ends[1])
        muster_set_nonblocking(reader)
        self.file = file
        self.name = name
        self.budget = budget
        written = max(0, Int(lseek(file.number, 0, SEEK_END)))
    }

    mutating func closeWriter() {
        if writer >= 0 { close(writer) }
        writer = -1
    }

    /// Takes one piece. False when there is nothing now or nothing more.
    @discardableResult
    mutating func copy() -> Bool {
        withUnsafeTemporaryAllocation(byteCount: 65536, alignment: 16) { buffer in
            let got = read(reader, buffer.baseAddress, buffer.count)
            if got < 0 && errno == EINTR { return true }
            if got < 0 && errno == EAGAIN { return false }
            guard got > 0 else {
                isFinished = true
                close(reader)
                return false
            }
            store(UnsafeRawBufferPointer(rebasing: buffer[..<got]))
            return true
        }
    }

    /// Takes what is in the pipe, and no more: somebody beyond our reach may hold the other end.
    mutating func drain() {
        while !isFinished, copy() {}
    }

    private mutating func store(_ bytes: UnsafeRawBufferPointer) {
        var rest = bytes[...]
        // Output that finds no room is read all the same, or the script would hang on a full pipe.
        while !rest.isEmpty, writeError == 0, written < budget {
            let count = write(file.number, rest.base.baseAddress! + rest.startIndex, min(rest.count, budget - written))
            if count < 0 && errno == EINTR { continue }
            guard count > 0 else {
                writeError = errno
                break
            }
            written += count
            rest = rest.dropFirst(count)
        }
        lost += rest.count
    }

    /// Words of ours, among the script's.
    mutating func say(_ text: String) {
        let bytes = Array(text.utf8)
        bytes.withUnsafeBytes { store($0) }
    }

    var loss: String? {
        guard lost > 0 else { return nil }
        if writeError != 0 { return "\(lost) bytes of \(name) were lost after \(written): \(SystemReason.words(writeError))" }
        return "\(lost) bytes of \(name) beyond the limit of \(budget) were thrown away."
    }
}
