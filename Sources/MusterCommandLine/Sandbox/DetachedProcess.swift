import CLinux
import Glibc
import MusterWire

/// Starts a process that lives on by itself: own session, nothing of the caller's open.
enum DetachedProcess {
    /// - Parameter log: takes standard output and error; created 0600, appended to.
    static func start(_ executable: String, _ arguments: [String], log: String, environment: [String: String]) throws
        -> SandboxRecord.Process
    {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, log, O_WRONLY | O_CREAT | O_APPEND, 0o600)
        posix_spawn_file_actions_adddup2(&actions, STDOUT_FILENO, STDERR_FILENO)
        muster_spawn_close_from(&actions, 3)

        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        var mask = sigset_t()
        sigemptyset(&mask)
        guard muster_spawn_attributes(&attributes, &mask) == 0 else { throw CommandLineError("Cannot prepare the start of \(executable).") }

        let argv = ([executable] + arguments).map { strdup($0) } + [nil]
        let envp = environment.sorted { $0.key < $1.key }.map { strdup("\($0.key)=\($0.value)") } + [nil]
        defer {
            argv.forEach { free($0) }
            envp.forEach { free($0) }
        }
        let launchedAt = Timestamp.now()
        var pid: pid_t = 0
        let failure = posix_spawn(&pid, executable, &actions, &attributes, argv, envp)
        guard failure == 0 else {
            throw CommandLineError("Cannot start \(executable): \(SystemError.words(failure)).")
        }
        return SandboxRecord.Process(pid: pid, startedAt: ProcessTable.startTime(of: pid) ?? 0, launchedAt: launchedAt)
    }
}
