import Glibc
import MusterWire

/// What the controller shows about a host besides its identity. None of it decides anything.
package struct HostFacts: Sendable, Hashable {
    package static let platformType = "Linux"

    package var computerName: String
    package var ipAddress: String
    package var platformName: String
    package var platformVersion: String

    package static func current() -> HostFacts {
        let release = osRelease((try? Folder.open("/etc"))?.text("os-release") ?? (try? Folder.open("/usr/lib"))?.text("os-release") ?? "")
        return HostFacts(
            computerName: hostName(),
            ipAddress: address(),
            platformName: release["NAME"] ?? "Linux",
            platformVersion: release["VERSION_ID"] ?? ""
        )
    }

    /// Man page os-release(5): shell assignments, possibly quoted. Lengths are those that the controller takes.
    static func osRelease(_ text: String) -> [String: String] {
        var values: [String: String] = [:]
        for line in text.split(separator: "\n") where line.first != "#" {
            guard let equals = line.firstIndex(of: "=") else { continue }
            var value = line[line.index(after: equals)...]
            if value.count >= 2, let quote = value.first, quote == "\"" || quote == "'", value.last == quote {
                value = value.dropFirst().dropLast()
            }
            values[String(line[..<equals])] = String(value.filter { $0 != "\\" }.prefix(128))
        }
        return values
    }

    private static func hostName() -> String {
        // POSIX does not promise the final zero when the name is cut.
        var buffer = [CChar](repeating: 0, count: 256)
        guard gethostname(&buffer, buffer.count - 1) == 0 else { return "" }
        return text(buffer)
    }

    /// The first address that others can reach: IPv4 if there is one, neither loopback nor link-local. Man page getifaddrs(3).
    private static func address() -> String {
        var list: UnsafeMutablePointer<ifaddrs>?
        guard getifaddrs(&list) == 0 else { return "" }
        defer { freeifaddrs(list) }
        var second = ""
        var entry = list
        while let current = entry?.pointee {
            entry = current.ifa_next
            let flags = UInt32(current.ifa_flags)
            guard flags & UInt32(IFF_UP) != 0, flags & UInt32(IFF_LOOPBACK) == 0, let address = current.ifa_addr else { continue }
            switch Int32(address.pointee.sa_family) {
            case AF_INET:
                let text = numeric(address, length: socklen_t(MemoryLayout<sockaddr_in>.size))
                if !text.isEmpty, !text.hasPrefix("169.254.") { return text }
            case AF_INET6 where second.isEmpty:
                let text = numeric(address, length: socklen_t(MemoryLayout<sockaddr_in6>.size))
                if !text.lowercased().hasPrefix("fe80") { second = text }
            default:
                break
            }
        }
        return second
    }

    private static func numeric(_ address: UnsafeMutablePointer<sockaddr>, length: socklen_t) -> String {
        var buffer = [CChar](repeating: 0, count: Int(NI_MAXHOST))
        guard getnameinfo(address, length, &buffer, socklen_t(buffer.count), nil, 0, NI_NUMERICHOST) == 0 else { return "" }
        return text(buffer)
    }

    private static func text(_ buffer: [CChar]) -> String {
        String(decoding: buffer.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
    }
}

/// Four numbers, as SSM writes versions. SSM's clients compare them to find out what an agent can do (all that is asked for came with
/// 3.1.1511.0 at the latest), so ours are above those.
package enum AgentVersion {
    package static let current = ReleaseVersion.current

    /// For people.
    package static let text = "muster-agent \(Release.version)"
}

extension Folder {
    fileprivate func text(_ name: String) -> String? {
        (try? read(name, atMost: 64 << 10)).flatMap { $0 }.map { String(decoding: $0, as: UTF8.self) }
    }
}
