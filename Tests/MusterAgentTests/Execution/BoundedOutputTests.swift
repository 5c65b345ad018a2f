import MusterAgent
import Testing

@Suite struct BoundedOutputTests {
    private func bounded(_ out: String, _ err: String = "") -> BoundedOutput {
        BoundedOutput(standardOutput: BoundedOutput.Head(out), standardError: BoundedOutput.Head(err))
    }

    @Test func shortTextsAreWhole() {
        #expect(bounded("hi\n").output == "hi\n")
        #expect(bounded("hi\n", "no\n").output == "hi\n\n----------ERROR-------\nno\n")
        #expect(bounded("", "no").output == "\n----------ERROR-------\nno")
        #expect(bounded("").output == "")
    }

    @Test(arguments: ["x", "é", "日", "😀", "\r\n", "👩‍👩‍👧", "\u{1}", "\0", "e\u{301}"])
    func aCutTextHasExactly2500Scalars(_ piece: String) {
        let long = String(repeating: piece, count: 1_000_000 / piece.utf8.count)
        let head = BoundedOutput.Head(bytes: Array(long.utf8.prefix(BoundedOutput.Head.bytesNeeded)), hasMore: true)
        for error in [BoundedOutput.Head(), BoundedOutput.Head("short"), head] {
            let shown = BoundedOutput(standardOutput: head, standardError: error)
            #expect(shown.output.unicodeScalars.count == 2500)
            #expect(shown.standardOutput.unicodeScalars.count == 24_000)
            #expect(!shown.output.unicodeScalars.contains("\u{FFFD}"))
        }
        #expect(BoundedOutput(standardOutput: BoundedOutput.Head("short"), standardError: head).output.unicodeScalars.count == 2500)
    }

    @Test func theRoomFilledExactlyIsCut() {
        #expect(bounded(String(repeating: "x", count: 2499)).output.unicodeScalars.count == 2499)
        #expect(bounded(String(repeating: "x", count: 2500)).output.hasSuffix("\n---Output truncated---"))
        #expect(bounded(String(repeating: "x", count: 2500)).output.unicodeScalars.count == 2500)
        // 2,476 is what the title leaves.
        #expect(bounded(String(repeating: "x", count: 2000), String(repeating: "y", count: 475)).output.unicodeScalars.count == 2499)
        let exact = bounded(String(repeating: "x", count: 2000), String(repeating: "y", count: 476)).output
        #expect(exact.unicodeScalars.count == 2500)
        #expect(exact.contains("---Output truncated---"))
        #expect(!exact.contains("---Error truncated----"))
    }

    @Test func bothLongShareTheRoom() {
        let shown = bounded(String(repeating: "x", count: 5000), String(repeating: "y", count: 5000)).output
        let expected =
            String(repeating: "x", count: 1215) + "\n---Output truncated---\n----------ERROR-------\n" + String(repeating: "y", count: 1215)
            + "\n---Error truncated----"
        #expect(shown == expected)
    }

    @Test func streamsAreCutAt24000() {
        #expect(bounded(String(repeating: "x", count: 23_999)).standardOutput.unicodeScalars.count == 23_999)
        let cut = bounded(String(repeating: "x", count: 24_000)).standardOutput
        #expect(cut.unicodeScalars.count == 24_000)
        #expect(cut.hasSuffix("x--output truncated--"))
    }

    @Test func theReasonOutlivesALongOutput() {
        for length in [23_990, 24_000, 90_000] {
            var head = BoundedOutput.Head(String(repeating: "x", count: length))
            head.append("\nOutcome unknown: the host rebooted.")
            let shown = BoundedOutput(standardOutput: BoundedOutput.Head(), standardError: head).standardError
            #expect(shown.unicodeScalars.count == 24_000)
            #expect(shown.hasSuffix("x--output truncated--\nOutcome unknown: the host rebooted."))
        }
    }

    @Test func invalidBytesAreReplaced() {
        let head = BoundedOutput.Head(bytes: [0x61, 0xFF, 0xC3, 0x62], hasMore: false)
        #expect(BoundedOutput(standardOutput: head, standardError: BoundedOutput.Head()).output == "a\u{FFFD}\u{FFFD}b")
        let many = BoundedOutput.Head(bytes: [UInt8](repeating: 0xFF, count: BoundedOutput.Head.bytesNeeded), hasMore: true)
        #expect(BoundedOutput(standardOutput: many, standardError: BoundedOutput.Head()).output.unicodeScalars.count == 2500)
    }

    @Test func aHeadIsReadFromAFileWithoutTheRest() throws {
        let temporary = try TemporaryFolder()
        let folder = try Folder.open(temporary.path)
        try folder.createFile("stdout", containing: [UInt8](repeating: 0x61, count: 1 << 20))
        let head = try BoundedOutput.head(of: "stdout", in: folder)
        #expect(head.hasMore)
        #expect(head.scalars.count == 24_000)
        #expect(try BoundedOutput.head(of: "stderr", in: folder) == BoundedOutput.Head())
    }
}
