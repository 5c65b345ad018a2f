import Testing

@testable import MusterCommandLine

@Suite struct EndOfInputTests {
    @Test func itIsSaidUntilItIsHeard() {
        var end = EndOfInput(endsLine: true)
        let said = (0..<20).map { _ in end.next() }
        #expect(said.allSatisfy { $0.bytes == [0x04] })
        #expect(zip(said, said.dropFirst()).allSatisfy { $0.pause <= $1.pause })
        #expect(said.last?.pause == 25_600)
    }

    /// A program that reads lines gets the piece as it is; a shell that edits its line gets its end.
    @Test func aLineThatWasBegunIsEnded() {
        var end = EndOfInput(endsLine: false)
        #expect(end.next().bytes == [0x04, 0x04])
        #expect(end.next().bytes == [0x0D, 0x04])
        #expect(end.next().bytes == [0x04])
    }
}
