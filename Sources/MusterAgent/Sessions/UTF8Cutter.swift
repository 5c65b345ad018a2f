package import NIOCore

/// Cuts a stream of bytes where no character of UTF-8 is torn: up to three bytes of an unfinished one are held for the next piece.
/// What is not UTF-8 goes through unchanged. Stock clients print each frame by itself. Pure.
package struct UTF8Cutter: Sendable {
    private var held: [UInt8] = []

    package init() {}

    /// What may go out now, held bytes first.
    package mutating func push(_ bytes: ByteBuffer) -> ByteBuffer {
        var whole = bytes
        if !held.isEmpty {
            whole = ByteBuffer()
            whole.reserveCapacity(held.count + bytes.readableBytes)
            whole.writeBytes(held)
            whole.writeImmutableBuffer(bytes)
            held = []
        }
        let torn = whole.withUnsafeReadableBytes { Self.tornBytes(at: UnsafeRawBufferPointer($0)) }
        guard torn > 0 else { return whole }
        let kept = whole.readableBytes - torn
        held = whole.getBytes(at: whole.readerIndex + kept, length: torn) ?? []
        return whole.readSlice(length: kept) ?? ByteBuffer()
    }

    /// What is held when nothing more will come.
    package mutating func finish() -> ByteBuffer {
        defer { held = [] }
        return ByteBuffer(bytes: held)
    }

    /// The largest part of `limit` bytes that ends with a character, for cutting a long piece into frames. At least one byte.
    package static func prefix(of bytes: ByteBuffer, limit: Int) -> Int {
        guard bytes.readableBytes > limit else { return bytes.readableBytes }
        let torn = bytes.withUnsafeReadableBytes { tornBytes(at: UnsafeRawBufferPointer(rebasing: $0.prefix(limit))) }
        return torn < limit ? limit - torn : limit
    }

    /// How many bytes at the end begin a character and do not finish it (RFC 3629).
    private static func tornBytes(at bytes: UnsafeRawBufferPointer) -> Int {
        for back in 1...3 where back <= bytes.count {
            let byte = bytes[bytes.count - back]
            if byte & 0xC0 == 0x80 { continue }
            let length = byte >= 0xF0 && byte < 0xF8 ? 4 : byte >= 0xE0 ? 3 : byte >= 0xC0 ? 2 : 1
            return byte < 0xF8 && length > back ? back : 0
        }
        return 0
    }
}
