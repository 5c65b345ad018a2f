import FoundationEssentials
import MusterWire
import Testing

@testable import MusterController

@Suite struct TimeWindowTests {
    static let times: [(String, String, Bool)] = [
        // Tokyo has no summer time
        ("Mon-Fri 09:00-18:00 Asia/Tokyo", "2026-11-30T00:00:00Z", true),
        ("Mon-Fri 09:00-18:00 Asia/Tokyo", "2026-11-29T23:59:59.999Z", false),
        ("Mon-Fri 09:00-18:00 Asia/Tokyo", "2026-07-01T08:59:59Z", true), ("Mon-Fri 09:00-18:00 Asia/Tokyo", "2026-07-01T09:00:00Z", false),
        ("Mon-Fri 09:00-18:00 Asia/Tokyo", "2026-11-27T23:30:00Z", false), ("mon-fri 09:00-18:00 Asia/Tokyo", "2050-01-03T00:00:00Z", true),
        // Berlin: 29 March 2026 at 01:00Z forward, 25 October 2026 at 01:00Z back
        ("daily 09:00-18:00 Europe/Berlin", "2026-03-28T08:00:00Z", true),
        ("daily 09:00-18:00 Europe/Berlin", "2026-03-28T07:59:59Z", false),
        ("daily 09:00-18:00 Europe/Berlin", "2026-03-29T07:00:00Z", true),
        ("daily 09:00-18:00 Europe/Berlin", "2026-03-29T06:59:59Z", false),
        ("daily 02:00-03:00 Europe/Berlin", "2026-03-29T00:59:59Z", false),
        ("daily 02:00-03:00 Europe/Berlin", "2026-03-29T01:00:00Z", false),
        ("daily 02:00-03:00 Europe/Berlin", "2026-10-25T00:30:00Z", true),
        ("daily 02:00-03:00 Europe/Berlin", "2026-10-25T01:30:00Z", true),
        ("daily 02:00-03:00 Europe/Berlin", "2026-10-25T02:00:00Z", false),
        ("daily 09:00-18:00 Europe/Berlin", "2060-07-01T15:59:00Z", true),
        ("daily 09:00-18:00 Europe/Berlin", "2060-12-01T15:59:00Z", true),
        ("daily 09:00-18:00 Europe/Berlin", "2060-12-01T16:59:00Z", true),
        ("daily 09:00-18:00 Europe/Berlin", "2060-07-01T16:00:00Z", false),
        // New York: 8 March 2026 at 07:00Z forward, 1 November 2026 at 06:00Z back
        ("Sun 01:00-04:00 America/New_York", "2026-03-08T06:00:00Z", true),
        ("Sun 01:00-04:00 America/New_York", "2026-03-08T07:59:59Z", true),
        ("Sun 01:00-04:00 America/New_York", "2026-03-08T08:00:00Z", false),
        ("Sun 01:00-04:00 America/New_York", "2026-11-01T08:59:59Z", true),
        ("Sun 01:00-04:00 America/New_York", "2026-11-01T09:00:00Z", false),
        // South of the equator summer goes over the new year
        ("daily 09:00-10:00 Australia/Sydney", "2040-01-01T22:30:00Z", true),
        ("daily 09:00-10:00 Australia/Sydney", "2040-07-01T23:30:00Z", true),
        ("daily 09:00-10:00 Australia/Sydney", "2040-07-01T22:30:00Z", false),
        // Half hours, and none at all
        ("daily 05:30-05:31 Asia/Kolkata", "2026-11-28T00:00:00Z", true), ("daily 00:00-00:01 UTC", "2026-11-28T00:00:59Z", true),
        // Over midnight a window belongs to the day on which it begins
        ("Fri 22:00-06:00 UTC", "2026-11-27T22:00:00Z", true), ("Fri 22:00-06:00 UTC", "2026-11-28T05:59:59Z", true),
        ("Fri 22:00-06:00 UTC", "2026-11-28T06:00:00Z", false), ("Fri 22:00-06:00 UTC", "2026-11-27T05:00:00Z", false),
        ("Fri 22:00-06:00 UTC", "2026-11-28T22:00:00Z", false),
        // Several of both; whole days; days round the week's end
        ("Mon,Wed-Thu 08:00-12:00,13:00-17:30 UTC", "2026-11-26T12:30:00Z", false),
        ("Mon,Wed-Thu 08:00-12:00,13:00-17:30 UTC", "2026-11-26T17:29:00Z", true),
        ("Mon,Wed-Thu 08:00-12:00,13:00-17:30 UTC", "2026-11-24T09:00:00Z", false),
        ("Sat-Mon 00:00-24:00 UTC", "2026-11-30T23:59:59.999Z", true),
        ("Sat-Mon 00:00-24:00 UTC", "2026-12-01T00:00:00Z", false), ("daily 00:00-24:00 UTC", "1969-12-31T23:59:59Z", true),
    ]

    @Test(arguments: times)
    func windows(_ window: String, time: String, contains: Bool) throws {
        let window = try TimeWindow(window, zones: .system, at: "")
        #expect(window.contains(try #require(Timestamp(iso8601: time))) == contains)
    }

    @Test func asOperators() throws {
        let inside = try PolicySet(
            allow(#""Condition":{"muster:TimeWindow":{"aws:CurrentTime":["Mon 09:00-10:00 UTC","Tue 09:00-10:00 UTC"]}}"#))
        let outside = try PolicySet(
            allow(#""Condition":{"muster:NotTimeWindow":{"aws:CurrentTime":["Mon 09:00-10:00 UTC","Tue 09:00-10:00 UTC"]}}"#))
        for (time, isInside) in [("2026-11-30T09:30:00Z", true), ("2026-12-01T09:30:00Z", true), ("2026-12-02T09:30:00Z", false)] {
            #expect(inside.decide("a:b", "*", ["aws:CurrentTime": [time]]).isAllowed == isInside)
            #expect(outside.decide("a:b", "*", ["aws:CurrentTime": [time]]).isAllowed == !isInside)
        }
        #expect(!inside.decide("a:b").isAllowed)
    }

    @Test(arguments: [
        ("UTC0", 0, 0), ("<+0330>-3:30", 12_600, 12_600), ("CET-1CEST,M3.5.0,M10.5.0/3", 3_600, 7_200),
        ("EST5EDT,M3.2.0,M11.1.0", -18_000, -14_400),
        ("AEST-10AEDT,M10.1.0,M4.1.0/3", 39_600, 36_000), ("XXX1YYY,J60,J300", -3_600, 0), ("XXX1YYY,59,300", -3_600, 0),
        ("IST-1GMT0,M10.5.0,M3.5.0/1", 0, 3_600),
    ])
    func rulesOfFooters(_ text: String, january: Int, july: Int) throws {
        let rule = try #require(RecurringRule(text))
        #expect(rule.offset(at: 2_209_032_000) == january)
        #expect(rule.offset(at: 2_224_756_800) == july)
    }

    @Test(arguments: [
        "", "A", "UTC", "CET-1CEST", "CET-1CEST,M3.5.0", "CET-1CEST,M13.5.0,M10.5.0", "CET-1CEST,M3.5.0,M10.5.0x", "<CET-1", "CET-999",
    ])
    func otherFootersAreNone(_ text: String) { #expect(RecurringRule(text) == nil) }

    /// A zone's file is no peer's, but it is read with the same care.
    @Test func damagedFilesAreNone() throws {
        let file = try Array(#require(FileManager.default.contents(atPath: "/usr/share/zoneinfo/Europe/Berlin")))
        #expect(TimeZoneRules(name: "x", tzif: file) != nil)
        for length in stride(from: 0, to: file.count, by: 7) { #expect(TimeZoneRules(name: "x", tzif: Array(file[..<length])) == nil) }
        for index in stride(from: 0, to: file.count, by: 3) {
            var damaged = file
            damaged[index] ^= 0xFF
            _ = TimeZoneRules(name: "x", tzif: damaged)?.offset(at: 1_800_000_000)
        }
    }
}
