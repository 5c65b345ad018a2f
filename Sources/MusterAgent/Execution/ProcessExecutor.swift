import CLinux
import Glibc

/// Starts and follows the supervisors of steps.
package struct ProcessExecutor: Sendable {
    /// How a step stands, as far as it can be known.
    package enum Standing: Sendable {
        case ended(StepResult)
        /// A supervisor is at work.
        case supervised(Supervisor)
        /// No script was started and no supervisor is there to start one.
        case notLaunched
        /// It may have run; how it ended nobody knows. The text says what happened. Its processes may still be there.
        case unknown(String, leavesProcesses: Bool)
    }

    private let executable: String
    private let watcher = ProcessWatcher()

    package init(executable: String) {
        self.executable = executable
        StepCgroup.sweep()
    }

    /// Starts the supervisor of the step in `folder`. It gets a session of its own and nothing of ours: no descriptors,
    /// no environment.
    package func start(_ folder: Folder) throws(FileError) -> Supervisor {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        for number in Int32(0)...1 { posix_spawn_file_actions_addopen(&actions, number, "/dev/null", number == 0 ? O_RDONLY : O_WRONLY, 0) }
        // Should it be unable to start the script, it says why: on a full disk there may be no other place for that.
        var ends: [Int32] = [-1, -1]
        guard muster_pipe(&ends) == 0 else { throw FileError("make a pipe for", executable, errno) }
        let (reader, writer) = (FileDescriptor(ends[0]), FileDescriptor(ends[1]))
        muster_set_nonblocking(reader.number)
        posix_spawn_file_actions_adddup2(&actions, writer.number, 2)
        muster_spawn_close_from(&actions, 3)

        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        // Blocked until the supervisor listens: a cancellation in its first moments must not kill it.
        var mask = sigset_t()
        sigemptyset(&mask)
        sigaddset(&mask, SIGTERM)
        var failure = muster_spawn_attributes(&attributes, &mask)
        var pid: Int32 = 0
        if failure == 0 {
            failure = CStringArray.with([executable, "supervise", folder.path]) { arguments in
                CStringArray.with(["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]) { environment in
                    posix_spawn(&pid, executable, &actions, &attributes, arguments, environment)
                }
            }
        }
        guard failure == 0 else { throw FileError("start", executable, failure) }
        // It is our child and not reaped yet, so the number is still its own.
        let pidfd = muster_pidfd_open(pid)
        guard pidfd >= 0 else {
            // What cannot be followed must not go on. Whether it has launched the script, the folder tells.
            let cause = errno
            kill(pid, SIGKILL)
            while waitpid(pid, nil, 0) < 0 && errno == EINTR {}
            throw FileError("follow", "process \(pid)", cause)
        }
        return Supervisor(pidfd: FileDescriptor(pidfd), watcher: watcher, standardError: reader)
    }

    /// What the folder of a step, and the processes of this host, tell about it.
    ///
    /// `started` and not `launched`, on the same boot and without a supervisor, means that no script was started: the
    /// supervisor makes `launched` before, and exclusively, so that even a supervisor that comes late can not start a
    /// second one.
    package func standing(of folder: Folder, bootID: String) throws(FileError) -> Standing {
        if let result = try result(in: folder) { return .ended(result) }
        let started = try folder.read(StepFolder.started, atMost: 256).map { String(decoding: $0, as: UTF8.self) }
        guard let started, started == bootID else {
            return .unknown(
                "Outcome unknown: the host rebooted after the step was started and before its result was written. It is not run again.",
                leavesProcesses: false)
        }
        if try folder.contains(StepFolder.lock) {
            let lock = try folder.openFile(StepFolder.lock, create: false)
            if muster_lock_shared(lock.number) != 0 {
                if let supervisor = try adopt(folder) { return .supervised(supervisor) }
            } else {
                muster_unlock(lock.number)
            }
            // It may have ended between our first look and the lock.
            if let result = try result(in: folder) { return .ended(result) }
        }
        if try folder.contains(StepFolder.launched) {
            return .unknown(
                "Outcome unknown: the supervisor of the step was lost before it wrote the result. What was left of the step was ended; it is not run again.",
                leavesProcesses: true)
        }
        return .notLaunched
    }

    package func result(in folder: Folder) throws(FileError) -> StepResult? {
        try folder.read(StepFolder.result, atMost: 4 * StepResult.reservedBytes).flatMap(StepResult.init(json:))
    }

    /// The supervisor that holds the lock. It locks first and writes its number a moment later, so that moment is
    /// waited for. By looking again: what a file holds is nothing that poll(2) tells of, and inotify(7), which does, is given out by
    /// number for all of a user's processes, so that the way without it would be needed all the same.
    private func adopt(_ folder: Folder) throws(FileError) -> Supervisor? {
        for _ in 0..<200 {
            if let bytes = try folder.read(StepFolder.lock, atMost: 256), let identity = StepFolder.decode(bytes) {
                let pidfd = muster_pidfd_open(identity.pid)
                guard pidfd >= 0 else { return nil }
                let owned = FileDescriptor(pidfd)
                // Opened first and compared then: what the descriptor stands for cannot change any more.
                guard ProcessTable.entry(of: identity.pid)?.identity == identity else { return nil }
                return Supervisor(pidfd: owned, watcher: watcher)
            }
            usleep(5000)
        }
        return nil
    }

    /// Ends what a lost supervisor has left behind: what is in the step's control group, what carries the step's mark in its environment, the sessions of
    /// those and of the script, and everything below. Returns how many would not die.
    ///
    /// A number in a file alone condemns nobody, because it may belong to another process by now: the script's session
    /// counts when its leader is still the one that was started, any other when somebody in it carries the mark.
    package func endLeftovers(of folder: Folder, marker: String) -> Int {
        let script = (try? folder.read(StepFolder.launched, atMost: 256)).flatMap { $0 }.flatMap(StepFolder.decode)
        let variable = Array("\(StepFolder.marker)=\(marker)".utf8)
        let me = getpid()
        let note = (try? folder.read(StepFolder.cgroup, atMost: 4096)).flatMap { $0 }
        let group = note.flatMap { StepCgroup(path: String(decoding: $0, as: UTF8.self)) }
        group?.killAll()
        defer { group?.dissolve() }
        return ProcessTree.end {
            let table = ProcessTable.read()
            let others = table.entries.filter { $0.identity.pid != me && $0.identity.pid > 1 }
            var roots = others.filter { $0.identity == script || ProcessTable.environment(of: $0.identity.pid, contains: variable) }
            let sessions = Set(roots.map(\.session))
            roots += others.filter { other in sessions.contains(other.session) && !roots.contains { $0.identity == other.identity } }
            return roots + table.closure(of: Set(roots.map(\.identity.pid))).filter { $0.identity.pid != me }
        }
    }
}

/// A running supervisor, ours or one that a former agent started.
package final class Supervisor: Sendable {
    private let pidfd: FileDescriptor
    private let watcher: ProcessWatcher
    private let standardError: FileDescriptor?

    init(pidfd: FileDescriptor, watcher: ProcessWatcher, standardError: FileDescriptor? = nil) {
        self.pidfd = pidfd
        self.watcher = watcher
        self.standardError = standardError
    }

    /// Why it could not start the script, once it has ended. Nil of one that could, and of one that a former agent started.
    package func words() -> String? {
        guard let standardError else { return nil }
        var bytes = [UInt8](repeating: 0, count: 1024)
        let count = read(standardError.number, &bytes, bytes.count)
        let text = String(decoding: bytes[..<max(0, count)], as: UTF8.self)
        // Not what a library or the runtime may say on its way down.
        return text.hasPrefix("Cannot ") ? text : nil
    }

    /// Returns true when it has ended, false when the task was cancelled before.
    package func awaitEnd() async -> Bool {
        guard await watcher.awaitEnd(of: pidfd) else { return false }
        var status: Int32 = 0
        // ECHILD: a former agent's child, which init has reaped.
        _ = muster_reap_pidfd(pidfd.number, &status)
        return true
    }

    /// Makes it look for the mark of a cancellation.
    package func nudge() { _ = muster_pidfd_send_signal(pidfd.number, SIGTERM) }
}
