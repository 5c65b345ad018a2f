import MusterCrypto

/// Turns the bytes of one stream into events: a recording's text is UTF-8, a terminal's bytes need not be. [value]
///
/// Nothing is lost and nothing waits: a character that a frame has only begun is written down at once as a `p` line, and shown with the
/// frame that ends it; bytes that are no UTF-8 are written down as they are in a `b` line, and the event behind it shows U+FFFD.
package struct RecordingText: Sendable {
    private let code: RecordingCode
    /// At most 3 bytes.
    package private(set) var begun: [UInt8]

    package init(_ code: RecordingCode, begun: [UInt8] = []) {
        self.code = code
        self.begun = begun
    }

    package mutating func events(of bytes: [UInt8], time: Int64) -> [RecordingEvent] {
        let all = begun.isEmpty ? bytes : begun + bytes
        let tail = Self.begunCharacter(at: all)
        begun = Array(all.suffix(tail))
        var events = Self.events(of: all.dropLast(tail), code, time: time)
        if !begun.isEmpty { events.append(RecordingEvent(time: time, .begunCharacter, "\(code.rawValue):\(Base64.encode(begun))")) }
        return events
    }

    /// The stream is over, and what it has begun will not be ended.
    package mutating func end(time: Int64) -> [RecordingEvent] {
        defer { begun = [] }
        return Self.events(of: begun[...], code, time: time)
    }

    private static func events(of bytes: ArraySlice<UInt8>, _ code: RecordingCode, time: Int64) -> [RecordingEvent] {
        if bytes.isEmpty { return [] }
        if let text = String(validating: bytes, as: UTF8.self) { return [RecordingEvent(time: time, code, text)] }
        return [
            RecordingEvent(time: time, .exactBytes, "\(code.rawValue):\(Base64.encode(Array(bytes)))"),
            RecordingEvent(time: time, code, String(decoding: bytes, as: UTF8.self)),
        ]
    }

    /// How many bytes at the end may be the beginning of a character (RFC 3629 section 3).
    private static func begunCharacter(at bytes: [UInt8]) -> Int {
        for count in 1...3 where count <= bytes.count {
            let byte = bytes[bytes.count - count]
            if byte & 0xc0 == 0x80 { continue }
            let needed = byte >= 0xf0 && byte < 0xf5 ? 4 : byte >= 0xe0 && byte < 0xf0 ? 3 : byte >= 0xc2 && byte < 0xe0 ? 2 : 1
            return needed > count ? count : 0
        }
        return 0
    }
}

/// The bytes that were recorded, out of the events. [value]
package struct RecordingBytes: Sendable {
    private let code: RecordingCode
    private var exact: [UInt8]?
    private var stream = ""
    /// By stream: each may have begun a character.
    private var begun: [String: [UInt8]] = [:]

    package init(_ code: RecordingCode) {
        self.code = code
    }

    /// What the event adds.
    package mutating func take(_ event: RecordingEvent) -> [UInt8] {
        switch event.known {
        case .exactBytes:
            if let bytes = Self.payload(event, code) { exact = bytes }
            return []
        case .begunCharacter:
            if let bytes = Self.payload(event, code) { begun[stream] = bytes }
            return []
        case .stream:
            stream = event.data
            return []
        case code:
            defer { exact = nil }
            begun[stream] = nil
            return exact ?? Array(event.data.utf8)
        default:
            return []
        }
    }

    /// What a recording ends with that was cut off before its last event.
    package var rest: [UInt8] { exact ?? begun.keys.sorted().flatMap { begun[$0] ?? [] } }

    /// Of a `b` or `p` event that belongs to events of this code.
    package static func payload(_ event: RecordingEvent, _ code: RecordingCode) -> [UInt8]? {
        let prefix = code.rawValue + ":"
        guard event.data.hasPrefix(prefix) else { return nil }
        return Base64.decode(String(event.data.dropFirst(prefix.count)))
    }
}
