import MusterCrypto
import Testing

@testable import MusterWire

@Suite struct RecordingEventTests {
    @Test func aLineIsWrittenInOneWay() {
        let event = RecordingEvent(time: 1_234_567, .output, "a\"\\\n\r\t\u{1b}[0m\u{7f}é\u{85}\u{1F600}\u{0}/")
        #expect(
            String(decoding: event.line, as: UTF8.self)
                == "[1.234567,\"o\",\"a\\\"\\\\\\n\\r\\t\\u001b[0m\u{7f}é\u{85}\u{1F600}\\u0000/\"]\n")
        #expect(RecordingEvent(line: event.line) == event)
        #expect(String(decoding: RecordingEvent(time: 7, .exit, "0").line, as: UTF8.self) == "[0.000007,\"x\",\"0\"]\n")
    }

    @Test func linesOfOtherRecordersAreRead() {
        #expect(
            RecordingEvent(line: Array(#" [ 1.5e0 , "o" , "\u00e9\ud83d\ude00\/\b\f" ] "#.utf8))
                == RecordingEvent(time: 1_500_000, .output, "é\u{1F600}/\u{8}\u{c}"))
        #expect(RecordingEvent(line: Array(#"[3,"z","x"]"#.utf8)) == RecordingEvent(time: 3_000_000, code: "z", data: "x"))
    }

    @Test func noPartOfALineIsALine() {
        let line = RecordingEvent(time: 12_000_000, .output, "x\u{1b}é\"\\").line
        for length in 0..<line.count - 1 { #expect(RecordingEvent(line: line.prefix(length)) == nil) }
    }

    @Test(arguments: [
        #"[-1,"o","x"]"#, #"[1,"o"]"#, #"[1,"o","x",2]"#, #"{"a":1}"#, #"[1,"o","\ud800"]"#, #"[1,"o","\u12"]"#, #"[1,"o","\q"]"#,
        "[1,\"o\",\"a\u{1}\"]", #"[nan,"o","x"]"#, #"[1e300,"o","x"]"#, "",
    ])
    func whatIsNoEventIsNone(line: String) {
        #expect(RecordingEvent(line: Array(line.utf8)) == nil)
    }

    // MARK: Bytes

    private static let awkward: [UInt8] =
        Array("a€\u{1F600}é\r\n".utf8) + [0xff, 0xfe, 0xc3] + Array("z".utf8) + [0xe2, 0x82] + [0xe0, 0x80, 0xf5, 0xc0, 0xaf]
        + Array("€".utf8) + [0x00, 0x1b, 0x80, 0xed, 0xa0, 0x80, 0xf4, 0x90] + [0xf0, 0x9f]

    /// However the bytes are cut into frames, they come out of the lines again, and a character that came in two frames is shown once.
    @Test(arguments: 1...awkward.count) func bytesComeOutAsTheyWentIn(size: Int) throws {
        var text = RecordingText(.output)
        var bytes = RecordingBytes(.output)
        var (out, shown): ([UInt8], String) = ([], "")
        var events: [RecordingEvent] = []
        for start in stride(from: 0, to: Self.awkward.count, by: size) {
            events += text.events(of: Array(Self.awkward[start..<min(start + size, Self.awkward.count)]), time: 0)
            // What a controller that dies here has written down, whole.
            var until = RecordingBytes(.output)
            let sofar = try events.flatMap { until.take(try #require(RecordingEvent(line: $0.line))) } + until.rest
            #expect(sofar == Array(Self.awkward.prefix(start + size)))
        }
        events += text.end(time: 0)
        for event in events {
            out += bytes.take(try #require(RecordingEvent(line: event.line)))
            if event.known == .output { shown += event.data }
        }
        #expect(out + bytes.rest == Self.awkward)
        #expect(shown.contains("a€\u{1F600}é\r\n"))
    }

    @Test func validTextIsPlainLinesOnly() {
        var text = RecordingText(.output)
        #expect(text.events(of: Array("héllo €".utf8), time: 5) == [RecordingEvent(time: 5, .output, "héllo €")])
    }
}
