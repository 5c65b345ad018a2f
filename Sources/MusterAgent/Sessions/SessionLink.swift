import Logging
import MusterWire
import NIOCore
import NIOPosix

/// Frames between an agent and its session host, over a unix socket in the state directory: four bytes of length, then an AgentMessage.
///
///     agent ──▶ session_settings, interactive_shell, channel_closed, agent_task_acknowledge ──▶ session host
///     agent ◀── session_accepted, session_list, session_settled, agent_task_complete ◀───────── session host
final class SessionLink: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private static let largestFrame = AgentMessage.maximumLength
    private let received: @Sendable (AgentMessage) -> Void
    private let ended: @Sendable () -> Void
    private var buffer = ByteBuffer()

    init(received: @escaping @Sendable (AgentMessage) -> Void, ended: @escaping @Sendable () -> Void) {
        self.received = received
        self.ended = ended
    }

    /// Takes the connected socket over, also when it fails.
    static func open(
        _ socket: Int32, on loop: any EventLoop, received: @escaping @Sendable (AgentMessage) -> Void,
        ended: @escaping @Sendable () -> Void
    ) -> EventLoopFuture<any Channel> {
        ClientBootstrap(group: loop).channelInitializer { channel in
            channel.eventLoop.makeCompletedFuture {
                try channel.pipeline.syncOperations.addHandler(SessionLink(received: received, ended: ended))
            }
        }.withConnectedSocket(socket)
    }

    static func send(_ message: AgentMessage, on channel: any Channel) {
        var bytes = channel.allocator.buffer(capacity: AgentMessage.payloadOffset + message.payload.readableBytes + 4)
        bytes.writeInteger(UInt32(AgentMessage.payloadOffset + message.payload.readableBytes))
        bytes.writeAgentMessage(message)
        channel.writeAndFlush(bytes, promise: nil)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var piece = Self.unwrapInboundIn(data)
        buffer.writeBuffer(&piece)
        while let length = buffer.getInteger(at: buffer.readerIndex, as: UInt32.self) {
            guard length <= Self.largestFrame else { return context.close(promise: nil) }
            guard buffer.readableBytes >= 4 + Int(length) else { break }
            buffer.moveReaderIndex(forwardBy: 4)
            guard var frame = buffer.readSlice(length: Int(length)), let message = try? frame.readAgentMessage() else {
                return context.close(promise: nil)
            }
            received(message)
        }
        if buffer.readableBytes == 0 { buffer = ByteBuffer() } else { buffer.discardReadBytes() }
    }

    func channelInactive(context: ChannelHandlerContext) {
        ended()
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        context.close(promise: nil)
    }
}

extension MessageType {
    /// Between agent and session host only.
    static let sessionSettings = MessageType(rawValue: "session_settings")
    static let sessionAccepted = MessageType(rawValue: "session_accepted")
    static let sessionList = MessageType(rawValue: "session_list")
    static let sessionSettled = MessageType(rawValue: "session_settled")
}

/// Which sessions are meant.
struct SessionNames: Codable, Sendable, Equatable {
    var sessions: [SessionID]
}
