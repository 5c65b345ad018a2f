import FoundationEssentials
import Testing

@testable import MusterWire

@Suite struct TimestampTests {
    private func json(_ time: Timestamp) throws -> String { String(decoding: try JSONCoding.encode([time]), as: UTF8.self) }

    @Test func jsonHasSecondsWithAtMostThreeDecimals() throws {
        #expect(try json(Timestamp(milliseconds: 1_700_000_000_123)) == "[1700000000.123]")
        #expect(try json(Timestamp(milliseconds: 1_700_000_000_100)) == "[1700000000.1]")
        #expect(try json(Timestamp(milliseconds: 1_700_000_000_000)) == "[1700000000]")
        #expect(try json(Timestamp(milliseconds: -1)) == "[-0.001]")
        for _ in 0..<2000 {
            let time = Timestamp(milliseconds: .random(in: 0...Timestamp.latest.milliseconds))
            let text = try json(time)
            #expect((text.split(separator: ".").dropFirst().first?.count ?? 0) <= 4)
            #expect(!text.contains("e"))
            #expect(try JSONCoding.decode([Timestamp].self, from: Array(text.utf8)) == [time])
        }
    }

    @Test func jsonNumbersInAndOut() throws {
        #expect(
            try JSONCoding.decode([Timestamp].self, from: Array("[1,1.5,1.0004,1e3]".utf8)).map(\.milliseconds) == [
                1000, 1500, 1000, 1_000_000,
            ])
        for bad in ["[1e300]", "[-1e300]", #"["2026-11-23T12:55:23Z"]"#, "[null]", "[1e999]", "[true]"] {
            #expect(throws: (any Error).self) { try JSONCoding.decode([Timestamp].self, from: Array(bad.utf8)) }
        }
    }

    @Test func text() {
        let time = Timestamp(milliseconds: 1_795_438_523_827)
        #expect(time.iso8601 == "2026-11-23T12:55:23.827Z")
        #expect(time.basicISO8601 == "20261123T125523Z")
        #expect(time.httpDate == "Mon, 23 Nov 2026 12:55:23 GMT")
        #expect(Timestamp(milliseconds: 0).iso8601 == "1970-01-01T00:00:00.000Z")
        #expect(Timestamp(milliseconds: -1).iso8601 == "1969-12-31T23:59:59.999Z")
        #expect(Timestamp(iso8601: "2000-02-29")?.iso8601 == "2000-02-29T00:00:00.000Z")
        #expect(Timestamp.latest.iso8601 == "9999-12-31T23:59:59.999Z")
        #expect(!Timestamp(milliseconds: .max).iso8601.isEmpty && !Timestamp(milliseconds: .min).iso8601.isEmpty)
    }

    @Test func textIsReadBack() {
        for _ in 0..<2000 {
            let time = Timestamp(milliseconds: .random(in: -62_135_596_800_000...Timestamp.latest.milliseconds))
            #expect(Timestamp(iso8601: time.iso8601) == time)
            let whole = Timestamp(milliseconds: time.milliseconds - (time.milliseconds % 1000 + 1000) % 1000)
            #expect(Timestamp(basicISO8601: time.basicISO8601) == whole)
            #expect(Timestamp(httpDate: time.httpDate) == whole)
        }
    }

    @Test(arguments: [
        ("2026-11-23T12:55:23Z", 1_795_438_523_000), ("2026-11-23T12:55Z", 1_795_438_500_000),
        ("2026-11-23T12:55:23.8Z", 1_795_438_523_800),
        ("2026-11-23T12:55:23.827999999Z", 1_795_438_523_827), ("2026-11-23T13:55:23+01:00", 1_795_438_523_000),
        ("2026-11-23T00:25:23-12:30", 1_795_438_523_000), ("2026-11-23 12:55:23Z", 1_795_438_523_000),
    ])
    func acceptedForms(text: String, milliseconds: Int64) {
        #expect(Timestamp(iso8601: text)?.milliseconds == milliseconds)
    }

    @Test(arguments: [
        "", "2026", "2026-13-01", "2026-02-29", "2026-00-01", "2026-01-00", "2026-11-23T24:00:00Z", "2026-11-23T12:60:00Z",
        "2026-11-23T12:55:23",
        "2026-11-23T12:55:23.Z", "2026-11-23T12:55:23Zx", "2026-11-23T12:55:23+24:00", "2026-11-23T12:55:23+1", "２026-11-23",
        "2026-11-23T12:55:23.1234567890Z",
    ])
    func refusedForms(text: String) {
        #expect(Timestamp(iso8601: text) == nil)
    }

    @Test func sumsStopAtTheEnds() {
        let time = Timestamp(milliseconds: 5)
        #expect(time.adding(seconds: 2).milliseconds == 2005)
        #expect(time.adding(seconds: .max).milliseconds == .max)
        #expect(time.adding(seconds: .min).milliseconds == .min + 5)
        #expect(time.adding(milliseconds: .max).milliseconds == .max)
        #expect(Timestamp(milliseconds: -5).adding(milliseconds: .min).milliseconds == .min)
    }
}
