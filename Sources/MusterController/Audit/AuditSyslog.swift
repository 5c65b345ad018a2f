internal import CLinux
internal import FoundationEssentials
internal import Glibc
internal import MusterWire
internal import NIOConcurrencyHelpers
internal import NIOPosix

/// A syslog daemon: RFC 5424 messages over a unix socket, UDP (RFC 5426) or TCP with counted octets (RFC 6587). The message is the line as it
/// would stand in a file, so what a daemon wrote can be verified too.
///
/// Syslog has no answer. Over TCP a record counts as delivered when the other machine's kernel has acknowledged it, over a unix socket when
/// the daemon's queue has it, over UDP when it was sent.
final class AuditSyslog: AuditTarget {
    /// [value]
    struct Address: Sendable, Equatable {
        enum Kind: Sendable, Equatable {
            case unix
            case udp
            case tcp
        }
        let kind: Kind
        /// A path, or a host.
        let place: String
        let port: String

        /// `unix:PATH`, `udp:HOST:PORT`, `tcp:HOST:PORT`; without a port it is the registered one.
        init?(_ text: String) {
            let parts = text.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
            guard parts.count == 2, !parts[1].isEmpty else { return nil }
            switch parts[0] {
            case "unix":
                guard parts[1].hasPrefix("/"), parts[1].utf8.count < 108 else { return nil }
                (kind, place, port) = (.unix, parts[1], "")
            case "udp", "tcp":
                kind = parts[0] == "udp" ? .udp : .tcp
                var host = parts[1]
                var port = kind == .udp ? "514" : "601"
                if let colon = host.lastIndex(of: ":"), !host.hasSuffix("]") {
                    port = String(host[host.index(after: colon)...])
                    host = String(host[..<colon])
                }
                if host.hasPrefix("["), host.hasSuffix("]") { host = String(host.dropFirst().dropLast()) }
                guard ControllerConfiguration.isName(host), let number = Int(port), (1...65_535).contains(number) else { return nil }
                (place, self.port) = (host, port)
            default:
                return nil
            }
        }
    }

    struct Failure: Error, CustomStringConvertible {
        let description: String
    }

    /// For connecting, for each write, and for the acknowledgement of all of them.
    private static let patienceSeconds = 5
    /// Log audit; notice and warning. RFC 5424 section 6.2.1.
    private static let usual = 13 * 8 + 5
    private static let notable = 13 * 8 + 4
    /// What UDP carries.
    private static let longestDatagram = 65_000

    let name: String
    let pause = Duration.seconds(1)
    private let address: Address
    private let hostName: String
    private let socket = NIOLockedValueBox<Socket?>(nil)

    init(_ address: Address, text: String) {
        self.address = address
        name = "syslog:\(text)"
        var buffer = [CChar](repeating: 0, count: 256)
        let got = gethostname(&buffer, buffer.count - 1) == 0
        let host = got ? String(decoding: buffer.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self) : ""
        hostName = host.isEmpty || !host.utf8.allSatisfy({ (0x21...0x7e).contains($0) }) ? "-" : host
    }

    func reached() async throws -> AuditMark? { nil }
    func latestCheckpoint() async throws -> AuditCheckpoint? { nil }

    func deliver(_ lines: [AuditLine], after position: AuditDelivery.Position) async throws {
        try await NIOThreadPool.singleton.runIfActive {
            try self.socket.withLockedValue { socket in
                do {
                    let isNew = socket == nil
                    let open = try socket ?? Socket(self.address, seconds: Self.patienceSeconds)
                    socket = open
                    if isNew { try self.send(.trail(position.mark), over: open) }
                    for line in lines { try self.send(line, over: open) }
                    try open.flush(seconds: Self.patienceSeconds)
                } catch {
                    socket = nil
                    throw error
                }
            }
        }
    }

    private func send(_ line: AuditLine, over socket: Socket) throws {
        let (priority, time, kind) = Self.facts(line)
        let header = "<\(priority)>1 \(time) \(hostName) muster-controller \(getpid()) \(kind) - "
        var message = Array(header.utf8) + (try line.text())
        if address.kind == .udp, message.count > Self.longestDatagram { message = Array(message.prefix(Self.longestDatagram)) }
        if address.kind == .tcp { message = Array("\(message.count) ".utf8) + message }
        try socket.write(message)
    }

    private static func facts(_ line: AuditLine) -> (Int, String, String) {
        switch line {
        case .trail: return (usual, "-", "trail")
        case .checkpoint: return (usual, "-", "checkpoint")
        case .record(let record):
            let fields = try? record.decoded()
            return (fields?.errorCode == nil ? usual : notable, fields?.eventTime ?? "-", "record")
        }
    }

    /// A connected socket that blocks.
    private final class Socket: Sendable {
        private let number: Int32
        private let kind: Address.Kind

        init(_ address: Address, seconds: Int) throws {
            kind = address.kind
            number = address.kind == .unix ? try Self.unix(address.place) : try Self.network(address, seconds: seconds)
            Self.limit(number, seconds)
        }

        deinit { close(number) }

        private static func limit(_ number: Int32, _ seconds: Int) {
            var limit = timeval(tv_sec: seconds, tv_usec: 0)
            setsockopt(number, SOL_SOCKET, SO_SNDTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        }

        private static func unix(_ path: String) throws -> Int32 {
            var name = sockaddr_un()
            name.sun_family = sa_family_t(AF_UNIX)
            withUnsafeMutableBytes(of: &name.sun_path) { $0.copyBytes(from: path.utf8) }
            // Daemons differ in the kind of their socket.
            var reason = Int32(0)
            for type in [SOCK_DGRAM, SOCK_STREAM] {
                let number = Glibc.socket(AF_UNIX, Int32(type.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
                let connected = withUnsafePointer(to: &name) { pointer in
                    pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                        connect(number, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
                    }
                }
                if connected == 0 { return number }
                reason = errno
                close(number)
                guard reason == EPROTOTYPE else { break }
            }
            throw Failure(description: "Cannot reach the syslog daemon at \(path): \(String(cString: strerror(reason))).")
        }

        private static func network(_ address: Address, seconds: Int) throws -> Int32 {
            var hints = addrinfo()
            hints.ai_socktype = Int32((address.kind == .udp ? SOCK_DGRAM : SOCK_STREAM).rawValue)
            var list: UnsafeMutablePointer<addrinfo>?
            let status = getaddrinfo(address.place, address.port, &hints, &list)
            guard status == 0 else {
                throw Failure(
                    description: "Cannot find the syslog daemon's host \(address.place): \(String(cString: gai_strerror(status))).")
            }
            defer { freeaddrinfo(list) }
            var reason = Int32(0)
            var next = list
            while let candidate = next?.pointee {
                next = candidate.ai_next
                let number = Glibc.socket(candidate.ai_family, candidate.ai_socktype | Int32(SOCK_CLOEXEC.rawValue), 0)
                guard number >= 0 else { continue }
                // It bounds connect(2) too, socket(7).
                limit(number, seconds)
                if connect(number, candidate.ai_addr, candidate.ai_addrlen) == 0 { return number }
                reason = errno
                close(number)
            }
            throw Failure(
                description: "Cannot reach the syslog daemon at \(address.place):\(address.port): \(String(cString: strerror(reason))).")
        }

        func write(_ bytes: [UInt8]) throws {
            var written = 0
            while written < bytes.count {
                let count = bytes.withUnsafeBytes { buffer in
                    Glibc.send(number, buffer.baseAddress.map { $0 + written }, buffer.count - written, Int32(MSG_NOSIGNAL))
                }
                if count < 0, errno == EINTR { continue }
                guard count > 0 else { throw Failure(description: "The syslog daemon takes nothing: \(String(cString: strerror(errno))).") }
                written += count
            }
        }

        /// Over TCP, until the other side's kernel has everything. There is no event for that; the wait is short, and bounded.
        func flush(seconds: Int) throws {
            guard kind == .tcp else { return }
            for _ in 0..<(seconds * 100) {
                // A daemon that closed the connection has said so by now.
                var byte = UInt8(0)
                let got = recv(number, &byte, 1, Int32(MSG_DONTWAIT) | Int32(MSG_PEEK))
                guard got != 0, got > 0 || errno == EAGAIN || errno == EINTR else {
                    throw Failure(description: "The syslog daemon closed the connection.")
                }
                if muster_unacknowledged(number) == 0 { return }
                usleep(10_000)
            }
            throw Failure(description: "The syslog daemon acknowledged nothing for \(seconds) seconds.")
        }
    }
}
