import MusterCrypto

/// What a line of a recording is about: the event codes of asciicast v2, and ours, which players skip as they skip all they do not know.
/// https://docs.asciinema.org/manual/asciicast/v2/
package enum RecordingCode: String, Sendable, CaseIterable {
    case output = "o"
    case input = "i"
    case resize = "r"
    case marker = "m"
    /// The exact bytes of the event in the next line, `o:` or `i:` and base64: they are no UTF-8, so what is played has U+FFFD in it.
    case exactBytes = "b"
    /// The first bytes of a character whose rest has not come, `o:` or `i:` and base64. The next event of that kind has the whole character.
    case begunCharacter = "p"
    /// Which stream the output that follows is of: `stdout` or `stderr`.
    case stream = "s"
    /// The exit code, in digits.
    case exit = "x"
    /// A frame that shows nothing: what it was, in words.
    case silent = "n"
    /// A frame that came before its turn, in full; what it shows follows when its turn has come.
    case early = "h"
}

/// One event line, `[seconds,"code","data"]`. [value] Written in one way only: six decimals, and escapes only where JSON needs them.
package struct RecordingEvent: Sendable, Equatable {
    /// Microseconds since the start.
    package var time: Int64
    /// Any letter: a player skips what it does not know, and so does this reader.
    package var code: String
    package var data: String

    package init(time: Int64, code: String, data: String) {
        self.time = time
        self.code = code
        self.data = data
    }

    package init(time: Int64, _ code: RecordingCode, _ data: String) {
        self.init(time: time, code: code.rawValue, data: data)
    }

    package var known: RecordingCode? { RecordingCode(rawValue: code) }

    // MARK: Writing

    /// With its line feed.
    package func write(to line: inout [UInt8]) {
        line.append(UInt8(ascii: "["))
        Self.write(time: time, to: &line)
        line.append(UInt8(ascii: ","))
        Self.write(string: code, to: &line)
        line.append(UInt8(ascii: ","))
        Self.write(string: data, to: &line)
        line.append(UInt8(ascii: "]"))
        line.append(UInt8(ascii: "\n"))
    }

    package var line: [UInt8] {
        var line: [UInt8] = []
        write(to: &line)
        return line
    }

    private static func write(time: Int64, to line: inout [UInt8]) {
        line.append(decimal: time / 1_000_000)
        line.append(UInt8(ascii: "."))
        var divisor: Int64 = 100_000
        while divisor > 0 {
            line.append(UInt8(ascii: "0") + UInt8(time / divisor % 10))
            divisor /= 10
        }
    }

    private static let hex = Array("0123456789abcdef".utf8)

    private static func write(string: String, to line: inout [UInt8]) {
        line.append(UInt8(ascii: "\""))
        var string = string
        string.withUTF8 { bytes in
            line.reserveCapacity(line.count + bytes.count + 8)
            var start = 0
            for index in bytes.indices {
                let byte = bytes[index]
                guard byte < 0x20 || byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\") else { continue }
                line.append(contentsOf: bytes[start..<index])
                start = index + 1
                line.append(UInt8(ascii: "\\"))
                switch byte {
                case 0x0a: line.append(UInt8(ascii: "n"))
                case 0x0d: line.append(UInt8(ascii: "r"))
                case 0x09: line.append(UInt8(ascii: "t"))
                case 0x00..<0x20: line += [UInt8(ascii: "u"), 0x30, 0x30, hex[Int(byte >> 4)], hex[Int(byte & 15)]]
                default: line.append(byte)
                }
            }
            line.append(contentsOf: bytes[start...])
        }
        line.append(UInt8(ascii: "\""))
    }

    // MARK: Reading

    /// Reads what this or any other recorder of asciicast v2 writes; nil for what is no event.
    package init?(line: some Sequence<UInt8>) {
        var scanner = EventScanner(Array(line))
        guard scanner.take(UInt8(ascii: "[")), let time = scanner.time(), scanner.take(UInt8(ascii: ",")), let code = scanner.string(),
            scanner.take(UInt8(ascii: ",")), let data = scanner.string(), scanner.take(UInt8(ascii: "]")), scanner.isAtEnd
        else { return nil }
        self.init(time: time, code: code, data: data)
    }
}

/// Reads the three members of an event.
private struct EventScanner {
    private let bytes: [UInt8]
    private var position = 0

    init(_ bytes: [UInt8]) { self.bytes = bytes }

    private var next: UInt8? { position < bytes.count ? bytes[position] : nil }

    private mutating func skipBlanks() {
        while let byte = next, [0x20, 0x09, 0x0a, 0x0d].contains(byte) { position += 1 }
    }

    var isAtEnd: Bool {
        mutating get {
            skipBlanks()
            return position == bytes.count
        }
    }

    mutating func take(_ byte: UInt8) -> Bool {
        skipBlanks()
        guard next == byte else { return false }
        position += 1
        return true
    }

    /// Microseconds.
    mutating func time() -> Int64? {
        skipBlanks()
        let start = position
        while let byte = next, (0x30...0x39).contains(byte) || [0x2e, 0x65, 0x45, 0x2b, 0x2d].contains(byte) { position += 1 }
        guard let seconds = Double(String(decoding: bytes[start..<position], as: UTF8.self)), seconds >= 0, seconds < 1e9 else {
            return nil
        }
        return Int64((seconds * 1_000_000).rounded())
    }

    mutating func string() -> String? {
        guard take(UInt8(ascii: "\"")) else { return nil }
        var text: [UInt8] = []
        while let byte = next {
            position += 1
            switch byte {
            case UInt8(ascii: "\""): return String(validating: text, as: UTF8.self)
            case 0x00..<0x20: return nil
            case UInt8(ascii: "\\"): guard escape(into: &text) else { return nil }
            default: text.append(byte)
            }
        }
        return nil
    }

    private mutating func escape(into text: inout [UInt8]) -> Bool {
        guard let byte = next else { return false }
        position += 1
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): text.append(byte)
        case UInt8(ascii: "b"): text.append(0x08)
        case UInt8(ascii: "f"): text.append(0x0c)
        case UInt8(ascii: "n"): text.append(0x0a)
        case UInt8(ascii: "r"): text.append(0x0d)
        case UInt8(ascii: "t"): text.append(0x09)
        case UInt8(ascii: "u"):
            guard var value = unit() else { return false }
            if (0xd800..<0xdc00).contains(value) {
                guard next == UInt8(ascii: "\\") else { return false }
                position += 1
                guard next == UInt8(ascii: "u") else { return false }
                position += 1
                guard let low = unit(), (0xdc00..<0xe000).contains(low) else { return false }
                value = 0x10000 + (value - 0xd800) << 10 + (low - 0xdc00)
            }
            guard let scalar = Unicode.Scalar(value) else { return false }
            text += Array(String(Character(scalar)).utf8)
        default: return false
        }
        return true
    }

    private mutating func unit() -> UInt32? {
        guard position + 4 <= bytes.count else { return nil }
        defer { position += 4 }
        return UInt32(String(decoding: bytes[position..<position + 4], as: UTF8.self), radix: 16)
    }
}
