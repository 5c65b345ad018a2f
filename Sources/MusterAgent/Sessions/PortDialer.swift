import CLinux
import Dispatch
import Glibc
import NIOCore
import NIOPosix

/// Where the connections of a port session go.
enum PortDialer {
    /// - Parameter host: nil is the node itself.
    case port(host: String?, port: Int)
    /// A unix socket, which `connector` connects to.
    case socket(path: String, connector: () -> EventLoopFuture<Int32>)

    /// For records and errors.
    var name: String {
        switch self {
        case .port(let host, let port):
            let host = host ?? "localhost"
            return host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)"
        case .socket(let path, _): return path
        }
    }

    private static let connectTime = TimeAmount.seconds(10)

    /// A connection with `handler` in it; fails with words for the user.
    ///
    /// A name is resolved once, what came out is compared with the denied ranges, and exactly that is connected to: another answer of
    /// the name's server a moment later changes nothing. Numbers in unusual forms (decimal, octal, hexadecimal, short) go the same way,
    /// because the resolver reads them as connect would.
    func dial(
        denied: DeniedTargets, on loop: any EventLoop, handler: @escaping @Sendable (any Channel) throws -> Void
    ) -> EventLoopFuture<any Channel> {
        let bootstrap = ClientBootstrap(group: loop)
            .connectTimeout(Self.connectTime)
            .channelOption(.autoRead, value: false)
            .channelOption(.maxMessagesPerRead, value: 4)
            .channelOption(.recvAllocator, value: FixedSizeRecvByteBufferAllocator(capacity: PortSession.largestRead))
            .channelInitializer { channel in channel.eventLoop.makeCompletedFuture { try handler(channel) } }
        let tcp = bootstrap.channelOption(.socketOption(.tcp_nodelay), value: 1)
        switch self {
        case .socket(_, let connector):
            return connector().flatMap { bootstrap.withConnectedSocket($0) }
        case .port(nil, let port):
            let addresses = ["127.0.0.1", "::1"].compactMap { try? SocketAddress(ipAddress: $0, port: port) }
            return Self.connect(addresses, denied, tcp, loop, to: name)
        case .port(let host?, let port):
            let name = self.name
            return Self.resolve(host, port, on: loop).flatMap { Self.connect(Array($0.prefix(4)), denied, tcp, loop, to: name) }
        }
    }

    /// The one way to a connection by TCP. One address that is denied denies all: a name that has it was never meant to be reached.
    private static func connect(
        _ addresses: [SocketAddress], _ denied: DeniedTargets, _ bootstrap: ClientBootstrap, _ loop: any EventLoop, to name: String
    ) -> EventLoopFuture<any Channel> {
        if let refused = addresses.first(where: { $0.networkAddress.map(denied.contains) ?? true }) {
            let address = refused.ipAddress ?? "an address of another family"
            return loop.makeFailedFuture(
                SessionRefusal(
                    "Connections from this node to \(name) are denied: it is \(address), which sessionDeniedTargets in agent.json5 covers."
                ))
        }
        return connect(addresses, bootstrap, loop, to: name)
    }

    private static func connect(
        _ addresses: [SocketAddress], _ bootstrap: ClientBootstrap, _ loop: any EventLoop, to name: String
    ) -> EventLoopFuture<any Channel> {
        guard let first = addresses.first else { return loop.makeFailedFuture(SessionRefusal("\(name) has no address.")) }
        return bootstrap.connect(to: first).flatMapError { error in
            guard addresses.count > 1 else {
                let reason = (error as? IOError).map { String(cString: strerror($0.errnoCode)) } ?? "\(error)"
                return loop.makeFailedFuture(SessionRefusal("Cannot connect from this node to \(name): \(reason)."))
            }
            return connect(Array(addresses.dropFirst()), bootstrap, loop, to: name)
        }
    }

    /// getaddrinfo(3), which blocks, on a thread of its own.
    private static func resolve(_ host: String, _ port: Int, on loop: any EventLoop) -> EventLoopFuture<[SocketAddress]> {
        let promise = loop.makePromise(of: [SocketAddress].self)
        DispatchQueue.global().async {
            var hints = addrinfo()
            hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
            var list: UnsafeMutablePointer<addrinfo>?
            let result = getaddrinfo(host, String(port), &hints, &list)
            guard result == 0 else {
                return promise.fail(SessionRefusal("Cannot find \(host) from this node: \(String(cString: gai_strerror(result)))."))
            }
            defer { freeaddrinfo(list) }
            var addresses: [SocketAddress] = []
            var entry = list
            while let current = entry {
                if let address = SocketAddress(current.pointee), !addresses.contains(address) { addresses.append(address) }
                entry = current.pointee.ai_next
            }
            promise.succeed(addresses)
        }
        return promise.futureResult
    }
}

extension SocketAddress {
    fileprivate init?(_ info: addrinfo) {
        guard let address = info.ai_addr else { return nil }
        switch info.ai_family {
        case AF_INET: self.init(UnsafeRawPointer(address).loadUnaligned(as: sockaddr_in.self))
        case AF_INET6: self.init(UnsafeRawPointer(address).loadUnaligned(as: sockaddr_in6.self))
        default: return nil
        }
    }

    /// ip(7), ipv6(7): the address stands behind family and port, in IPv6 behind the flow label too.
    var networkAddress: NetworkAddress? {
        let (offset, count): (Int, Int)
        switch self {
        case .v4: (offset, count) = (4, 4)
        case .v6: (offset, count) = (8, 16)
        case .unixDomainSocket: return nil
        }
        let bytes = withSockAddr { address, size in
            Array(UnsafeRawBufferPointer(start: UnsafeRawPointer(address), count: size).dropFirst(offset).prefix(count))
        }
        return count == 4 ? NetworkAddress(ipv4: bytes) : NetworkAddress(ipv6: bytes)
    }
}

extension NetworkAddress {
    /// As inet_pton(3) reads it.
    package init?(_ text: String) {
        guard let address = try? SocketAddress(ipAddress: text, port: 0), let bytes = address.networkAddress else { return nil }
        self = bytes
    }
}
