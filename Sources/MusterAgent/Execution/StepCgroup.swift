import CLinux
import Glibc

/// The control group of one step (cgroup v2), below that of the agent: its end is the end of everything in it at once, whatever
/// sessions, parents and environments the processes have given themselves. Where none can be made a step does without, and its tree is
/// found by /proc alone (see `ProcessTree`).
///
/// Only in a group that is the agent's to divide: the unit has `Delegate=yes`, which systemd notes at the group, or the agent is
/// at the root of what it sees, as in a container.
package struct StepCgroup: Sendable {
    package static let prefix = "muster-step-"

    private static let procs = "cgroup.procs"
    private static let kill = "cgroup.kill"
    private static let events = "cgroup.events"

    package let path: String
    private let home: String

    /// Nil where it cannot be made, and with a kernel before 5.14, which has no `cgroup.kill`.
    package static func create(for supervisor: ProcessIdentity) -> StepCgroup? {
        guard let home = home() else { return nil }
        return create(in: home, for: supervisor)
    }

    package static func create(in home: String, for supervisor: ProcessIdentity) -> StepCgroup? {
        let group = StepCgroup(path: "\(home)/\(prefix)\(supervisor.pid)-\(supervisor.startTime)", home: home)
        guard mkdir(group.path, 0o755) == 0 else { return nil }
        guard access("\(group.path)/\(kill)", W_OK) == 0 else {
            rmdir(group.path)
            return nil
        }
        return group
    }

    private init(path: String, home: String) {
        self.path = path
        self.home = home
    }

    /// One that a supervisor has written down.
    package init?(path: String) {
        guard path.hasPrefix("/"), let slash = path.lastIndex(of: "/"), path[path.index(after: slash)...].hasPrefix(Self.prefix) else {
            return nil
        }
        self.init(path: path, home: String(path[..<slash]))
    }

    /// Kills everything in it and below it, at once: what forks meanwhile is not missed.
    package func killAll() { _ = Self.write("1", to: "\(path)/\(Self.kill)") }

    /// What is still in it lives on, in the agent's own group.
    package func dissolve() {
        let events = muster_open("\(path)/\(Self.events)", O_RDONLY, 0)
        defer { if events >= 0 { close(events) } }
        for round in 0..<20 {
            if rmdir(path) == 0 || errno == ENOENT { return }
            if round > 0 { Self.awaitChange(events) }
            guard let members = ProcessTable.contents("\(path)/\(Self.procs)", atMost: 1 << 20) else { continue }
            for pid in members.split(separator: 0x0A) {
                _ = Self.write(String(decoding: pid, as: UTF8.self), to: "\(home)/\(Self.procs)")
            }
        }
    }

    /// Until the group has become empty (cgroups(7), "cgroup.events"); not for long, because what was forked meanwhile has to be moved too.
    private static func awaitChange(_ events: Int32) {
        var bytes = [UInt8](repeating: 0, count: 128)
        // News is what comes after the last reading.
        let count = pread(events, &bytes, bytes.count, 0)
        if bytes.prefix(max(0, count)).starts(with: "populated 0".utf8) { return }
        var entry = pollfd(fd: events, events: Int16(POLLPRI), revents: 0)
        _ = poll(&entry, 1, 5)
    }

    /// Removes groups that supervisors had no time to remove. One in which something lives cannot be removed.
    package static func sweep(_ home: String? = home()) {
        guard let home, let stream = opendir(home) else { return }
        var names: [String] = []
        while let entry = readdir(stream) {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
            if name.hasPrefix(prefix) { names.append(name) }
        }
        closedir(stream)
        for name in names { rmdir("\(home)/\(name)") }
    }

    // MARK: Where

    /// The folder of this process's own group, if groups may be made in it.
    package static func home() -> String? {
        guard let own = ProcessTable.contents("/proc/self/cgroup", atMost: 65536),
            let mounts = ProcessTable.contents("/proc/self/mountinfo", atMost: 1 << 20),
            let place = place(own: String(decoding: own, as: UTF8.self), mounts: String(decoding: mounts, as: UTF8.self)),
            access(place.folder, W_OK) == 0, place.isRoot || isDelegated(place.folder)
        else { return nil }
        return place.folder
    }

    /// - Parameters:
    ///   - own: /proc/self/cgroup (cgroups(7)).
    ///   - mounts: /proc/self/mountinfo (proc_pid_mountinfo(5)).
    package static func place(own: String, mounts: String) -> (folder: String, isRoot: Bool)? {
        guard let line = own.split(separator: "\n").first(where: { $0.hasPrefix("0::/") }) else { return nil }
        let path = line.dropFirst(3)
        // One that is above what this process may see, or was removed under it.
        guard !path.hasPrefix("/.."), !path.hasSuffix(" (deleted)") else { return nil }
        for mount in mounts.split(separator: "\n") {
            let fields = mount.split(separator: " ")
            guard let dash = fields.firstIndex(of: "-"), dash >= 6, fields.count > dash + 1, fields[dash + 1] == "cgroup2",
                // An escaped blank: not the place where anybody mounts it.
                !fields[4].contains("\\")
            else { continue }
            let root = fields[3]
            if root == "/" { return (String(fields[4]) + (path == "/" ? "" : path), path == "/") }
            if path == root { return (String(fields[4]), true) }
            if path.hasPrefix(root + "/") { return (String(fields[4]) + path.dropFirst(root.utf8.count), false) }
        }
        return nil
    }

    private static func isDelegated(_ folder: String) -> Bool {
        for name in ["trusted.delegate", "user.delegate"] {
            var value: UInt8 = 0
            if muster_getxattr(folder, name, &value, 1) == 1, value == UInt8(ascii: "1") { return true }
        }
        return false
    }

    private static func write(_ text: String, to path: String) -> Bool {
        let file = muster_open(path, O_WRONLY, 0)
        guard file >= 0 else { return false }
        defer { close(file) }
        let bytes = Array(text.utf8)
        return bytes.withUnsafeBytes { Glibc.write(file, $0.baseAddress, $0.count) } == bytes.count
    }
}
