import MusterCommandLine
import Testing

@Suite struct LineAssemblerTests {
    private func text(_ lines: [[UInt8]]) -> [String] { lines.map { String(decoding: $0, as: UTF8.self) } }

    @Test func linesComeWholeHoweverTheyAreCut() {
        let stream = Array("one\ntwo\n\nthree".utf8)
        for size in 1...stream.count {
            var assembler = LineAssembler()
            var lines: [[UInt8]] = []
            for start in stride(from: 0, to: stream.count, by: size) {
                lines += assembler.take(Array(stream[start..<min(stream.count, start + size)]))
            }
            #expect(text(lines) == ["one", "two", ""])
            #expect(assembler.end() == Array("three".utf8))
            #expect(assembler.end() == nil)
        }
    }

    @Test func aLineWithoutEndIsBounded() {
        var assembler = LineAssembler()
        let lines = assembler.take([UInt8](repeating: 0x78, count: 3 * LineAssembler.longestLine + 1))
        #expect(lines.count == 3)
        #expect(assembler.end() == [0x78])
    }
}
