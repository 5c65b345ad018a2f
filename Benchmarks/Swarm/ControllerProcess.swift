import CLinux
import Dispatch
import FoundationEssentials
import Glibc
import MusterClient

/// A real muster-controller with a data folder of its own. It ends with this process, however that ends.
final class ControllerProcess: Sendable {
    let endpoint: Endpoint
    let pid: pid_t
    private let exit: Exit

    /// Set up once, started as often as one likes.
    struct Home: Sendable {
        let executable: String
        let directory: String

        var data: String { directory + "/data" }
        var profile: String { directory + "/profile" }
        var log: String { directory + "/controller.log" }

        func prepare() async throws {
            let (_, exit) = try await ControllerProcess.spawn(
                executable, ["init", "--data-dir", data, "--name", "127.0.0.1", "--profile-dir", profile], log: log)
            guard await exit.wait() == 0 else { throw SwarmError("muster-controller init failed:\n\(words())") }
        }

        func words() -> String {
            let text = String(decoding: FileManager.default.contents(atPath: log) ?? Data(), as: UTF8.self)
            return text.split(separator: "\n").suffix(8).joined(separator: "\n")
        }
    }

    private init(endpoint: Endpoint, pid: pid_t, exit: Exit) {
        (self.endpoint, self.pid, self.exit) = (endpoint, pid, exit)
    }

    static func start(_ home: Home, port: Int = 0) async throws -> ControllerProcess {
        let listening = home.data + "/listening"
        unlink(listening)
        let (pid, exit) = try await spawn(
            home.executable, ["serve", "--data-dir", home.data, "--listen", "127.0.0.1:\(port)"], log: home.log)
        let clock = ContinuousClock()
        let deadline = clock.now + .seconds(60)
        while true {
            let text = String(decoding: FileManager.default.contents(atPath: listening) ?? Data(), as: UTF8.self)
            if text.hasSuffix("\n"), let address = text.split(separator: "\n").first {
                return ControllerProcess(endpoint: try Endpoint(url: "https://\(address)"), pid: pid, exit: exit)
            }
            guard clock.now < deadline, exit.isRunning else {
                Glibc.kill(pid, SIGKILL)
                throw SwarmError("The controller does not listen:\n\(home.words())")
            }
            try await Task.sleep(for: .milliseconds(5))
        }
    }

    func end(_ signal: Int32) async {
        guard exit.isRunning else { return }
        Glibc.kill(pid, signal)
        _ = await exit.wait()
    }

    // MARK: Figures

    struct Memory: Sendable {
        /// Kilobytes, as /proc/PID/status has them.
        let resident: Int
        let anonymous: Int
    }

    func memory() -> Memory {
        let text = String(decoding: FileManager.default.contents(atPath: "/proc/\(pid)/status") ?? Data(), as: UTF8.self)
        func value(_ name: String) -> Int {
            text.split(separator: "\n").first { $0.hasPrefix(name + ":") }?.split(separator: " ").dropFirst(0)
                .compactMap { Int($0.filter(\.isNumber)) }.first ?? 0
        }
        return Memory(resident: value("VmRSS"), anonymous: value("RssAnon"))
    }

    /// Seconds of processor time, of user and system together (man page proc(5)).
    func processorTime() -> Double { Self.processorTime(of: "\(pid)") }

    static func processorTime(of process: String) -> Double {
        let text = String(decoding: FileManager.default.contents(atPath: "/proc/\(process)/stat") ?? Data(), as: UTF8.self)
        // The name in parentheses may hold anything; the fields after it are numbers.
        guard let end = text.lastIndex(of: ")") else { return 0 }
        let fields = text[text.index(after: end)...].split(separator: " ")
        guard fields.count > 12, let user = Double(fields[11]), let system = Double(fields[12]) else { return 0 }
        return (user + system) / Double(sysconf(Int32(_SC_CLK_TCK)))
    }

    // MARK: Processes

    /// The kernel kills the child when the thread that made it is gone: one that only waits for it, for as long as it lives.
    private static func spawn(_ executable: String, _ arguments: [String], log: String) async throws -> (pid_t, Exit) {
        let exit = Exit()
        let pid = try await withCheckedThrowingContinuation { (started: CheckedContinuation<pid_t, any Error>) in
            DispatchQueue(label: "muster.swarm.child").async {
                var actions = posix_spawn_file_actions_t()
                posix_spawn_file_actions_init(&actions)
                defer { posix_spawn_file_actions_destroy(&actions) }
                posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0)
                posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, log, O_WRONLY | O_CREAT | O_APPEND, 0o600)
                posix_spawn_file_actions_adddup2(&actions, STDOUT_FILENO, STDERR_FILENO)
                muster_spawn_close_from(&actions, 3)
                let words = ["/usr/bin/setpriv", "--pdeathsig", "KILL", executable] + arguments
                let argv = words.map { strdup($0) } + [nil]
                let kept = ProcessInfo.processInfo.environment.filter { !$0.key.hasPrefix("AWS_") && !$0.key.hasPrefix("MUSTER_") }
                let envp = kept.map { strdup("\($0.key)=\($0.value)") } + [nil]
                defer {
                    argv.forEach { free($0) }
                    envp.forEach { free($0) }
                }
                var pid: pid_t = 0
                let failure = posix_spawn(&pid, words[0], &actions, nil, argv, envp)
                guard failure == 0 else {
                    started.resume(throwing: SwarmError("Cannot start \(executable): \(String(cString: strerror(failure)))."))
                    return
                }
                started.resume(returning: pid)
                var status: Int32 = 0
                while waitpid(pid, &status, 0) < 0, errno == EINTR {}
                exit.ended(status & 0x7f == 0 ? (status >> 8) & 0xff : 128 + (status & 0x7f))
            }
        }
        return (pid, exit)
    }
}
