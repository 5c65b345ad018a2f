package import MusterCrypto
package import NIOCore

/// One end of an upgraded connection, as the services see it: whole messages in, whole messages out.
///
/// The pipeline below answers pings, joins fragments, enforces the size limit and closes what is idle.
package struct WebSocketPeer: Sendable {
    package enum Message: Sendable, Equatable {
        case text(String)
        case binary(ByteBuffer)
    }

    /// RFC 6455 section 7.4.1.
    package enum CloseCode: UInt16, Sendable {
        case normal = 1000
        case goingAway = 1001
        case protocolError = 1002
        case policyViolation = 1008
        case messageTooBig = 1009
    }

    /// Ends when the connection has ended, for whatever reason. Read by one task only.
    package let inbound: Inbound
    /// The client's certificate, verified against the controller's CA. The caller checks that it still counts.
    package let peerCertificate: Certificate?
    package let remoteAddress: String
    private let transport: any WebSocketTransport

    package init(transport: any WebSocketTransport, inbound: Inbound, peerCertificate: Certificate?, remoteAddress: String) {
        self.transport = transport
        self.inbound = inbound
        self.peerCertificate = peerCertificate
        self.remoteAddress = remoteAddress
    }

    /// Returns when the bytes have been handed to the operating system, so that a sender cannot outrun a slow peer.
    package func send(binary: ByteBuffer) async throws { try await transport.send(.binary(binary)) }
    package func send(text: String) async throws { try await transport.send(.text(text)) }
    package func ping() async throws { try await transport.ping() }

    /// Whether the peer got a WebSocket through; who did not cannot open the legs of sessions either.
    package var isWebSocket: Bool { transport.isWebSocket }

    /// The node has been let in.
    package func admitted() async { await transport.admitted() }

    /// Hands the bytes over and does not wait: `written` is called when the operating system has them, or never will.
    package func post(binary: ByteBuffer, written: @escaping @Sendable () -> Void) { transport.post(binary, written: written) }

    /// Sends the close frame and ends the connection; `inbound` then ends. Safe to call twice.
    package func close(_ code: CloseCode, reason: String = "") async { await transport.close(code, reason: reason) }

    package struct Inbound: AsyncSequence, Sendable {
        package typealias Element = Message
        package typealias Failure = Never
        private let stream: AsyncStream<Message>
        private let didConsume: @Sendable (Message) -> Void

        /// `didConsume` tells the pipeline that there is room for more.
        package init(_ stream: AsyncStream<Message>, didConsume: @escaping @Sendable (Message) -> Void = { _ in }) {
            self.stream = stream
            self.didConsume = didConsume
        }

        package func makeAsyncIterator() -> Iterator {
            Iterator(base: stream.makeAsyncIterator(), didConsume: didConsume)
        }

        package struct Iterator: AsyncIteratorProtocol {
            var base: AsyncStream<Message>.Iterator
            let didConsume: @Sendable (Message) -> Void

            package mutating func next() async -> Message? {
                guard let message = await base.next() else { return nil }
                didConsume(message)
                return message
            }

            package mutating func next(isolation actor: isolated (any Actor)?) async -> Message? {
                guard let message = await base.next(isolation: actor) else { return nil }
                didConsume(message)
                return message
            }
        }
    }
}

/// What a `WebSocketPeer` stands on: the NIO pipeline, the calls of a polling node, or a pair of queues in tests.
package protocol WebSocketTransport: Sendable {
    var isWebSocket: Bool { get }
    func admitted() async
    func send(_ message: WebSocketPeer.Message) async throws
    func post(_ bytes: ByteBuffer, written: @escaping @Sendable () -> Void)
    func ping() async throws
    func close(_ code: WebSocketPeer.CloseCode, reason: String) async
}

extension WebSocketTransport {
    package var isWebSocket: Bool { true }
    /// A WebSocket needs no word of it: there is no answer that waits for it.
    package func admitted() async {}
}
