import FoundationEssentials

/// A moment in whole milliseconds since 1970, UTC. In JSON it is a number of seconds with at most three decimals, as AWS JSON 1.1 has it.
package struct Timestamp: Sendable, Hashable, Comparable, Codable {
    package let milliseconds: Int64

    package init(milliseconds: Int64) { self.milliseconds = milliseconds }

    /// The end of year 9999: nothing later can be written in the formats around us.
    static let latest = Timestamp(milliseconds: 253_402_300_799_999)

    package static func now() -> Timestamp {
        Timestamp(milliseconds: Int64((Date().timeIntervalSince1970 * 1000).rounded(.down)))
    }

    package static func < (a: Timestamp, b: Timestamp) -> Bool { a.milliseconds < b.milliseconds }

    /// Sums stop at the ends of Int64: peers choose some of the numbers.
    package func adding(milliseconds: Int64) -> Timestamp {
        let (sum, overflow) = self.milliseconds.addingReportingOverflow(milliseconds)
        return Timestamp(milliseconds: overflow ? (milliseconds < 0 ? .min : .max) : sum)
    }

    package func adding(seconds: Int64) -> Timestamp {
        let (product, overflow) = seconds.multipliedReportingOverflow(by: 1000)
        return self.adding(milliseconds: overflow ? (seconds < 0 ? .min : .max) : product)
    }

    package init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        let seconds = try container.decode(Double.self)
        guard seconds.magnitude <= Double(Self.latest.milliseconds) / 1000 else {
            throw DecodingError.dataCorruptedError(in: container, debugDescription: "seconds out of range")
        }
        self.milliseconds = Int64((seconds * 1000).rounded())
    }

    package func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        if self.milliseconds.isMultiple(of: 1000) {
            try container.encode(self.milliseconds / 1000)
        } else {
            try container.encode(Double(self.milliseconds) / 1000)
        }
    }
}

extension Timestamp: CustomStringConvertible {
    package var description: String { self.iso8601 }

    /// `2026-11-23T12:55:23.827Z`
    package var iso8601: String {
        let c = self.components
        return
            "\(padded(c.year, 4))-\(padded(c.month, 2))-\(padded(c.day, 2))T\(padded(c.hour, 2)):\(padded(c.minute, 2)):\(padded(c.second, 2)).\(padded(c.millisecond, 3))Z"
    }

    /// `20261123T125523Z`, the form signatures use.
    package var basicISO8601: String {
        let c = self.components
        return
            "\(padded(c.year, 4))\(padded(c.month, 2))\(padded(c.day, 2))T\(padded(c.hour, 2))\(padded(c.minute, 2))\(padded(c.second, 2))Z"
    }

    /// `Mon, 23 Nov 2026 12:55:23 GMT` (RFC 9110 §5.6.7), for the Date header.
    package var httpDate: String {
        let c = self.components
        let weekday = Self.weekdays[Int(floorMod(floorDiv(self.milliseconds, 86_400_000) + 4, 7))]
        return
            "\(weekday), \(padded(c.day, 2)) \(Self.months[c.month - 1]) \(padded(c.year, 4)) \(padded(c.hour, 2)):\(padded(c.minute, 2)):\(padded(c.second, 2)) GMT"
    }

    /// Date, `T` or a space, time, optional fraction, `Z` or an offset. A date alone is its midnight.
    package init?(iso8601 text: String) {
        var scanner = DateScanner(text)
        guard let year = scanner.number(4), scanner.take("-"), let month = scanner.number(2), scanner.take("-"), let day = scanner.number(2)
        else { return nil }
        if scanner.isAtEnd {
            self.init(year: year, month: month, day: day)
            return
        }
        guard scanner.take("T") || scanner.take("t") || scanner.take(" "),
            let hour = scanner.number(2), scanner.take(":"), let minute = scanner.number(2)
        else { return nil }
        var second = 0, millisecond = 0
        if scanner.take(":") {
            guard let value = scanner.number(2) else { return nil }
            second = value
            if scanner.take(".") || scanner.take(",") {
                guard let value = scanner.fraction() else { return nil }
                millisecond = value
            }
        }
        var offset = 0
        if !scanner.take("Z"), !scanner.take("z") {
            let sign = scanner.take("+") ? 1 : scanner.take("-") ? -1 : 0
            guard sign != 0, let hours = scanner.number(2), hours < 24 else { return nil }
            _ = scanner.take(":")
            guard let minutes = scanner.number(2), minutes < 60 else { return nil }
            offset = sign * (hours * 60 + minutes)
        }
        guard scanner.isAtEnd else { return nil }
        self.init(
            year: year, month: month, day: day, hour: hour, minute: minute - offset, second: second, millisecond: millisecond,
            offset: offset)
    }

    package init?(basicISO8601 text: String) {
        var scanner = DateScanner(text)
        guard let year = scanner.number(4), let month = scanner.number(2), let day = scanner.number(2), scanner.take("T"),
            let hour = scanner.number(2), let minute = scanner.number(2), let second = scanner.number(2), scanner.take("Z"), scanner.isAtEnd
        else { return nil }
        self.init(year: year, month: month, day: day, hour: hour, minute: minute, second: second)
    }

    package init?(httpDate text: String) {
        var scanner = DateScanner(text)
        guard scanner.word(from: Self.weekdays) != nil, scanner.take(","), scanner.take(" "), let day = scanner.number(2),
            scanner.take(" "),
            let month = scanner.word(from: Self.months), scanner.take(" "), let year = scanner.number(4), scanner.take(" "),
            let hour = scanner.number(2), scanner.take(":"), let minute = scanner.number(2), scanner.take(":"),
            let second = scanner.number(2),
            scanner.take(" "), scanner.take("G"), scanner.take("M"), scanner.take("T"), scanner.isAtEnd
        else { return nil }
        self.init(year: year, month: month + 1, day: day, hour: hour, minute: minute, second: second)
    }

    private static let weekdays = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"]
    private static let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]

    /// `minute` arrives with the offset already taken off; `offset` puts it back for the range check.
    private init?(year: Int, month: Int, day: Int, hour: Int = 0, minute: Int = 0, second: Int = 0, millisecond: Int = 0, offset: Int = 0) {
        let leap = year.isMultiple(of: 4) && (!year.isMultiple(of: 100) || year.isMultiple(of: 400))
        let lengths = [31, leap ? 29 : 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
        guard (1...12).contains(month), (1...lengths[month - 1]).contains(day), (0..<24).contains(hour),
            (0..<60).contains(minute + offset), (0...60).contains(second)
        else { return nil }
        let days = daysSince1970(year: Int64(year), month: Int64(month), day: Int64(day))
        let seconds = days * 86_400 + Int64(hour * 3600 + minute * 60 + second)
        self.init(milliseconds: seconds * 1000 + Int64(millisecond))
    }

    private var components: (year: Int, month: Int, day: Int, hour: Int, minute: Int, second: Int, millisecond: Int) {
        let day = floorDiv(self.milliseconds, 86_400_000)
        let rest = Int(floorMod(self.milliseconds, 86_400_000))
        // Civil date from a day count, after Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms".
        let z = day + 719_468
        let era = floorDiv(z, 146_097)
        let doe = z - era * 146_097
        let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365
        let doy = doe - (365 * yoe + yoe / 4 - yoe / 100)
        let mp = (5 * doy + 2) / 153
        let month = mp < 10 ? mp + 3 : mp - 9
        let year = yoe + era * 400 + (month <= 2 ? 1 : 0)
        return (
            Int(year), Int(month), Int(doy - (153 * mp + 2) / 5 + 1),
            rest / 3_600_000, rest / 60_000 % 60, rest / 1000 % 60, rest % 1000
        )
    }
}

private func daysSince1970(year: Int64, month: Int64, day: Int64) -> Int64 {
    let y = month <= 2 ? year - 1 : year
    let era = floorDiv(y, 400)
    let yoe = y - era * 400
    let doy = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1
    return era * 146_097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719_468
}

private func floorDiv(_ a: Int64, _ b: Int64) -> Int64 {
    let quotient = a / b
    return a % b < 0 ? quotient - 1 : quotient
}

private func floorMod(_ a: Int64, _ b: Int64) -> Int64 {
    let rest = a % b
    return rest < 0 ? rest + b : rest
}

private func padded(_ value: Int, _ width: Int) -> String {
    let digits = String(value.magnitude)
    return (value < 0 ? "-" : "") + String(repeating: "0", count: max(0, width - digits.count)) + digits
}

private struct DateScanner {
    private var rest: Substring.UTF8View

    init(_ text: String) { self.rest = Substring(text).utf8 }

    var isAtEnd: Bool { self.rest.isEmpty }

    mutating func take(_ character: Unicode.Scalar) -> Bool {
        guard let first = self.rest.first, UInt32(first) == character.value else { return false }
        self.rest.removeFirst()
        return true
    }

    mutating func number(_ digits: Int) -> Int? {
        var value = 0
        for _ in 0..<digits {
            guard let digit = self.digit() else { return nil }
            value = value * 10 + digit
        }
        return value
    }

    /// Milliseconds of 1 to 9 decimals; what is finer is cut off.
    mutating func fraction() -> Int? {
        var value = 0, digits = 0
        while digits < 9, let digit = self.digit() {
            if digits < 3 { value = value * 10 + digit }
            digits += 1
        }
        guard digits > 0 else { return nil }
        return value * (digits == 1 ? 100 : digits == 2 ? 10 : 1)
    }

    mutating func word(from words: [String]) -> Int? {
        guard let index = words.firstIndex(where: { self.rest.starts(with: $0.utf8) }) else { return nil }
        self.rest.removeFirst(words[index].utf8.count)
        return index
    }

    private mutating func digit() -> Int? {
        guard let first = self.rest.first, (0x30...0x39).contains(first) else { return nil }
        self.rest.removeFirst()
        return Int(first) - 0x30
    }
}
