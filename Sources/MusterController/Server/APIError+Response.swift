internal import HTTPTypes
internal import MusterWire
internal import NIOCore

extension HTTPField.Name {
    static let requestID = HTTPField.Name("x-amzn-RequestId")!
    static let errorType = HTTPField.Name("x-amzn-ErrorType")!
    static let serverTime = HTTPField.Name("x-muster-server-time")!
    static let target = HTTPField.Name("X-Amz-Target")!
    static let invocationID = HTTPField.Name("amz-sdk-invocation-id")!
    static let securityToken = HTTPField.Name("x-amz-security-token")!
}

/// An answer before it is written.
struct Answer: Sendable {
    var status: HTTPResponse.Status
    var contentType: String
    var body: [UInt8]
    var errorType: String?
    var closes = false
    /// See `OperationTable.Entry.isHeld`.
    var isHeld = false

    static let json = "application/x-amz-json-1.1"

    static func success(_ body: [UInt8]) -> Answer {
        Answer(status: .ok, contentType: json, body: body)
    }

    static func failure(_ error: APIError) -> Answer {
        Answer(status: HTTPResponse.Status(code: error.status), contentType: json, body: error.body(), errorType: error.code)
    }

    static func text(_ status: HTTPResponse.Status, _ text: String) -> Answer {
        Answer(status: status, contentType: "text/plain; charset=utf-8", body: Array(text.utf8))
    }

    func head(requestID: String, now: Timestamp) -> HTTPResponse {
        var fields = HTTPFields()
        fields[.contentType] = contentType
        fields[.contentLength] = String(body.count)
        fields[.date] = HTTPDate.text(now)
        fields[.requestID] = requestID
        fields[.serverTime] = String(now.milliseconds)
        if let errorType { fields[.errorType] = errorType }
        if closes { fields[.connection] = "close" }
        return HTTPResponse(status: status, headerFields: fields)
    }
}

/// The date format of HTTP, always in English and GMT. RFC 9110 section 5.6.7.
enum HTTPDate {
    static func text(_ time: Timestamp) -> String {
        let seconds = time.milliseconds.floorDivided(by: 1000)
        let days = seconds.floorDivided(by: 86_400)
        let inDay = seconds - days * 86_400
        let (year, month, day) = civil(fromDays: days)
        let weekday = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"][Int((days % 7 + 7) % 7)]
        let name = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"][month - 1]
        return
            "\(weekday), \(two(day)) \(name) \(four(year)) \(two(Int(inDay / 3600))):\(two(Int(inDay / 60 % 60))):\(two(Int(inDay % 60))) GMT"
    }

    /// Days since 1970 to a date of the Gregorian calendar. https://howardhinnant.github.io/date_algorithms.html#civil_from_days
    private static func civil(fromDays days: Int64) -> (year: Int, month: Int, day: Int) {
        let shifted = days + 719_468
        let era = shifted.floorDivided(by: 146_097)
        let dayOfEra = shifted - era * 146_097
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let shiftedMonth = (5 * dayOfYear + 2) / 153
        let month = shiftedMonth < 10 ? shiftedMonth + 3 : shiftedMonth - 9
        return (Int(yearOfEra + era * 400 + (month <= 2 ? 1 : 0)), Int(month), Int(dayOfYear - (153 * shiftedMonth + 2) / 5 + 1))
    }

    private static func two(_ number: Int) -> String { number < 10 ? "0\(number)" : "\(number)" }
    private static func four(_ number: Int) -> String { String(repeating: "0", count: max(0, 4 - String(number).count)) + String(number) }
}

extension Int64 {
    fileprivate func floorDivided(by divisor: Int64) -> Int64 {
        let (quotient, remainder) = quotientAndRemainder(dividingBy: divisor)
        return remainder < 0 ? quotient - 1 : quotient
    }
}
