import NIOCore

/// Plaintext that waits for its flush, and comes out in pieces that fill records: a frame's header and payload, written one
/// after the other, share a record as far as they fit.
struct PendingWrites {
    struct Piece {
        var bytes: ByteBuffer
        /// Of the writes that end in this piece.
        var promises: [EventLoopPromise<Void>] = []
    }

    /// A few records: what OpenSSL encrypts at once, so that a large buffer never has its whole ciphertext beside it.
    private static let pieceBytes = 4 * TLSConnection.recordBytes

    /// Most connections never have more than one.
    private var writes = CircularBuffer<(bytes: ByteBuffer, promise: EventLoopPromise<Void>?)>(initialCapacity: 1)
    private var flushed = 0
    private(set) var bytes = 0

    var hasFlushed: Bool { flushed > 0 }

    mutating func append(_ buffer: ByteBuffer, _ promise: EventLoopPromise<Void>?) {
        writes.append((buffer, promise))
        bytes += buffer.readableBytes
    }

    mutating func markFlush() {
        flushed = writes.count
    }

    /// The next piece of what was flushed: whole records out of a large buffer, without a copy, or small buffers put together.
    mutating func next() -> Piece? {
        guard flushed > 0 else { return nil }
        if writes[writes.startIndex].bytes.readableBytes >= TLSConnection.recordBytes || flushed == 1 { return takeFromFirst() }
        var piece = Piece(bytes: ByteBuffer())
        piece.bytes.reserveCapacity(min(bytes, TLSConnection.recordBytes))
        while flushed > 0, piece.bytes.readableBytes < TLSConnection.recordBytes {
            let room = TLSConnection.recordBytes - piece.bytes.readableBytes
            let index = writes.startIndex
            if var part = writes[index].bytes.readSlice(length: min(room, writes[index].bytes.readableBytes)) {
                bytes -= part.readableBytes
                piece.bytes.writeBuffer(&part)
            }
            finishFirstIfEmpty(&piece)
        }
        return piece
    }

    private mutating func takeFromFirst() -> Piece {
        let index = writes.startIndex
        let available = writes[index].bytes.readableBytes
        // What does not fill a record waits for the next buffer to share one with, if there is any.
        let whole = flushed == 1 ? available : available - available % TLSConnection.recordBytes
        let length = min(whole, Self.pieceBytes)
        var piece = Piece(bytes: writes[index].bytes.readSlice(length: length) ?? ByteBuffer())
        bytes -= length
        finishFirstIfEmpty(&piece)
        return piece
    }

    private mutating func finishFirstIfEmpty(_ piece: inout Piece) {
        guard writes[writes.startIndex].bytes.readableBytes == 0 else { return }
        let (_, promise) = writes.removeFirst()
        flushed -= 1
        if let promise { piece.promises.append(promise) }
    }

    mutating func fail(_ error: any Error) {
        let failed = writes
        writes = CircularBuffer(initialCapacity: 1)
        flushed = 0
        bytes = 0
        for (_, promise) in failed { promise?.fail(error) }
    }
}
