import CLinux
import Glibc

/// A command for the host itself, outside of any job: started as one process in a session of its own, which outlives the agent.
package struct HostCommand: Sendable {
    package enum End: Sendable, Equatable {
        case exited(Int32)
        /// It was ended when its time was over.
        case ranTooLong
        case notStarted(String)
        /// The agent stops; the command goes on.
        case abandoned
    }

    private let arguments: [String]
    private let watcher = ProcessWatcher()

    /// The program, by its path or its name on the agent's PATH, and its arguments.
    package init(_ arguments: [String]) { self.arguments = arguments }

    package func run(atMost limit: Duration) async -> End {
        var pid: Int32 = 0
        let failure = start(&pid)
        guard failure == 0 else { return .notStarted(SystemReason.words(failure)) }
        let number = muster_pidfd_open(pid)
        guard number >= 0 else { return .notStarted(SystemReason.words(errno)) }
        let pidfd = FileDescriptor(number)
        let hasEnded = await withTaskGroup(of: Bool.self) { group in
            group.addTask { [watcher] in await watcher.awaitEnd(of: pidfd) }
            group.addTask {
                try? await Task.sleep(for: limit)
                return false
            }
            let first = await group.next() ?? false
            group.cancelAll()
            return first
        }
        var status: Int32 = 0
        if hasEnded, muster_reap_pidfd(pidfd.number, &status) == 1 { return .exited(status) }
        guard !Task.isCancelled else { return .abandoned }
        _ = muster_pidfd_send_signal(pidfd.number, SIGKILL)
        _ = await watcher.awaitEnd(of: pidfd)
        _ = muster_reap_pidfd(pidfd.number, &status)
        return .ranTooLong
    }

    private func start(_ pid: inout Int32) -> Int32 {
        guard let program = arguments.first else { return ENOENT }
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        for number in Int32(0)...2 { posix_spawn_file_actions_addopen(&actions, number, "/dev/null", number == 0 ? O_RDONLY : O_WRONLY, 0) }
        muster_spawn_close_from(&actions, 3)
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        var none = sigset_t()
        sigemptyset(&none)
        let prepared = muster_spawn_attributes(&attributes, &none)
        guard prepared == 0 else { return prepared }
        return CStringArray.with(arguments) { arguments in
            CStringArray.with(["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]) { environment in
                posix_spawnp(&pid, program, &actions, &attributes, arguments, environment)
            }
        }
    }
}
