package import MusterWire

/// When each event of a recording is shown. [value] Times of the recording in, times of the player out, in microseconds.
package struct RecordingTimeline: Sendable {
    package private(set) var speed: Double
    /// No pause is longer; 0 leaves them as they were.
    private let longestPause: Int64
    /// Of the event that was shown last.
    package private(set) var position: Int64 = 0

    package init(speed: Double = 1, longestPause: Int64 = 0) {
        self.speed = speed
        self.longestPause = longestPause
    }

    /// How long the player waits before it shows the event at `time`.
    package func delay(until time: Int64) -> Int64 {
        var pause = max(0, time - position)
        if longestPause > 0 { pause = min(pause, longestPause) }
        return Int64(Double(pause) / speed)
    }

    package mutating func shown(_ time: Int64) { position = max(position, time) }
    package mutating func rewind() { position = 0 }
    package mutating func faster() { speed = min(speed * 2, 1024) }
    package mutating func slower() { speed = max(speed / 2, 1 / 64) }
}

/// Finds text in what a recording shows: line by line, without the control sequences. [value]
package struct RecordingSearch: Sendable {
    package struct Match: Sendable, Equatable, Encodable {
        /// Microseconds, of the line's first character.
        package let time: Int64
        package let line: String

        private enum CodingKeys: String, CodingKey {
            case seconds = "Seconds"
            case line = "Line"
        }

        package func encode(to encoder: any Encoder) throws {
            var values = encoder.container(keyedBy: CodingKeys.self)
            try values.encode(Double(time) / 1_000_000, forKey: .seconds)
            try values.encode(line, forKey: .line)
        }
    }

    /// A program may write for ever without a line feed.
    private static let longestLine = 4_096

    private let words: String
    private var filter = TerminalFilter()
    private var line: [UInt8] = []
    private var begun: Int64 = 0
    private var sequence: [UInt8]?

    package init(_ text: String) {
        words = text.lowercased()
    }

    package mutating func take(_ event: RecordingEvent) -> [Match] {
        guard event.known == .output else { return [] }
        var matches: [Match] = []
        for byte in filter.pass(event.data.utf8) {
            if let open = sequence {
                // What the filter lets through ends with its final byte.
                let isIntroducer = open.count == 1 && byte == 0x5b
                let isDone = open.count == 1 ? !isIntroducer && byte != 0x28 : (0x40..<0x7f).contains(byte) || open[1] == 0x28
                sequence = isDone ? nil : open + [byte]
                continue
            }
            switch byte {
            case 0x1b: sequence = [byte]
            case 0x0a: matches += end()
            case 0x08: if !line.isEmpty { line.removeLast() }
            case 0x00..<0x20: break
            default:
                if line.isEmpty { begun = event.time }
                line.append(byte)
                if line.count >= Self.longestLine { matches += end() }
            }
        }
        return matches
    }

    package mutating func end() -> [Match] {
        defer { line = [] }
        let text = String(decoding: line, as: UTF8.self)
        return text.lowercased().contains(words) ? [Match(time: begun, line: text)] : []
    }
}

/// `90`, `1:30`, `1:02:03` or `12.5` as microseconds.
package enum RecordingTime {
    package static func parse(_ text: String) -> Int64? {
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        guard (1...3).contains(parts.count) else { return nil }
        var seconds = 0.0
        for part in parts {
            guard let value = Double(part), value >= 0, value.isFinite, parts.count == 1 || part == parts[0] || value < 60 else {
                return nil
            }
            seconds = seconds * 60 + value
        }
        return seconds < 1e9 ? Int64(seconds * 1_000_000) : nil
    }

    package static func words(_ time: Int64) -> String {
        let (seconds, tenths) = (time / 1_000_000, time / 100_000 % 10)
        func two(_ number: Int64) -> String { number < 10 ? "0\(number)" : "\(number)" }
        let clock = seconds >= 3600 ? "\(seconds / 3600):\(two(seconds / 60 % 60))" : "\(seconds / 60)"
        return "\(clock):\(two(seconds % 60)).\(tenths)"
    }
}
