internal import FoundationEssentials
internal import Glibc
internal import MusterWire
internal import NIOConcurrencyHelpers
internal import NIOPosix

/// A syslog daemon: RFC 5424 messages over a unix socket, UDP (RFC 5426) or TCP with counted octets (RFC 6587). The message is the line as it
/// would stand in a file, so what a daemon wrote can be verified too.
///
/// Syslog has no answer. Over TCP a record counts as delivered when the other machine's kernel has acknowledged it, over a unix stream when
/// the daemon has read it, over a unix datagram when the daemon's queue has it, over UDP when it was sent.
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

    /// For connecting, for each write, and for the acknowledgement of all of them.
    private static let patienceSeconds = 5
    /// Log audit; notice and warning. RFC 5424 section 6.2.1.
    private static let usual = 13 * 8 + 5
    private static let notable = 13 * 8 + 4

    let name: String
    let pause = Duration.seconds(1)
    private let address: Address
    private let hostName: String
    private let socket = NIOLockedValueBox<SyslogSocket?>(nil)

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
                    let open = try socket ?? SyslogSocket(self.address, seconds: Self.patienceSeconds)
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

    private func send(_ line: AuditLine, over socket: SyslogSocket) throws {
        let (priority, time, kind) = Self.facts(line)
        let header = "<\(priority)>1 \(time) \(hostName) muster-controller \(getpid()) \(kind) - "
        try socket.send(Array(header.utf8) + (try line.text()))
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
}
