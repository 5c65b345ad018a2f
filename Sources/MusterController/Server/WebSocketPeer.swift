package import NIOCore

/// The way to the other end of an upgraded connection: whole messages. Those from there come to a `MessageReceiver`.
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

    package let remoteAddress: String
    private let transport: any WebSocketTransport

    package init(transport: any WebSocketTransport, remoteAddress: String) {
        self.transport = transport
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

    /// Sends the close frame and ends the connection; nothing is received after that. Safe to call twice.
    package func close(_ code: CloseCode, reason: String = "") async { await transport.close(code, reason: reason) }
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
