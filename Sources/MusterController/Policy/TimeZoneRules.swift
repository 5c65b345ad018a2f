/// How far a zone's clocks are from UTC, and when they change. [value]
///
/// Read from the host's TZif files (RFC 9636): Foundation without its ICU data knows no zones. What comes after the file's last change
/// follows from the rule in its footer.
struct TimeZoneRules: Sendable, Hashable {
    let name: String
    /// Seconds since 1970 from which on the offset of the same place in `offsets` holds; ascending.
    private let changes: [Int64]
    /// Seconds east of UTC.
    private let offsets: [Int]
    private let firstOffset: Int
    private let footer: RecurringRule?

    /// Nil unless the bytes are such a file.
    init?(name: String, tzif bytes: [UInt8]) {
        var reader = TZifReader(bytes)
        guard let contents = reader.read() else { return nil }
        self.name = name
        changes = contents.changes
        offsets = contents.offsets
        firstOffset = contents.firstOffset
        footer = contents.footer
    }

    /// Seconds east of UTC.
    func offset(at seconds: Int64) -> Int {
        if let last = changes.last, seconds >= last { return footer?.offset(at: seconds) ?? offsets[offsets.count - 1] }
        if changes.isEmpty { return footer?.offset(at: seconds) ?? firstOffset }
        var low = 0
        var high = changes.count
        while low < high {
            let middle = (low + high) / 2
            if changes[middle] <= seconds { low = middle + 1 } else { high = middle }
        }
        return low == 0 ? firstOffset : offsets[low - 1]
    }
}

/// The rule of a TZif file's footer, in the form of POSIX's TZ: `CET-1CEST,M3.5.0,M10.5.0/3`.
struct RecurringRule: Sendable, Hashable {
    private struct Day: Hashable {
        enum Kind: Hashable {
            /// 1 to 365; 29 February has no number.
            case julian(Int)
            /// 0 to 365.
            case zeroBased(Int)
            /// Weekday (Sunday is 0) of a month's week; week 5 is the last.
            case month(Int, week: Int, weekday: Int)
        }

        let kind: Kind
        /// Seconds after midnight, by the clock that is still in force.
        let time: Int
    }

    private struct Summer: Hashable {
        let offset: Int
        let start: Day
        let end: Day
    }

    private let standard: Int
    private let summer: Summer?

    init?(_ text: String) {
        var scanner = Scanner(rest: Array(text.utf8)[...])
        guard scanner.name(), let west = scanner.time() else { return nil }
        standard = -west
        guard !scanner.rest.isEmpty else {
            summer = nil
            return
        }
        guard scanner.name() else { return nil }
        var offset = standard + 3600
        if !scanner.take(",") {
            guard let west = scanner.time(), scanner.take(",") else { return nil }
            offset = -west
        }
        guard let start = scanner.day(), scanner.take(","), let end = scanner.day(), scanner.rest.isEmpty else { return nil }
        summer = Summer(offset: offset, start: start, end: end)
    }

    func offset(at seconds: Int64) -> Int {
        guard let summer else { return standard }
        let year = CalendarDay.year(of: (seconds + Int64(standard)).flooredQuotient(by: 86_400))
        let start = Self.moment(summer.start, in: year) - Int64(standard)
        let end = Self.moment(summer.end, in: year) - Int64(summer.offset)
        let isSummer = start < end ? seconds >= start && seconds < end : seconds >= start || seconds < end
        return isSummer ? summer.offset : standard
    }

    private static func moment(_ day: Day, in year: Int64) -> Int64 {
        let first = CalendarDay.number(year: year, month: 1, day: 1)
        let number: Int64
        switch day.kind {
        case .julian(let count): number = first + Int64(count - 1) + (CalendarDay.isLeap(year) && count >= 60 ? 1 : 0)
        case .zeroBased(let count): number = first + Int64(count)
        case .month(let month, let week, let weekday):
            let start = CalendarDay.number(year: year, month: Int64(month), day: 1)
            let next = CalendarDay.number(year: month == 12 ? year + 1 : year, month: Int64(month % 12 + 1), day: 1)
            var candidate = start + (Int64(weekday) - CalendarDay.weekday(start) + 7) % 7 + Int64(week - 1) * 7
            while candidate >= next { candidate -= 7 }
            number = candidate
        }
        return number * 86_400 + Int64(day.time)
    }

    private struct Scanner {
        var rest: ArraySlice<UInt8>

        mutating func take(_ character: Unicode.Scalar) -> Bool {
            guard let first = rest.first, UInt32(first) == character.value else { return false }
            rest.removeFirst()
            return true
        }

        /// `CET`, or `<+03>`.
        mutating func name() -> Bool {
            if take("<") {
                guard let end = rest.firstIndex(of: UInt8(ascii: ">")) else { return false }
                rest = rest[(end + 1)...]
                return true
            }
            let letters = rest.prefix { ($0 | 0x20) >= UInt8(ascii: "a") && ($0 | 0x20) <= UInt8(ascii: "z") }
            rest = rest.dropFirst(letters.count)
            return letters.count >= 3
        }

        mutating func number(upTo limit: Int) -> Int? {
            let digits = rest.prefix { (0x30...0x39).contains($0) }
            guard (1...3).contains(digits.count), let value = Int(String(decoding: digits, as: UTF8.self)), value <= limit else {
                return nil
            }
            rest = rest.dropFirst(digits.count)
            return value
        }

        /// `[+-]h[:m[:s]]` in seconds.
        mutating func time() -> Int? {
            let sign = take("-") ? -1 : 1
            if sign == 1 { _ = take("+") }
            guard let hours = number(upTo: 167) else { return nil }
            var seconds = hours * 3600
            for unit in [60, 1] where take(":") {
                guard let value = number(upTo: 59) else { return nil }
                seconds += value * unit
            }
            return sign * seconds
        }

        mutating func day() -> Day? {
            let kind: Day.Kind
            if take("M") {
                guard let month = number(upTo: 12), month >= 1, take("."), let week = number(upTo: 5), week >= 1, take("."),
                    let weekday = number(upTo: 6)
                else { return nil }
                kind = .month(month, week: week, weekday: weekday)
            } else if take("J") {
                guard let count = number(upTo: 365), count >= 1 else { return nil }
                kind = .julian(count)
            } else {
                guard let count = number(upTo: 365) else { return nil }
                kind = .zeroBased(count)
            }
            guard take("/") else { return Day(kind: kind, time: 7200) }
            return time().map { Day(kind: kind, time: $0) }
        }
    }
}

/// Days counted from 1 January 1970, after Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms".
enum CalendarDay {
    static func number(year: Int64, month: Int64, day: Int64) -> Int64 {
        let y = month <= 2 ? year - 1 : year
        let era = y.flooredQuotient(by: 400)
        let yearOfEra = y - era * 400
        let dayOfYear = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1
        return era * 146_097 + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear - 719_468
    }

    static func year(of number: Int64) -> Int64 {
        // The estimate is never too large and at most one too small.
        let estimate = 1970 + (number * 400).flooredQuotient(by: 146_097) - 1
        var year = estimate
        while self.number(year: year + 1, month: 1, day: 1) <= number { year += 1 }
        return year
    }

    /// Sunday is 0.
    static func weekday(_ number: Int64) -> Int64 {
        let rest = (number + 4) % 7
        return rest < 0 ? rest + 7 : rest
    }

    static func isLeap(_ year: Int64) -> Bool { year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) }
}

extension Int64 {
    func flooredQuotient(by divisor: Int64) -> Int64 {
        let quotient = self / divisor
        return self % divisor < 0 ? quotient - 1 : quotient
    }
}
