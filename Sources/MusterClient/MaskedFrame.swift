import MusterWire
import NIOCore

/// The final WebSocket frame of a client (RFC 6455 §5.2) around a payload, in one buffer.
enum MaskedFrame {
    static func encode(_ kind: WebSocketFrameKind, _ payload: ByteBuffer, allocator: ByteBufferAllocator) -> ByteBuffer {
        let key = UInt32.random(in: .min ... .max)
        var frame = allocator.buffer(capacity: ByteBuffer.longestWebSocketHeader + payload.readableBytes)
        frame.writeWebSocketHeader(kind, length: payload.readableBytes, key: key)
        frame.writeMasked(payload, key)
        return frame
    }

    static func encode(_ message: AgentMessage, allocator: ByteBufferAllocator) -> ByteBuffer {
        let key = UInt32.random(in: .min ... .max)
        let length = AgentMessage.payloadOffset + message.payload.readableBytes
        var frame = allocator.buffer(capacity: ByteBuffer.longestWebSocketHeader + length)
        frame.writeWebSocketHeader(.binary, length: length, key: key)
        let header = frame.readableBytes
        frame.writeAgentMessageHeader(message)
        frame.withUnsafeMutableReadableBytes { bytes in
            WebSocketMask.apply(key, to: UnsafeMutableRawBufferPointer(rebasing: bytes[header...]))
        }
        // Its turn of the key is the first one: the message's header is a multiple of four bytes.
        frame.writeMasked(message.payload, key)
        return frame
    }
}

extension ByteBuffer {
    /// Masked on its way, so that the bytes are touched once.
    fileprivate mutating func writeMasked(_ payload: ByteBuffer, _ key: UInt32) {
        writeWithUnsafeMutableBytes(minimumWritableBytes: payload.readableBytes) { space in
            payload.withUnsafeReadableBytes { WebSocketMask.apply(key, from: $0, to: space) }
            return payload.readableBytes
        }
    }
}
