import Dispatch
import Foundation
import Glibc
import MusterWire
import NIOConcurrencyHelpers

@testable import MusterController

/// A syslog daemon of each kind there is but TCP's, on a thread of its own; it keeps what it gets.
final class SyslogDaemon: Sendable {
    enum Kind: Sendable, CaseIterable {
        /// As rsyslog's and journald's /dev/log.
        case unixDatagram
        /// As syslog-ng's unix-stream.
        case unixStream
        case udp
    }

    struct Failed: Error { let number: Int32 }

    let kind: Kind
    /// As the configuration has it.
    let address: String
    private let descriptor: Int32
    private let received = NIOLockedValueBox<[[UInt8]]>([])
    private let isStopping = NIOLockedValueBox(false)
    private let ended = DispatchSemaphore(value: 0)
    private let arrivals = Changes()

    init(_ kind: Kind, path: String) throws {
        self.kind = kind
        switch kind {
        case .unixDatagram, .unixStream:
            let type = kind == .unixDatagram ? SOCK_DGRAM : SOCK_STREAM
            descriptor = socket(AF_UNIX, Int32(type.rawValue), 0)
            unlink(path)
            var name = sockaddr_un()
            name.sun_family = sa_family_t(AF_UNIX)
            withUnsafeMutableBytes(of: &name.sun_path) { $0.copyBytes(from: path.utf8) }
            try Self.bind(descriptor, &name)
            address = "unix:\(path)"
        case .udp:
            let made = socket(AF_INET, Int32(SOCK_DGRAM.rawValue), 0)
            descriptor = made
            var name = sockaddr_in()
            name.sin_family = sa_family_t(AF_INET)
            name.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
            try Self.bind(descriptor, &name)
            var length = socklen_t(MemoryLayout<sockaddr_in>.size)
            withUnsafeMutablePointer(to: &name) { pointer in
                pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { _ = getsockname(made, $0, &length) }
            }
            address = "udp:127.0.0.1:\(UInt16(bigEndian: name.sin_port))"
        }
        // Few records may be on their way at once: what a busy machine's daemon does not read in time, UDP loses.
        var room = Int32(4 << 20)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVBUF, &room, socklen_t(MemoryLayout<Int32>.size))
        if kind == .unixStream { listen(descriptor, 4) }
        DispatchQueue(label: "syslog").async { self.run() }
    }

    private static func bind<Name>(_ descriptor: Int32, _ name: inout Name) throws {
        let result = withUnsafePointer(to: &name) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { Glibc.bind(descriptor, $0, socklen_t(MemoryLayout<Name>.size)) }
        }
        guard result == 0 else { throw Failed(number: errno) }
    }

    /// Whole messages, in the order in which they came.
    var messages: [[UInt8]] { received.withLockedValue { $0 } }

    /// What stands behind the header.
    var lines: [[UInt8]] { messages.map { Array($0.drop { $0 != UInt8(ascii: "{") }) } }

    /// False when that did not come about within ten seconds.
    func gets(_ condition: (SyslogDaemon) throws -> Bool) async rethrows -> Bool {
        let deadline = ContinuousClock.now + .seconds(10)
        while true {
            let seen = arrivals.count
            if try condition(self) { return true }
            guard (try? await arrivals.next(after: seen, until: deadline)) == true else { return false }
        }
    }

    func stop() {
        isStopping.withLockedValue { $0 = true }
        ended.wait()
    }

    // MARK: The daemon's thread

    private func run() {
        defer {
            close(descriptor)
            ended.signal()
        }
        var buffer = [UInt8](repeating: 0, count: 1 << 20)
        while wait(for: descriptor) {
            guard kind == .unixStream else {
                let count = recv(descriptor, &buffer, buffer.count, 0)
                if count > 0 { got(Array(buffer[..<count])) }
                continue
            }
            let connection = accept(descriptor, nil, nil)
            var rest: [UInt8] = []
            while wait(for: connection) {
                let count = recv(connection, &buffer, buffer.count, 0)
                guard count > 0 else { break }
                rest += buffer[..<count]
                while let end = rest.firstIndex(of: 0x0a) {
                    got(Array(rest[..<end]))
                    rest.removeSubrange(...end)
                }
            }
            close(connection)
        }
    }

    /// False when it is to stop.
    private func wait(for descriptor: Int32) -> Bool {
        var watched = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        while !isStopping.withLockedValue({ $0 }) {
            if poll(&watched, 1, 50) > 0 { return true }
        }
        return false
    }

    private func got(_ message: [UInt8]) {
        received.withLockedValue { $0.append(message) }
        arrivals.happened()
    }
}
