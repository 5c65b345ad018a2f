import CLinux
import Glibc

/// Which process is meant: a number alone may have been given to another process meanwhile, number and start time not.
package struct ProcessIdentity: Sendable, Hashable {
    package let pid: Int32
    /// Clock ticks since boot, field 22 of /proc/PID/stat (proc(5)).
    package let startTime: UInt64

    package init(pid: Int32, startTime: UInt64) {
        self.pid = pid
        self.startTime = startTime
    }
}

/// What /proc says about the processes of this host, read in one pass.
package struct ProcessTable: Sendable {
    package struct Entry: Sendable {
        package let identity: ProcessIdentity
        package let parent: Int32
        package let group: Int32
        package let session: Int32
        package let state: UInt8
    }

    package private(set) var entries: [Entry] = []

    package static func read() -> ProcessTable {
        var table = ProcessTable()
        guard let stream = opendir("/proc") else { return table }
        defer { closedir(stream) }
        while let entry = readdir(stream) {
            let pid = withUnsafeBytes(of: &entry.pointee.d_name) { name -> Int32? in
                var value: Int32 = 0
                for byte in name {
                    if byte == 0 { break }
                    guard byte >= 0x30, byte <= 0x39, value < 100_000_000 else { return nil }
                    value = value * 10 + Int32(byte - 0x30)
                }
                return value
            }
            if let pid, pid > 0, let found = Self.entry(of: pid) { table.entries.append(found) }
        }
        return table
    }

    /// Nil when there is no such process.
    package static func entry(of pid: Int32) -> Entry? {
        guard let bytes = contents("/proc/\(pid)/stat", atMost: 1024), let end = bytes.lastIndex(of: 0x29) else { return nil }
        // After "pid (name) ": state ppid pgrp session tty tpgid flags … starttime is the 20th of these.
        let fields = bytes[(end + 1)...].split(separator: 0x20, maxSplits: 20)
        guard fields.count >= 20, let state = fields[0].first,
            let parent = number(fields[1]), let group = number(fields[2]), let session = number(fields[3]), let start = number(fields[19])
        else { return nil }
        return Entry(
            identity: ProcessIdentity(pid: pid, startTime: start), parent: Int32(truncatingIfNeeded: parent),
            group: Int32(truncatingIfNeeded: group), session: Int32(truncatingIfNeeded: session), state: state)
    }

    /// Everything below `root`, without `root` itself.
    package func descendants(of root: Int32) -> [Entry] { closure(of: [root]) }

    /// Everything below any of the roots, the roots themselves left out.
    package func closure(of roots: Set<Int32>) -> [Entry] {
        var children: [Int32: [Entry]] = [:]
        for entry in entries { children[entry.parent, default: []].append(entry) }
        var seen = roots
        var queue = Array(roots)
        var found: [Entry] = []
        while let next = queue.popLast() {
            for child in children[next] ?? [] where seen.insert(child.identity.pid).inserted {
                found.append(child)
                queue.append(child.identity.pid)
            }
        }
        return found
    }

    /// Whether the process was started with this `NAME=value` in its environment.
    package static func environment(of pid: Int32, contains variable: [UInt8]) -> Bool {
        guard let bytes = contents("/proc/\(pid)/environ", atMost: 1 << 20) else { return false }
        return bytes.split(separator: 0).contains { $0.elementsEqual(variable) }
    }

    /// What the process calls itself: fifteen bytes that it chooses, so only what is ordinary text of it.
    package static func name(of pid: Int32) -> String {
        let bytes = contents("/proc/\(pid)/comm", atMost: 64) ?? []
        let name = String(decoding: bytes.filter { (0x21...0x7E).contains($0) }, as: UTF8.self)
        return name.isEmpty ? "?" : name
    }

    /// Another value after every boot of the host (random(4)).
    package static let bootIDFile = "/proc/sys/kernel/random/boot_id"

    package static func bootID(in file: String = bootIDFile) -> String {
        let bytes = contents(file, atMost: 64) ?? []
        return String(decoding: bytes.prefix { $0 > 0x20 }, as: UTF8.self)
    }

    private static func number(_ digits: some Collection<UInt8>) -> UInt64? {
        var value: UInt64 = 0
        guard !digits.isEmpty else { return nil }
        for byte in digits {
            // Session and group of a kernel thread may be −1 in other pid namespaces.
            guard byte >= 0x30, byte <= 0x39 else { return 0 }
            value = value &* 10 &+ UInt64(byte - 0x30)
        }
        return value
    }

    /// A file of /proc or of the cgroups, which tells no length.
    static func contents(_ path: String, atMost limit: Int) -> [UInt8]? {
        let number = muster_open(path, O_RDONLY, 0)
        guard number >= 0 else { return nil }
        defer { close(number) }
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: min(limit, 16384))
        while bytes.count < limit {
            let got = chunk.withUnsafeMutableBytes { Glibc.read(number, $0.baseAddress, $0.count) }
            if got < 0 && errno == EINTR { continue }
            if got <= 0 { break }
            bytes.append(contentsOf: chunk[..<got])
        }
        return bytes.isEmpty ? nil : bytes
    }
}
