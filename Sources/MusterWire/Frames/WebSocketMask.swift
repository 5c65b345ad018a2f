package import NIOCore

/// What a WebSocket's client does to the bytes of its frames, and the server undoes: exclusive or with four bytes. RFC 6455 §5.3.
///
/// NIO's own goes byte by byte behind a subscript, which at the speed of a tunnel costs more than the encryption; this one goes by
/// sixty-four bytes at a time, also where the compiler minds size more than speed.
package enum WebSocketMask {
    /// `key` is in the order of the wire: its highest byte masks the first byte.
    package static func apply(_ key: UInt32, to bytes: UnsafeMutableRawBufferPointer) {
        apply(key, from: UnsafeRawBufferPointer(bytes), to: bytes)
    }

    /// `target` has room for all of `source`, and may be the same memory.
    package static func apply(_ key: UInt32, from source: UnsafeRawBufferPointer, to target: UnsafeMutableRawBufferPointer) {
        let big = key.bigEndian
        let wide = UInt64(big) | UInt64(big) << 32
        let widest = SIMD8<UInt64>(repeating: wide)
        var offset = 0
        while offset < source.count & ~63 {
            let masked = source.loadUnaligned(fromByteOffset: offset, as: SIMD8<UInt64>.self) ^ widest
            target.storeBytes(of: masked, toByteOffset: offset, as: SIMD8<UInt64>.self)
            offset += 64
        }
        while offset < source.count & ~7 {
            let masked = source.loadUnaligned(fromByteOffset: offset, as: UInt64.self) ^ wide
            target.storeBytes(of: masked, toByteOffset: offset, as: UInt64.self)
            offset += 8
        }
        while offset < source.count {
            target[offset] = source[offset] ^ UInt8(truncatingIfNeeded: key >> (24 - 8 * UInt32(offset & 3)))
            offset += 1
        }
    }
}

extension ByteBuffer {
    /// The readable bytes with their mask, or without it, in a buffer of their own.
    package func applyingWebSocketMask(_ key: UInt32) -> ByteBuffer {
        var result = ByteBufferAllocator().buffer(capacity: readableBytes)
        result.writeWithUnsafeMutableBytes(minimumWritableBytes: readableBytes) { target in
            withUnsafeReadableBytes { WebSocketMask.apply(key, from: $0, to: target) }
            return readableBytes
        }
        return result
    }
}
