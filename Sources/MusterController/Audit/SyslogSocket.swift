internal import CLinux
internal import Glibc

/// A connected socket to a syslog daemon. It blocks.
final class SyslogSocket: Sendable {
    struct Failure: Error, CustomStringConvertible {
        let description: String
    }

    private enum Framing: Sendable {
        /// One message each, RFC 5426 and syslog(3).
        case datagrams
        /// RFC 6587 section 3.4.1.
        case counted
        /// RFC 6587 section 3.4.2, which is what daemons read from a unix stream. No message has a line feed in it.
        case lines
    }

    /// What UDP carries.
    static let longestDatagram = 65_000
    /// What everybody has to take, RFC 5424 section 6.1.
    static let shortestDatagram = 480

    let number: Int32
    private let framing: Framing

    init(_ address: AuditSyslog.Address, seconds: Int) throws {
        switch address.kind {
        case .unix: (number, framing) = try Self.unix(address.place)
        case .udp: (number, framing) = (try Self.network(address, seconds: seconds), .datagrams)
        case .tcp: (number, framing) = (try Self.network(address, seconds: seconds), .counted)
        }
        Self.limit(number, seconds)
    }

    deinit { close(number) }

    // MARK: Sending

    func send(_ message: [UInt8]) throws {
        switch framing {
        case .counted: try write(Array("\(message.count) ".utf8) + message)
        case .lines: try write(message + [0x0a])
        case .datagrams: try write(datagram: message)
        }
    }

    private func write(_ bytes: [UInt8]) throws {
        var written = 0
        while written < bytes.count {
            let count = bytes.withUnsafeBytes { buffer in
                Glibc.send(number, buffer.baseAddress.map { $0 + written }, buffer.count - written, Int32(MSG_NOSIGNAL))
            }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw Self.takesNothing(errno) }
            written += count
        }
    }

    /// Cut to what the kernel takes at once: a message that cannot go whole must not keep back all that follow.
    private func write(datagram message: [UInt8]) throws {
        var longest = Self.longestDatagram
        while true {
            let bytes = Self.cut(message, longest)
            let count = bytes.withUnsafeBytes { Glibc.send(number, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
            if count == bytes.count { return }
            let reason = errno
            if count < 0, reason == EINTR { continue }
            guard count < 0, reason == EMSGSIZE, longest > Self.shortestDatagram else { throw Self.takesNothing(reason) }
            longest = max(Self.shortestDatagram, min(bytes.count, longest) / 2)
        }
    }

    /// Never inside a character, and it says so.
    static func cut(_ message: [UInt8], _ longest: Int) -> [UInt8] {
        guard message.count > longest else { return message }
        let mark = Array("… (cut: \(message.count) bytes)".utf8)
        var end = max(0, longest - mark.count)
        while end > 0, message[end] & 0xc0 == 0x80 { end -= 1 }
        return message[..<end] + mark
    }

    private static func takesNothing(_ reason: Int32) -> Failure {
        Failure(description: "The syslog daemon takes nothing: \(String(cString: strerror(reason))).")
    }

    /// Over a stream, until the other side has everything: its kernel over TCP, the daemon itself over a unix socket. There is no event for
    /// that; the wait is short, and bounded.
    func flush(seconds: Int) throws {
        guard framing != .datagrams else { return }
        for _ in 0..<(seconds * 100) {
            let isTaken = muster_unacknowledged(number) == 0
            // A daemon that closed the connection, perhaps with something unread, has said so by now.
            var byte = UInt8(0)
            let got = recv(number, &byte, 1, Int32(MSG_DONTWAIT) | Int32(MSG_PEEK))
            guard got != 0, got > 0 || errno == EAGAIN || errno == EINTR else {
                throw Failure(description: "The syslog daemon closed the connection.")
            }
            if isTaken { return }
            usleep(10_000)
        }
        throw Failure(description: "The syslog daemon acknowledged nothing for \(seconds) seconds.")
    }

    // MARK: Connecting

    private static func limit(_ number: Int32, _ seconds: Int) {
        var limit = timeval(tv_sec: seconds, tv_usec: 0)
        setsockopt(number, SOL_SOCKET, SO_SNDTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
    }

    private static func unix(_ path: String) throws -> (Int32, Framing) {
        var name = sockaddr_un()
        name.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &name.sun_path) { $0.copyBytes(from: path.utf8) }
        // Daemons differ in the kind of their socket.
        var reason = Int32(0)
        for (type, framing) in [(SOCK_DGRAM, Framing.datagrams), (SOCK_STREAM, .lines)] {
            let number = Glibc.socket(AF_UNIX, Int32(type.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
            let connected = withUnsafePointer(to: &name) { pointer in
                pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    connect(number, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
                }
            }
            if connected == 0 { return (number, framing) }
            reason = errno
            close(number)
            guard reason == EPROTOTYPE else { break }
        }
        throw Failure(description: "Cannot reach the syslog daemon at \(path): \(String(cString: strerror(reason))).")
    }

    private static func network(_ address: AuditSyslog.Address, seconds: Int) throws -> Int32 {
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
}
