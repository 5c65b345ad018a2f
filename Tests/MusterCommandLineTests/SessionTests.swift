import MusterWire
import Testing

@testable import MusterCommandLine

@Suite struct TerminalFilterTests {
    private func passed(_ text: String) -> String {
        // However it is cut.
        var results: Set<[UInt8]> = []
        for size in [1, 2, 3, 1000] {
            var filter = TerminalFilter()
            let bytes = Array(text.utf8)
            results.insert(stride(from: 0, to: bytes.count, by: size).flatMap { filter.pass(bytes[$0..<min($0 + size, bytes.count)]) })
        }
        #expect(results.count == 1)
        return String(decoding: results.first ?? [], as: UTF8.self)
    }

    @Test(arguments: [
        "plain é€\u{1F600}\t\r\n\u{8}", "\u{1b}[1;31mred\u{1b}[0m", "\u{1b}[2J\u{1b}[H\u{1b}[10;20f\u{1b}[K", "\u{1b}[?25l\u{1b}[?1049h",
        "\u{1b}7\u{1b}8\u{1b}M", "\u{1b}(0lqk\u{1b}(B", "\u{1b}[3;20r", "\u{c2}\u{a0}",
    ]) func whatDrawsPasses(text: String) {
        #expect(passed(text) == text)
    }

    @Test(arguments: [
        "\u{1b}]0;title\u{7}", "\u{1b}]52;c;aGk=\u{1b}\\", "\u{1b}]8;;http://x\u{1b}\\", "\u{1b}P$qm\u{1b}\\", "\u{1b}_x\u{1b}\\",
        "\u{1b}^x\u{1b}\\", "\u{1b}X\u{1b}\\", "\u{1b}[c", "\u{1b}[>c", "\u{1b}[6n", "\u{1b}[?6n", "\u{1b}[21t", "\u{1b}[?1000h",
        "\u{1b}[?2004h", "\u{1b}[?1h", "\u{1b}[?25;1000h", "\u{5}", "\u{7}", "\u{9b}6n", "\u{90}", "\u{1b}Z", "\u{1b}c", "\u{1b}[$p",
        "\u{1b}[?1$p", "\u{1b}[>q", "\u{1b}=", "\u{1b}[5i",
    ]) func whatSteersDoesNot(text: String) {
        #expect(passed("a" + text + "b").filter { $0 != "6" && $0 != "n" } == "ab")
    }

    @Test func aSequenceWithoutEndTakesNoMemory() {
        var filter = TerminalFilter()
        #expect(filter.pass([0x1b, 0x5b] + [UInt8](repeating: 0x31, count: 100_000)).count < 100_001)
        #expect(passed("\u{1b}]0;" + String(repeating: "x", count: 10_000)) == "")
    }
}

@Suite struct RecordingTimelineTests {
    @Test func timesArePlayedAtTheirSpeed() {
        var timeline = RecordingTimeline(speed: 2, longestPause: 3_000_000)
        #expect(timeline.delay(until: 1_000_000) == 500_000)
        timeline.shown(1_000_000)
        #expect(timeline.delay(until: 500_000) == 0)
        #expect(timeline.delay(until: 60_000_000) == 1_500_000)
        timeline.faster()
        #expect(timeline.delay(until: 2_000_000) == 250_000)
        timeline.slower()
        timeline.slower()
        #expect(timeline.delay(until: 2_000_000) == 1_000_000)
        timeline.rewind()
        #expect(timeline.position == 0)
    }

    @Test func timesAreReadAndWritten() {
        #expect(RecordingTime.parse("90") == 90_000_000)
        #expect(RecordingTime.parse("1:30.5") == 90_500_000)
        #expect(RecordingTime.parse("1:02:03") == 3_723_000_000)
        for bad in ["", "x", "-1", "1:60", "1:2:3:4", "nan", "inf", "1:"] { #expect(RecordingTime.parse(bad) == nil) }
        #expect(RecordingTime.words(90_500_000) == "1:30.5")
        #expect(RecordingTime.words(3_723_000_000) == "1:02:03.0")
    }

    @Test func searchSeesWhatIsShown() {
        var search = RecordingSearch("PASSword")
        var found = search.take(RecordingEvent(time: 1, .output, "\u{1b}[1mpass"))
        found += search.take(RecordingEvent(time: 2, .output, "\u{1b}[0m\u{1b}(Bword: \u{1b}]0;password\u{7}\r\nno\r\n"))
        found += search.take(RecordingEvent(time: 3, .input, "password\n"))
        found += search.take(RecordingEvent(time: 4, .output, "my password"))
        found += search.end()
        #expect(found == [.init(time: 1, line: "password: "), .init(time: 4, line: "my password")])
    }
}
