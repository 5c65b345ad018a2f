internal import NIOCore

/// Buffers for what a connection receives, none of which outlives its bytes. [value]
///
/// NIO's pool keeps the buffers of each connection for its next read, which for an idle one may be minutes away, and there are
/// thousands. It keeps at least the first, so that is a small one; for later ones the pool has no room, and is told never to use
/// the first again.
struct ReceiveAllocator: RecvByteBufferAllocator {
    private static let firstBytes = 64

    private var sizes: AdaptiveRecvByteBufferAllocator
    private var hasRead = false

    /// - Parameter most: what is read at once from one that pours. Bytes.
    init(most: Int = 65_536) {
        sizes = AdaptiveRecvByteBufferAllocator(minimum: 512, initial: 2_048, maximum: most)
    }

    static func use(on channel: any Channel, most: Int = 65_536) throws {
        let options = channel.syncOptions
        try options?.setOption(.recvAllocator, value: ReceiveAllocator(most: most))
        // The pool's room; a buffer that was filled is followed by another turn of the event loop.
        try options?.setOption(.maxMessagesPerRead, value: 1)
    }

    func buffer(allocator: ByteBufferAllocator) -> ByteBuffer {
        hasRead ? sizes.buffer(allocator: allocator) : allocator.buffer(capacity: Self.firstBytes)
    }

    /// - Returns: whether the next buffer may be larger, and so has to be a new one.
    mutating func record(actualReadBytes: Int) -> Bool {
        if hasRead { _ = sizes.record(actualReadBytes: actualReadBytes) }
        hasRead = true
        return true
    }
}
