import Dispatch
import Glibc

/// TCP without TLS, from a client that says nothing.
final class PlainConnection {
    struct Failed: Error { let number: Int32 }
    private let descriptor: Int32

    /// `address:port`, on loopback.
    init(port address: String) throws {
        descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var target = sockaddr_in()
        target.sin_family = sa_family_t(AF_INET)
        target.sin_port = in_port_t(address.split(separator: ":").last.flatMap { UInt16($0) } ?? 0).bigEndian
        target.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        let result = withUnsafePointer(to: &target) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) }
        }
        guard result == 0 else { throw Failed(number: errno) }
    }

    deinit { close(descriptor) }

    /// Waits until the other side has closed one of them, or the time is over.
    static func awaitEnd(of connections: [PlainConnection], seconds: Int32) async {
        let descriptors = connections.map(\.descriptor)
        await withCheckedContinuation { (continuation: CheckedContinuation<Void, Never>) in
            DispatchQueue.global().async {
                var watched = descriptors.map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
                while poll(&watched, nfds_t(watched.count), seconds * 1000) < 0 && errno == EINTR {}
                continuation.resume()
            }
        }
        withExtendedLifetime(connections) {}
    }

    var isClosed: Bool {
        var byte: UInt8 = 0
        let count = recv(descriptor, &byte, 1, Int32(MSG_DONTWAIT))
        return count == 0 || (count < 0 && errno == ECONNRESET)
    }
}
