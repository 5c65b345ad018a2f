import MusterCrypto
import MusterWire
import NIOConcurrencyHelpers
import NIOCore

@testable import MusterController

/// The agent's end of a control channel, in memory.
final class FakePeer: Sendable {
    struct Closed: Error {}

    let peer: WebSocketPeer
    let task = NIOLockedValueBox<Task<Void, Never>?>(nil)
    let certificate: Certificate?
    let messages: AsyncStream<WebSocketPeer.Message>
    private let transport: Transport
    private let inbound: AsyncStream<WebSocketPeer.Message>.Continuation

    init(certificate: Certificate?, takesMessages: Bool = true) {
        let (stream, continuation) = AsyncStream.makeStream(of: WebSocketPeer.Message.self)
        inbound = continuation
        transport = Transport(inbound: continuation, takesMessages: takesMessages)
        messages = stream
        self.certificate = certificate
        peer = WebSocketPeer(transport: transport, remoteAddress: "192.0.2.9")
    }

    func say(_ message: WebSocketPeer.Message) {
        inbound.yield(message)
    }

    func say(_ type: MessageType, _ payload: some Encodable, at time: Timestamp) throws {
        var bytes = ByteBuffer()
        bytes.writeAgentMessage(try AgentMessage(type, createdDate: time, payload: payload))
        inbound.yield(.binary(bytes))
    }

    func leave() {
        inbound.finish()
    }

    /// The next frame the controller sends.
    func heard() async throws -> AgentMessage {
        for await message in transport.sent {
            guard case .binary(var bytes) = message else { continue }
            return try bytes.readAgentMessage()
        }
        throw Closed()
    }

    var pings: Int { transport.state.withLockedValue { $0.pings } }
    var closeReason: String? { transport.state.withLockedValue { $0.closed?.reason } }
    var closeCode: WebSocketPeer.CloseCode? { transport.state.withLockedValue { $0.closed?.code } }

    /// Waits until the controller's side of the connection has ended.
    func ended() async {
        await task.withLockedValue { $0 }?.value
    }

    final class Transport: WebSocketTransport {
        struct State {
            var pings = 0
            var closed: (code: WebSocketPeer.CloseCode, reason: String)?
        }

        let state = NIOLockedValueBox(State())
        let sent: AsyncStream<WebSocketPeer.Message>
        private let sentContinuation: AsyncStream<WebSocketPeer.Message>.Continuation
        private let inbound: AsyncStream<WebSocketPeer.Message>.Continuation
        /// Ends when the connection is closed; an agent that takes nothing lets senders wait for it.
        private let stuck: AsyncStream<Void>?
        private let stuckContinuation: AsyncStream<Void>.Continuation?

        init(inbound: AsyncStream<WebSocketPeer.Message>.Continuation, takesMessages: Bool) {
            self.inbound = inbound
            (sent, sentContinuation) = AsyncStream.makeStream()
            if takesMessages {
                (stuck, stuckContinuation) = (nil, nil)
            } else {
                let (stream, continuation) = AsyncStream.makeStream(of: Void.self)
                (stuck, stuckContinuation) = (stream, continuation)
            }
        }

        func send(_ message: WebSocketPeer.Message) async throws {
            if let stuck { for await _ in stuck {} }
            guard state.withLockedValue({ $0.closed == nil }) else { throw Closed() }
            sentContinuation.yield(message)
        }

        func post(_ bytes: ByteBuffer, written: @escaping @Sendable () -> Void) {
            if stuck != nil { return }
            if state.withLockedValue({ $0.closed == nil }) { sentContinuation.yield(.binary(bytes)) }
            written()
        }

        func ping() async throws {
            state.withLockedValue { $0.pings += 1 }
        }

        func close(_ code: WebSocketPeer.CloseCode, reason: String) async {
            state.withLockedValue { state in
                if state.closed == nil { state.closed = (code, reason) }
            }
            inbound.finish()
            sentContinuation.finish()
            stuckContinuation?.finish()
        }
    }
}
