internal import MusterWire

/// Times of the week by the clocks of one zone: `Mon-Fri 09:00-18:00 Asia/Tokyo`. [value]
///
///     Mon-Fri,Sun 08:00-12:00,13:00-17:30 Europe/Berlin     several of both
///     daily 22:00-06:00 America/New_York                    over midnight: it belongs to the day on which it begins
///     Sat-Sun 00:00-24:00 UTC                               whole days
///
/// The end is not part of it. What counts is what the clocks on the wall show, so where they are put back an hour counts twice, and
/// where they are put forward it does not exist.
struct TimeWindow: Sendable, Hashable {
    /// Minutes of the day; the end is beyond the beginning or, over midnight, before it.
    private struct Hours: Hashable {
        let start: Int
        let end: Int
    }

    /// Sunday is 0.
    private let days: Set<Int>
    private let hours: [Hours]
    private let zone: TimeZoneRules

    private static let dayNames = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]
    private static let maximumHours = 16
    private static let form = "Write days, hours and a zone, as in \"Mon-Fri 09:00-18:00 Asia/Tokyo\" or \"daily 22:00-06:00 UTC\"."

    init(_ text: String, zones: TimeZoneFolder, at path: String) throws(PolicyError) {
        let words = text.split(separator: " ").map(String.init)
        guard words.count == 3 else { throw PolicyError(at: path, "'\(text.prefix(200))' is no time window. \(Self.form)") }
        days = try Self.days(words[0], at: path)
        hours = try Self.hours(words[1], at: path)
        zone = try zones.rules(words[2], at: path)
    }

    func contains(_ time: Timestamp) -> Bool {
        let seconds = time.milliseconds.flooredQuotient(by: 1000)
        let local = seconds + Int64(zone.offset(at: seconds))
        let day = local.flooredQuotient(by: 86_400)
        let minute = Int((local - day * 86_400) / 60)
        let today = days.contains(Int(CalendarDay.weekday(day)))
        let yesterday = days.contains(Int(CalendarDay.weekday(day - 1)))
        return hours.contains { hours in
            hours.start < hours.end
                ? today && minute >= hours.start && minute < hours.end
                : today && minute >= hours.start || yesterday && minute < hours.end
        }
    }

    private static func days(_ text: String, at path: String) throws(PolicyError) -> Set<Int> {
        if asciiLowercased(text) == "daily" { return Set(0..<7) }
        var days: Set<Int> = []
        for item in text.split(separator: ",", omittingEmptySubsequences: false) {
            let ends = item.split(separator: "-", omittingEmptySubsequences: false).map {
                dayNames.firstIndex(of: asciiLowercased(String($0)))
            }
            guard (1...2).contains(ends.count), let first = ends[0], let last = ends[ends.count - 1] else {
                throw PolicyError(
                    at: path, "'\(item.prefix(40))' is no day or range of days: Mon Tue Wed Thu Fri Sat Sun, or daily. \(Self.form)")
            }
            var day = first
            days.insert(day)
            while day != last {
                day = (day + 1) % 7
                days.insert(day)
            }
        }
        return days
    }

    private static func hours(_ text: String, at path: String) throws(PolicyError) -> [Hours] {
        let items = text.split(separator: ",", omittingEmptySubsequences: false)
        guard items.count <= maximumHours else { throw PolicyError(at: path, "A window has at most \(maximumHours) ranges of hours.") }
        var hours: [Hours] = []
        for item in items {
            let ends = item.split(separator: "-", omittingEmptySubsequences: false).map { minutes($0) }
            guard ends.count == 2, let start = ends[0], let end = ends[1], start < 1440, start != end, end > 0 else {
                throw PolicyError(
                    at: path, "'\(item.prefix(40))' are no hours: two different times from 00:00 to 24:00 with - between. \(Self.form)")
            }
            hours.append(Hours(start: start, end: end))
        }
        return hours
    }

    /// `09:00`, up to `24:00`.
    private static func minutes(_ text: Substring) -> Int? {
        let digits = Array(text.utf8)
        guard digits.count == 5, digits[2] == UInt8(ascii: ":"), let hour = Int(text.prefix(2)), let minute = Int(text.suffix(2)),
            [0, 1, 3, 4].allSatisfy({ (0x30...0x39).contains(digits[$0]) }), minute < 60, hour * 60 + minute <= 1440
        else { return nil }
        return hour * 60 + minute
    }
}
