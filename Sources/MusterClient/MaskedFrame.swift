import MusterWire
import NIOCore

/// An AgentMessage as one final, binary WebSocket frame of a client (RFC 6455 §5.2), in one buffer.
///
/// NIO's encoder masks byte by byte behind a subscript, which at the speed of a tunnel costs more than the encryption; this one
/// masks eight bytes at a time.
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
            mask(UnsafeMutableRawBufferPointer(rebasing: bytes[header...]), with: key)
        }
        return buffer
    }

    /// `key` is in the order of the wire: its highest byte masks the first byte.
    static func mask(_ bytes: UnsafeMutableRawBufferPointer, with key: UInt32) {
        let big = key.bigEndian
        let wide = UInt64(big) | UInt64(big) << 32
        let whole = bytes.count & ~7
        var offset = 0
        while offset < whole {
            let masked = bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self) ^ wide
            bytes.storeBytes(of: masked, toByteOffset: offset, as: UInt64.self)
            offset += 8
        }
        while offset < bytes.count {
            bytes[offset] ^= UInt8(truncatingIfNeeded: key >> (24 - 8 * UInt32(offset & 3)))
            offset += 1
        }
    }
}
