import Glibc
import MusterClient
import MusterWire
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix

/// `muster forward`: listens here, and carries what connects through a session for each place it goes to.
package struct ForwardCommand: Sendable {
    package let node: String
    package let specs: [ForwardSpec]
    package let reason: String?

    package init(node: String, specs: [ForwardSpec], reason: String?) {
        self.node = node
        self.specs = specs
        self.reason = reason
    }

    /// Until Ctrl-C, or until one of the sessions ends.
    package func run(by caller: Operator) async throws -> Int32 {
        signal(SIGPIPE, SIG_IGN)
        var forwards: [Forward] = []
        for spec in specs {
            let request = SessionRequest(node: node, document: spec.document, parameters: spec.parameters, reason: reason)
            forwards.append(Forward(spec, node: node, session: try await OpenedSession.start(request, by: caller)))
        }
        let all = forwards
        let status = NIOLockedValueBox<Int32?>(nil)
        try Signals.handle([SIGINT, SIGTERM, SIGHUP]) { number in
            status.withLockedValue { if $0 == nil { $0 = 128 + number } }
            for forward in all { forward.session.channel.end() }
        }
        let result = await withTaskGroup(of: Int32.self) { group in
            for forward in all { group.addTask { await forward.run() } }
            let first = await group.next() ?? 0
            for forward in all { forward.session.channel.end() }
            await group.waitForAll()
            return first
        }
        for forward in all {
            await forward.session.terminate()
            forward.session.shutdown()
        }
        return status.withLockedValue { $0 } ?? result
    }
}

/// One place to forward to.
private final class Forward: Sendable {
    private let spec: ForwardSpec
    private let node: String
    let session: OpenedSession
    private let listener = NIOLockedValueBox<(any Channel)?>(nil)
    private let failure = NIOLockedValueBox<String?>(nil)
    private let isReady = NIOLockedValueBox(false)

    init(_ spec: ForwardSpec, node: String, session: OpenedSession) {
        self.spec = spec
        self.node = node
        self.session = session
    }

    func run() async -> Int32 {
        let session = self.session
        let tunnel = ForwardTunnel(channel: session.channel, loop: session.loop) { [weak self] in self?.heard($0) }
        session.channel.attach(tunnel)
        do {
            // First, so that a port that is taken is told at once; what connects before the session is there waits.
            try await listen(tunnel)
        } catch {
            say("Cannot listen for \(spec): \(error)")
            return 2
        }
        let end = await session.channel.run()
        let channel = listener.withLockedValue { $0 }
        try? await channel?.close().get()
        if case .socket(let path) = spec.local { unlink(path) }
        try? await session.loop.submit { tunnel.end() }.get()
        if let failure = failure.withLockedValue({ $0 }) {
            say(failure)
            return AttachedSession.lost
        }
        switch end {
        case .finished: return 0
        case .closed(let output): say(output.isEmpty ? "The session ended." : Table.terminalSafe(output))
        case .gone(let reason): say("The session is lost. \(reason)")
        }
        return isReady.withLockedValue { $0 } ? AttachedSession.lost : 2
    }

    private func listen(_ tunnel: ForwardTunnel) async throws {
        let bootstrap = ServerBootstrap(group: session.loop)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .serverChannelOption(.backlog, value: 256)
            .serverChannelOption(.autoRead, value: false)
            .childChannelOption(.autoRead, value: false)
            .childChannelOption(.maxMessagesPerRead, value: 4)
            .childChannelOption(.recvAllocator, value: FixedSizeRecvByteBufferAllocator(capacity: ForwardTunnel.largestRead))
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(LocalConnection(tunnel: tunnel))
                }
            }
        let channel: any Channel
        switch spec.local {
        case .port(let port):
            channel = try await bootstrap.childChannelOption(.tcpOption(.tcp_nodelay), value: 1).bind(host: "127.0.0.1", port: port).get()
        case .socket(let path):
            // Nobody else may use it.
            let former = umask(0o177)
            defer { umask(former) }
            channel = try await bootstrap.bind(unixDomainSocketPath: path).get()
        }
        listener.withLockedValue { $0 = channel }
    }

    private func heard(_ news: ForwardTunnel.News) {
        switch news {
        case .ready:
            guard let channel = listener.withLockedValue({ $0 }) else { return }
            isReady.withLockedValue { $0 = true }
            let place: String
            if case .socket(let path) = spec.local { place = path } else { place = "127.0.0.1:\(channel.localAddress?.port ?? 0)" }
            Printer.write("Forwarding \(place) to \(spec) of \(node)\n", to: STDOUT_FILENO)
            // From now on, connections are accepted.
            channel.setOption(.autoRead, value: true).whenComplete { _ in channel.read() }
        case .lost: say("The connection is lost; trying again")
        case .back: say("Connected again")
        case .dialFailed(let words):
            // An older agent does not say why.
            say(
                words.isEmpty
                    ? "\(node) could not connect to \(spec)." : "\(node) could not connect to \(spec). \(Table.terminalSafe(words))")
        case .stalled: say("A connection to \(spec) took nothing while others waited, and was closed.")
        case .refused(let words):
            failure.withLockedValue { $0 = words }
            session.channel.end()
        }
    }

    private func say(_ words: String) { Printer.write("muster: \(words)\n", to: STDERR_FILENO) }
}
