import FoundationEssentials
import Logging
import MusterLogging
import MusterWire
import Testing

@Suite struct LogLineTests {
    private static let time = Timestamp(iso8601: "2026-12-01T09:15:00.120Z")!

    private func line(_ format: LogFormat, _ message: String = "job accepted", _ metadata: Logger.Metadata = [:]) -> String {
        LogLine.text(format, at: Self.time, level: .info, message: message, metadata: metadata)
    }

    @Test func messageComesBeforeTheFieldsAndFieldsAreInOrder() {
        #expect(
            line(.logfmt, metadata: ["node": "mi-1", "command": "c-1"])
                == "time=2026-12-01T09:15:00.120Z level=info msg=\"job accepted\" command=c-1 node=mi-1\n")
        #expect(
            line(.json, metadata: ["node": "mi-1", "command": "c-1"])
                == #"{"time":"2026-12-01T09:15:00.120Z","level":"info","msg":"job accepted","command":"c-1","node":"mi-1"}"# + "\n")
    }

    @Test(arguments: [
        ("plain", "plain"), ("", #""""#), ("two words", #""two words""#), ("a=b", #""a=b""#), (#"say "x""#, #""say \"x\"""#),
        (#"back\slash"#, #""back\\slash""#), ("one\ntwo\r\tthree", #""one\ntwo\r\tthree""#), ("bell\u{7}", #""bell\u0007""#),
        ("\u{1B}[2J", #""\u001b[2J""#), ("\u{9B}2J", #""\u009b2J""#), ("del\u{7F}", #""del\u007f""#), ("a\u{202E}b", #""a\u202eb""#),
        ("a\u{200B}b", #""a\u200bb""#), ("a\u{2028}b", #""a\u2028b""#), ("\u{E0041}", #""\udb40\udc41""#), ("Zürich", #""Zürich""#),
    ])
    func strangersTextIsMadeSafe(_ value: String, shown: String) {
        #expect(line(.logfmt, "m", ["v": "\(value)"]).hasSuffix(" msg=m v=\(shown)\n"))
        // Nothing in either format ends the line, and what JSON holds is what was said.
        for text in [line(.logfmt, value, ["v": "\(value)"]), line(.json, value, ["v": "\(value)"])] {
            #expect(text.unicodeScalars.filter { $0.properties.generalCategory == .control }.count == 1)
        }
        #expect((try? JSONDecoder().decode([String: String].self, from: Data(line(.json, value, ["v": "\(value)"]).utf8)))?["v"] == value)
    }

    @Test func aFieldCannotPoseAsTheHead() {
        #expect(line(.logfmt, "m", ["level": "critical", "a b\n": "1"]).hasSuffix("level=info msg=m a_b_=1 level_=critical\n"))
    }

    @Test func aLongValueIsCut() {
        let text = line(.logfmt, "m", ["v": "\(String(repeating: "x", count: 1 << 20))"])
        #expect(text.utf8.count < LogLine.longestValue + 100 && text.hasSuffix("x…\"\n"))
    }
}

extension LogLineTests {
    private func line(_ format: LogFormat, metadata: Logger.Metadata) -> String { line(format, "job accepted", metadata) }
}
