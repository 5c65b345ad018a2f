import NIOCore
import Testing

@testable import MusterAgent

@Suite struct UTF8CutterTests {
    @Test func noPieceTearsACharacter() throws {
        let text = "aä漢🙂z" + String(repeating: "漢字🙂", count: 50)
        for size in 1...9 {
            var cutter = UTF8Cutter()
            var whole = ByteBuffer()
            var rest = ByteBuffer(string: text)
            while let piece = rest.readSlice(length: min(size, rest.readableBytes)), piece.readableBytes > 0 {
                var out = cutter.push(piece)
                #expect(String(validating: out.readableBytesView, as: UTF8.self) != nil)
                whole.writeBuffer(&out)
            }
            var last = cutter.finish()
            whole.writeBuffer(&last)
            #expect(String(buffer: whole) == text)
        }
    }

    @Test func whatIsNotUTF8GoesThroughUnchanged() {
        for bytes: [UInt8] in [[0xFF], [0x80, 0x80, 0x80, 0x80], [0xC3, 0x28], [0xF8, 0x88], [0xE2, 0x82, 0x41]] {
            var cutter = UTF8Cutter()
            var out = cutter.push(ByteBuffer(bytes: bytes))
            var last = cutter.finish()
            out.writeBuffer(&last)
            #expect(Array(out.readableBytesView) == bytes)
        }
    }

    @Test func framesEndWithCharacters() {
        let bytes = ByteBuffer(string: "ab🙂")
        #expect(UTF8Cutter.prefix(of: bytes, limit: 4) == 2)
        #expect(UTF8Cutter.prefix(of: bytes, limit: 6) == 6)
        #expect(UTF8Cutter.prefix(of: ByteBuffer(string: "🙂"), limit: 2) == 2)
        #expect(UTF8Cutter.prefix(of: ByteBuffer(bytes: [0x80, 0x80, 0x80, 0x80, 0x80]), limit: 4) == 4)
    }
}
