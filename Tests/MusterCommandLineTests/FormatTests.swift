import MusterWire
import Testing

@testable import MusterCommandLine

@Suite struct FormatTests {
    @Test func csvQuotesWhatRFC4180Asks() {
        #expect(CSV.record(["a", "b c", ""]) == "a,b c,")
        #expect(
            CSV.record(["a,b", "say \"hi\"", "two\r\nlines", " x", "x "]) == "\"a,b\",\"say \"\"hi\"\"\",\"two\r\nlines\",\" x\",\"x \"")
        #expect(CSV.record([""]) == "\"\"")
        #expect(CSV.text(header: ["A", "B"], rows: [["1", "2"]]) == "A,B\r\n1,2\r\n")
    }

    @Test(arguments: [
        ("plain", "plain"), ("two words", "two words"), ("/a/b", "/a/b"), ("a=b", "a=b"), ("", #""""#), ("yes", #""yes""#),
        ("No", #""No""#), ("null", #""null""#),
        ("1e5", #""1e5""#), ("12", #""12""#), ("2026-11-23", #""2026-11-23""#), ("-", #""-""#), ("a: b", #""a: b""#), ("a #b", #""a #b""#),
        ("end ", #""end ""#),
        ("q\"\\", #""q\"\\""#), ("l\nm\t\r", #""l\nm\t\r""#), ("\u{1b}[0m", #""\u001b[0m""#),
        ("\u{85}\u{2028}\u{feff}", #""\u0085\u2028\ufeff""#), ("é🎉", "\"é🎉\""),
        ("~", #""~""#), ("&a", #""&a""#), ("*a", #""*a""#), ("!a", #""!a""#),
    ])
    func yamlStrings(text: String, expected: String) {
        #expect(YAML.text(.string(text)) == expected + "\n")
    }

    @Test func yamlNests() {
        let value = JSONValue.object([
            "b": .array([.object(["x": .integer(1), "y": .array([.array([.null, .bool(true)]), .array([])])]), .string("s")]),
            "a": .object([:]), "c": .number(1e20), "d": .number(1.5),
        ])
        #expect(
            YAML.text(value) == """
                a: {}
                b:
                - x: 1
                  "y":
                  - - null
                    - true
                  - []
                - s
                c: 1.0e+20
                d: 1.5

                """)
    }

    @Test func textIsCutByColumns() {
        #expect(TextWidth.fitted("abcdef", to: 6) == "abcdef")
        #expect(TextWidth.fitted("abcdefg", to: 6) == "abcde…")
        #expect(TextWidth.fitted("漢字漢字", to: 6) == "漢字…" && TextWidth.of("漢字…") == 5)
        #expect(TextWidth.of("e\u{301}") == 1)
        #expect(TextWidth.fitted("anything", to: 0) == "anything")
        var table = Table(["A", "B"])
        table.add(["漢", "x\u{1b}"])
        #expect(table.render(width: 3) == "A …\n漢…")
        #expect(table.render() == "A   B\n漢  x\\u{1b}")
        #expect(table.csv() == "A,B\r\n漢,x\u{1b}\r\n")
    }

    @Test func changesOfNodes() {
        let one = NodeID("mi-0123456789abcdef0")!, two = NodeID("mi-0123456789abcdef1")!
        let time = Timestamp(milliseconds: 0)
        let former: [NodeID: NodeChange.Seen] = [one: .init(status: "Online", name: "a\u{1b}"), two: .init(status: "Online", name: "b")]
        let changes = NodeChange.between(former, [one: .init(status: "ConnectionLost", name: "a\u{1b}")], at: time)
        #expect(
            changes.map { [$0.node, $0.formerStatus ?? "", $0.status] } == [
                [one.rawValue, "Online", "ConnectionLost"], [two.rawValue, "Online", "Gone"],
            ])
        #expect(changes[0].line == "1970-01-01T00:00:00.000Z  mi-0123456789abcdef0  a\\u{1b}  Online -> ConnectionLost")
        #expect(NodeChange.between(former, former, at: time).isEmpty)
        // Another name is no change of state.
        #expect(NodeChange.between([two: .init(status: "Online", name: "b")], [two: .init(status: "Online", name: "c")], at: time).isEmpty)
    }
}
