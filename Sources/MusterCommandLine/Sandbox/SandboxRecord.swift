import FoundationEssentials
import Glibc
import MusterWire

/// What a sandbox remembers between calls: its port, its nodes and the processes it started. [value]
struct SandboxRecord: Codable, Sendable {
    struct Process: Codable, Sendable, Equatable {
        var pid: Int32
        /// Clock ticks since boot when it began: together with the pid this names a process for good, so that a reused pid
        /// is never taken for one of ours (proc_pid_stat(5), field 22).
        var startedAt: UInt64
        /// The same by the clock, taken just before: a connection that is younger is this process's own.
        var launchedAt: Timestamp
    }

    var port = 0
    /// Node ids by the agent's number, as far as they are enrolled.
    var nodes: [String] = []
    var processes: [String: Process] = [:]
    /// Settings of its agents and its controller, as environment variables.
    var agentEnvironment: [String: String]? = nil
    var controllerEnvironment: [String: String]? = nil

    var agentNames: [String] { nodes.indices.map { "agent-\($0)" } }
}

/// What /proc tells about a process.
enum ProcessTable {
    static func startTime(of pid: Int32) -> UInt64? {
        guard let bytes = FileManager.default.contents(atPath: "/proc/\(pid)/stat") else { return nil }
        // The second field is the name in brackets and may itself hold spaces and brackets.
        let text = String(decoding: bytes, as: UTF8.self)
        guard let end = text.lastIndex(of: ")") else { return nil }
        let fields = text[text.index(after: end)...].split(separator: " ")
        guard fields.count > 19, fields[0] != "Z" else { return nil }
        return UInt64(fields[19])
    }

    static func isRunning(_ process: SandboxRecord.Process) -> Bool {
        startTime(of: process.pid) == process.startedAt
    }

    /// Supervisors of steps whose state is below `directory`: they outlive their agent on purpose.
    static func supervisors(below directory: String) -> [(process: SandboxRecord.Process, step: String)] {
        processes("supervise", below: directory).map { ($0, $1) }
    }

    /// Session hosts of agents whose state is below `directory`: so do they.
    static func sessionHosts(below directory: String) -> [SandboxRecord.Process] {
        processes("session-host", below: directory).map(\.0)
    }

    private static func processes(_ command: String, below directory: String) -> [(SandboxRecord.Process, String)] {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []
        return names.compactMap { name in
            guard let pid = Int32(name), let line = FileManager.default.contents(atPath: "/proc/\(pid)/cmdline") else { return nil }
            let arguments = line.split(separator: 0).map { String(decoding: $0, as: UTF8.self) }
            guard arguments.count > 2, arguments[1] == command, arguments[2].hasPrefix(directory + "/"),
                let started = startTime(of: pid)
            else { return nil }
            return (SandboxRecord.Process(pid: pid, startedAt: started, launchedAt: .now()), arguments[2])
        }
    }
}
