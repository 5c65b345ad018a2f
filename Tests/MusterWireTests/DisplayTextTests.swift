import MusterWire
import Testing

@Suite struct DisplayTextTests {
    @Test(arguments: [
        ("a\u{1b}]0;owned\u{07}", "a\\u{1b}]0;owned\\u{7}"), ("\u{9b}31m\u{7f}", "\\u{9b}31m\\u{7f}"),
        ("echo \u{202e}evil\u{202c} ok", "echo \\u{202e}evil\\u{202c} ok"), ("a\u{2028}b\u{2029}", "a\\u{2028}b\\u{2029}"),
        ("ad\u{200b}min\u{200d}\u{feff}", "ad\\u{200b}min\\u{200d}\\u{feff}"), ("x\u{e0041}", "x\\u{e0041}"),
        ("\u{3164}\u{115f}\u{2800}\u{a0}\u{3000}\u{fe0f}", "\\u{3164}\\u{115f}\\u{2800}\\u{a0}\\u{3000}\\u{fe0f}"),
        ("\\u{202e}", "\\u{5c}u{202e}"), ("C:\\users", "C:\\users"), ("näive 漢字 🎉 e\u{301}", "näive 漢字 🎉 e\u{301}"),
    ])
    func whatCannotBeSeenIsWrittenOut(text: String, shown: String) {
        #expect(DisplayText.line(text) == shown)
    }

    @Test func blanksThatPushACommandOffTheScreenAreCounted() {
        #expect(
            DisplayText.complete("systemctl is-active nginx" + String(repeating: " ", count: 300) + "; echo pwned")
                == ["systemctl is-active nginx\\u{20*300}; echo pwned"])
        #expect(DisplayText.complete("end ") == ["end\\u{20}"])
        #expect(DisplayText.complete("  indented a  b") == ["  indented a  b"])
        #expect(DisplayText.complete(String(repeating: "\n", count: 200) + "rm -rf /") == ["\\u{a*200}", "rm -rf /"])
        #expect(DisplayText.complete("a\r\nb\t\u{200b}\u{200b}c") == ["a\\u{d}", "b\\u{9}\\u{200b*2}c"])
        #expect(DisplayText.complete("") == [""])
        // Two texts never look alike.
        #expect(DisplayText.complete("\\\\u{20*300}") != DisplayText.complete("\\" + String(repeating: " ", count: 300)))
    }

    @Test func jsonKeepsItsValue() throws {
        let value = JSONValue.object(["\u{202e}k": .string("\u{9b}31m\u{7f}\u{e0041}é\u{2028}")])
        let text = DisplayText.json(String(decoding: try JSONCoding.encode(value), as: UTF8.self))
        #expect(text.unicodeScalars.allSatisfy { $0 == "\n" || !DisplayText.isHidden($0) })
        #expect(text.contains("\\u009b31m\\u007f\\udb40\\udc41é"))
        #expect(try JSONCoding.decode(JSONValue.self, from: Array(text.utf8)) == value)
    }

    @Test func carriageReturnsAndColoursOfPrograms() {
        #expect(DisplayText.outputLines("one\r\ntwo\r\n") == ["one", "two", ""])
        #expect(DisplayText.outputLines(" 10%\r 50%\r100%\ndone") == ["100%", "done"])
        #expect(DisplayText.outputLines("\u{1b}[1;31mred\u{1b}[0m \u{1b}]0;title\u{07}x\ttab") == ["red x\ttab"])
        #expect(DisplayText.outputLines("cut \u{1b}[") == ["cut \\u{1b}["])
        #expect(DisplayText.outputLines("a\u{202e}b\u{8}") == ["a\\u{202e}b\\u{8}"])
    }

    @Test func everyErrorOfAFullDiskHasASentence() {
        #expect(SystemError.words(28) == "there is no space left on the disk")
        #expect(!SystemError.words(4_000).isEmpty)
    }
}
