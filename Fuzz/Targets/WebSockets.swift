import NIOCore

@testable import MusterWire

extension FuzzTarget {
    /// What a session's two ends send, as WebSocket frames. The first byte says in pieces of what size it arrives, the second how much is
    /// allowed. In any cut it means the same, no message is larger than allowed, and nothing is kept that has not come.
    static let webSockets = FuzzTarget(name: "websockets") { bytes in
        var input = FuzzInput(bytes)
        let size = Int(input.byte())
        let limits = Limits(input.byte())
        let stream = input.all()
        let whole = try Reading(stream, pieces: stream.count, limits)
        for pieces in [size, 1] where pieces > 0 {
            try Finding.unless(try Reading(stream, pieces: pieces, limits) == whole, "in pieces of \(pieces) it means something else")
        }
        // Written as one frame each, the messages are the same again.
        let written = whole.messages.flatMap(Self.frame)
        let again = try Reading(written, pieces: written.count, Limits(maximumBytes: limits.maximumBytes, fragments: 1))
        try Finding.unless(again == Reading(messages: whole.messages), "messages are others after writing and reading")
    }

    private struct Limits {
        let maximumBytes: Int
        let fragments: Int

        init(_ byte: UInt8) {
            self.init(maximumBytes: [16, 125, 1 << 10, 1 << 16][Int(byte & 3)], fragments: [1, 2, 8][Int(byte >> 2) % 3])
        }

        init(maximumBytes: Int, fragments: Int) {
            (self.maximumBytes, self.fragments) = (maximumBytes, fragments)
        }
    }

    /// What a reader made of a stream.
    private struct Reading: Equatable {
        var messages: [WebSocketReader.Message] = []
        var violation: WebSocketReader.Violation?

        init(messages: [WebSocketReader.Message]) { self.messages = messages }

        init(_ stream: [UInt8], pieces: Int, _ limits: Limits) throws {
            var reader = WebSocketReader(maximumBytes: limits.maximumBytes, maximumFragments: limits.fragments, isMasked: true)
            var (rest, taken) = (stream[...], 0)
            while !rest.isEmpty, violation == nil {
                var piece = ByteBuffer(bytes: rest.prefix(pieces))
                rest = rest.dropFirst(pieces)
                taken += piece.readableBytes
                do throws(WebSocketReader.Violation) {
                    while let message = try reader.next(&piece) { messages.append(message) }
                } catch {
                    violation = error
                }
                try Finding.unless(violation != nil || piece.readableBytes == 0, "bytes are left that nobody will look at")
                // Twice, because buffers grow by doubling; eight times, because so much room is made ahead of what has been announced.
                let most = min(2 * (limits.maximumBytes + 125), 16 * taken) + 64
                try Finding.unless(reader.keptBytes <= most, "\(reader.keptBytes) bytes are kept of \(taken)")
            }
            for message in messages {
                switch message {
                case .text(let bytes), .binary(let bytes):
                    try Finding.unless(bytes.readableBytes <= limits.maximumBytes, "a message of \(bytes.readableBytes) bytes")
                case .ping(let bytes), .close(let bytes):
                    try Finding.unless(bytes.readableBytes <= 125, "a ping or close of \(bytes.readableBytes) bytes")
                case .pong: break
                }
            }
        }
    }

    private static func frame(_ message: WebSocketReader.Message) -> [UInt8] {
        switch message {
        case .text(let bytes): frame(1, bytes)
        case .binary(let bytes): frame(2, bytes)
        case .ping(let bytes): frame(9, bytes)
        case .pong: frame(10, ByteBuffer())
        case .close(let bytes): frame(8, bytes)
        }
    }

    private static func frame(_ opcode: UInt8, _ payload: ByteBuffer) -> [UInt8] {
        var frame = ByteBuffer()
        frame.writeInteger(0x80 | opcode)
        switch payload.readableBytes {
        case ..<126: frame.writeInteger(0x80 | UInt8(payload.readableBytes))
        case ..<65_536:
            frame.writeInteger(0x80 | 126 as UInt8)
            frame.writeInteger(UInt16(payload.readableBytes))
        default:
            frame.writeInteger(0x80 | 127 as UInt8)
            frame.writeInteger(UInt64(payload.readableBytes))
        }
        let key: UInt32 = 0x0102_A0F4
        frame.writeInteger(key)
        var payload = Array(payload.readableBytesView)
        payload.withUnsafeMutableBytes { WebSocketMask.apply(key, to: $0) }
        frame.writeBytes(payload)
        return Array(frame.readableBytesView)
    }
}
