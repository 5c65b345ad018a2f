import MusterWire
import NIOCore

/// An AgentMessage as one final, binary WebSocket frame of a client (RFC 6455 §5.2), in one buffer.
enum MaskedFrame {
    static func encode(_ message: AgentMessage, allocator: ByteBufferAllocator) -> ByteBuffer {
        let length = AgentMessage.payloadOffset + message.payload.readableBytes
        var buffer = allocator.buffer(capacity: length + 14)
        buffer.writeInteger(UInt8(0x82))
        switch length {
        case ..<126:
            buffer.writeInteger(UInt8(0x80) | UInt8(length))
        case ..<65_536:
            buffer.writeInteger(UInt8(0x80 | 126))
            buffer.writeInteger(UInt16(length))
        default:
            buffer.writeInteger(UInt8(0x80 | 127))
            buffer.writeInteger(UInt64(length))
        }
        let key = UInt32.random(in: .min ... .max)
        buffer.writeInteger(key)
        let header = buffer.readableBytes
        buffer.writeAgentMessage(message)
        buffer.withUnsafeMutableReadableBytes { bytes in
            WebSocketMask.apply(key, to: UnsafeMutableRawBufferPointer(rebasing: bytes[header...]))
        }
        return buffer
    }
}
