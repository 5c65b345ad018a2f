import MusterWire
import NIOCore
import Testing

@Suite struct WebSocketReaderTests {
    private func frame(
        _ opcode: UInt8, _ payload: [UInt8], isFinal: Bool = true, key: UInt32? = 0x0102_A0F4
    ) -> [UInt8] {
        var bytes = ByteBuffer()
        bytes.writeInteger((isFinal ? 0x80 : 0) | opcode)
        let mask: UInt8 = key == nil ? 0 : 0x80
        switch payload.count {
        case ..<126: bytes.writeInteger(mask | UInt8(payload.count))
        case ..<65_536:
            bytes.writeInteger(mask | 126)
            bytes.writeInteger(UInt16(payload.count))
        default:
            bytes.writeInteger(mask | 127)
            bytes.writeInteger(UInt64(payload.count))
        }
        if let key { bytes.writeInteger(key) }
        var payload = payload
        if let key { payload.withUnsafeMutableBytes { WebSocketMask.apply(key, to: $0) } }
        bytes.writeBytes(payload)
        return Array(buffer: bytes)
    }

    private func read(
        _ bytes: [UInt8], pieces: Int = .max, maximumBytes: Int = 1 << 20, fragments: Int = 8, isMasked: Bool = true
    ) throws -> [WebSocketReader.Message] {
        var reader = WebSocketReader(maximumBytes: maximumBytes, maximumFragments: fragments, isMasked: isMasked)
        var messages: [WebSocketReader.Message] = []
        var rest = bytes[...]
        while !rest.isEmpty {
            var piece = ByteBuffer(bytes: rest.prefix(pieces))
            while let message = try reader.next(&piece) { messages.append(message) }
            #expect(piece.readableBytes == 0)
            rest = rest.dropFirst(pieces)
        }
        return messages
    }

    private func bytes(_ count: Int) -> [UInt8] { (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 7) } }

    @Test(arguments: [1, 2, 3, 5, 7, 13, 64, 1_000, .max]) func inAnyCut(pieces: Int) throws {
        // Byte by byte, the long ones take long without an optimiser.
        let sizes = [0, 1, 3, 125, 126, 300] + (pieces < 64 ? [65_536] : [65_535, 65_536, 70_001])
        let stream = sizes.flatMap { frame(2, bytes($0)) + frame(9, bytes($0 % 126)) } + frame(1, Array("é".utf8)) + frame(8, [3, 232])
        let expected = sizes.flatMap { size -> [WebSocketReader.Message] in
            [.binary(ByteBuffer(bytes: bytes(size))), .ping(ByteBuffer(bytes: bytes(size % 126)))]
        }
        #expect(try read(stream, pieces: pieces) == expected + [.text(ByteBuffer(string: "é")), .close(ByteBuffer(bytes: [3, 232]))])
    }

    @Test(arguments: [1, 4, .max]) func fragmentsWithAPingBetween(pieces: Int) throws {
        let stream =
            frame(2, [1, 2, 3], isFinal: false, key: 0x1122_3344) + frame(9, [9]) + frame(0, [], isFinal: false) + frame(0, [4, 5])
            + frame(10, []) + frame(2, [6])
        #expect(
            try read(stream, pieces: pieces) == [
                .ping(ByteBuffer(bytes: [9])), .binary(ByteBuffer(bytes: [1, 2, 3, 4, 5])), .pong, .binary(ByteBuffer(bytes: [6])),
            ])
    }

    private static let violations: [([UInt8], String)] = [
        ([0xC2, 0x80], "reserved bits"),
        ([0x82, 0x01], "a frame without a mask"),
        ([0x80, 0x80, 0, 0, 0, 0], "a continuation without a message"),
        ([0x83, 0x80, 0, 0, 0, 0], "a frame of an unknown kind"),
        ([0x09, 0x80, 0, 0, 0, 0], "a long control frame"),
        ([0x88, 0xFE, 0, 126, 0, 0, 0, 0], "a long control frame"),
        ([0x02, 0x80, 0, 0, 0, 0, 0x82, 0x80, 0, 0, 0, 0], "a new message inside another"),
    ]

    @Test(arguments: violations) func whatNoClientSends(stream: [UInt8], reason: String) {
        for pieces in [1, .max] {
            #expect(throws: WebSocketReader.Violation.protocolError(reason)) { try read(stream, pieces: pieces) }
        }
    }

    @Test(arguments: [1, 7, 1_000, .max]) func aServersFramesHaveNoMask(pieces: Int) throws {
        let sizes = [0, 1, 125, 126, 300] + (pieces < 64 ? [] : [65_535, 65_536, 70_001])
        let stream = sizes.flatMap { frame(2, bytes($0), key: nil) } + frame(8, [3, 232, 0x6F, 0x6B], key: nil)
        let expected = sizes.map { WebSocketReader.Message.binary(ByteBuffer(bytes: bytes($0))) }
        #expect(try read(stream, pieces: pieces, isMasked: false) == expected + [.close(ByteBuffer(bytes: [3, 232, 0x6F, 0x6B]))])
        #expect(throws: WebSocketReader.Violation.protocolError("a frame with a mask")) {
            try read(frame(2, [1]), pieces: pieces, isMasked: false)
        }
    }

    @Test func lengthsAreLimitedBeforeTheirBytesCome() {
        #expect(throws: WebSocketReader.Violation.tooLong) { try read([0x82, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF]) }
        #expect(throws: WebSocketReader.Violation.tooLong) { try read(Array(frame(2, bytes(5)).prefix(6)), maximumBytes: 4) }
        let parts = frame(2, bytes(3), isFinal: false) + frame(0, bytes(2)).prefix(6)
        #expect(throws: WebSocketReader.Violation.tooLong) { try read(parts, maximumBytes: 4) }
        let many = frame(2, [], isFinal: false) + Array(repeating: frame(0, [], isFinal: false), count: 9).flatMap { $0 }
        #expect(throws: WebSocketReader.Violation.tooLong) { try read(many) }
    }

    @Test func cutOffAnywhereItWaits() throws {
        let stream = frame(2, bytes(200))
        for length in 0..<stream.count { #expect(try read(Array(stream.prefix(length))).isEmpty) }
    }
}
