import Glibc
import MusterWire

/// What the controller shows about a host besides its identity. None of it decides anything.
package struct HostFacts: Sendable, Hashable {
    package static let platformType = "Linux"

    package var computerName: String
    package var ipAddress: String
    package var platformName: String
    package var platformVersion: String

    /// - Parameter connectedFrom: this end of a connection to the controller.
    package static func current(connectedFrom: String? = nil) -> HostFacts {
        let release = osRelease((try? Folder.open("/etc"))?.text("os-release") ?? (try? Folder.open("/usr/lib"))?.text("os-release") ?? "")
        return HostFacts(
            computerName: hostName(),
            ipAddress: address(connectedFrom: connectedFrom, of: interfaceAddresses(), defaultInterface: defaultInterface()),
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

    struct InterfaceAddress: Equatable {
        var interface: String
        var address: String
        var isIPv4: Bool { !address.utf8.contains(UInt8(ascii: ":")) }
        /// Neither loopback nor link-local.
        var isReachable: Bool {
            !address.hasPrefix("127.") && !address.hasPrefix("169.254.") && address != "::1" && !address.lowercased().hasPrefix("fe80")
        }
    }

    /// The address by which this host is connected. Where that says nothing, as with a proxy on this host, or before the first connection:
    /// that of the interface that leads out, and never that of a bridge to this host's own containers while there is another.
    static func address(connectedFrom: String?, of all: [InterfaceAddress], defaultInterface: String?) -> String {
        if let connectedFrom, InterfaceAddress(interface: "", address: connectedFrom).isReachable { return connectedFrom }
        let reachable = all.filter(\.isReachable)
        let outward = reachable.filter { $0.interface == defaultInterface }
        let candidates = outward.isEmpty ? reachable : outward
        return (candidates.first(where: \.isIPv4) ?? candidates.first)?.address ?? ""
    }

    /// Of the route to everywhere with the least metric. Table of proc(5), /proc/net/route; values are hexadecimal but for the metric.
    private static func defaultInterface() -> String? {
        defaultInterface(
            ofRoutes: ProcessTable.contents("/proc/net/route", atMost: 1 << 20).map { String(decoding: $0, as: UTF8.self) } ?? "")
    }

    static func defaultInterface(ofRoutes text: String) -> String? {
        text.split(separator: "\n").dropFirst().compactMap { line -> (name: String, metric: Int)? in
            let fields = line.split { $0 == "\t" || $0 == " " }
            guard fields.count > 7, fields[1] == "00000000", fields[7] == "00000000", let metric = Int(fields[6]) else { return nil }
            return (String(fields[0]), metric)
        }.min { $0.metric < $1.metric }?.name
    }

    /// Of interfaces that are up. Man page getifaddrs(3).
    private static func interfaceAddresses() -> [InterfaceAddress] {
        var list: UnsafeMutablePointer<ifaddrs>?
        guard getifaddrs(&list) == 0 else { return [] }
        defer { freeifaddrs(list) }
        var found: [InterfaceAddress] = []
        var entry = list
        while let current = entry?.pointee {
            entry = current.ifa_next
            let flags = UInt32(current.ifa_flags)
            guard flags & UInt32(IFF_UP) != 0, flags & UInt32(IFF_LOOPBACK) == 0, let address = current.ifa_addr else { continue }
            let length: Int
            switch Int32(address.pointee.sa_family) {
            case AF_INET: length = MemoryLayout<sockaddr_in>.size
            case AF_INET6: length = MemoryLayout<sockaddr_in6>.size
            default: continue
            }
            let text = numeric(address, length: socklen_t(length))
            if !text.isEmpty { found.append(InterfaceAddress(interface: String(cString: current.ifa_name), address: text)) }
        }
        return found
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
