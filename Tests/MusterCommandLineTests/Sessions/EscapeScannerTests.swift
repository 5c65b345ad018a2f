import MusterCommandLine
import Testing

@Suite struct EscapeScannerTests {
    private func run(_ text: String) -> [EscapeScanner.Event] {
        var scanner = EscapeScanner()
        return scanner.push(Array(text.utf8))
    }

    @Test func typingGoesThrough() {
        #expect(run("ls -l ~/x\r") == [.bytes(Array("ls -l ~/x\r".utf8))])
        #expect(run("") == [])
    }

    @Test func escapesCountAfterANewlineOnly() {
        #expect(run("~.") == [.end])
        #expect(run("a~.") == [.bytes(Array("a~.".utf8))])
        #expect(run("a\r~.gone") == [.bytes(Array("a\r".utf8)), .end])
        #expect(run("\n~?x") == [.bytes([0x0A]), .help, .bytes([UInt8(ascii: "x")])])
        #expect(run("~\u{1A}") == [.suspend])
    }

    @Test func twoAreOneAndOthersStay() {
        #expect(run("~~.") == [.bytes(Array("~.".utf8))])
        #expect(run("~x\r") == [.bytes(Array("~x\r".utf8))])
        #expect(run("~\r~.") == [.bytes(Array("~\r".utf8)), .end])
        // After help, another may follow at once.
        #expect(run("~?~.") == [.help, .end])
    }

    /// The same, however the input is cut.
    @Test func cutsDoNotMatter() {
        let text = Array("~~a\r~xb~.\r~?~\u{1A}q\n\n~~\r~.".utf8)
        func flat(_ events: [EscapeScanner.Event]) -> [EscapeScanner.Event] {
            events.reduce(into: []) { result, event in
                if case .bytes(let more) = event, case .bytes(let before)? = result.last {
                    result[result.count - 1] = .bytes(before + more)
                } else {
                    result.append(event)
                }
            }
        }
        var whole = EscapeScanner()
        let expected = flat(whole.push(text))
        for cut in 1..<text.count {
            var scanner = EscapeScanner()
            #expect(flat(scanner.push(Array(text[..<cut])) + scanner.push(Array(text[cut...]))) == expected)
        }
        var scanner = EscapeScanner()
        #expect(flat(text.flatMap { scanner.push([$0]) }) == expected)
    }
}
