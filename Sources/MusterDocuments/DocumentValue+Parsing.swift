extension DocumentValue {
    package static let maximumDepth = 64

    /// Reads strict JSON (RFC 8259), and refuses what its readers disagree about: members given twice, unpaired surrogates, invalid
    /// UTF-8; and what is nested more than `maximumDepth` deep.
    package init(json: [UInt8]) throws(DocumentError) {
        var parser = JSONParser(json)
        self = try parser.document()
    }

    /// How deep lists and objects are nested; stops counting just above the limit.
    var isTooDeep: Bool { isDeeper(than: Self.maximumDepth) }

    private func isDeeper(than limit: Int) -> Bool {
        switch self {
        case .array(let elements): limit == 0 || elements.contains { $0.isDeeper(than: limit - 1) }
        case .object(let members): limit == 0 || members.values.contains { $0.isDeeper(than: limit - 1) }
        default: false
        }
    }
}

private struct JSONParser {
    private let bytes: [UInt8]
    private var position = 0

    init(_ bytes: [UInt8]) {
        self.bytes = bytes
    }

    mutating func document() throws(DocumentError) -> DocumentValue {
        skipSpace()
        guard position < bytes.count else { throw failure("The text is empty; a JSON object is expected.") }
        let value = try self.value(depth: 0)
        skipSpace()
        guard position == bytes.count else { throw failure("More text follows the end of the JSON value.") }
        return value
    }

    private mutating func value(depth: Int) throws(DocumentError) -> DocumentValue {
        guard let byte = peek else { throw failure("The text ends where a value is expected.") }
        switch byte {
        case UInt8(ascii: "{"): return .object(try object(depth: depth + 1))
        case UInt8(ascii: "["): return .array(try array(depth: depth + 1))
        case UInt8(ascii: "\""): return .string(try string())
        case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"): return try number()
        default:
            if take("true") { return .bool(true) }
            if take("false") { return .bool(false) }
            if take("null") { return .null }
            throw failure("This is not a JSON value.")
        }
    }

    private func checkDepth(_ depth: Int) throws(DocumentError) {
        guard depth <= DocumentValue.maximumDepth else {
            throw failure("Nested more than \(DocumentValue.maximumDepth) levels deep.")
        }
    }

    private mutating func object(depth: Int) throws(DocumentError) -> [String: DocumentValue] {
        try checkDepth(depth)
        position += 1
        var members: [String: DocumentValue] = [:]
        skipSpace()
        if take("}") { return members }
        while true {
            skipSpace()
            let start = position
            guard peek == UInt8(ascii: "\"") else { throw failure("A member's name in double quotes is expected.") }
            let name = try string()
            skipSpace()
            guard take(":") else { throw failure("':' is expected after a member's name.") }
            skipSpace()
            guard members[name] == nil else { throw failure("Member '\(name.prefix(100))' is given twice.", at: start) }
            members[name] = try value(depth: depth)
            skipSpace()
            if take(",") { continue }
            if take("}") { return members }
            throw failure("',' or '}' is expected.")
        }
    }

    private mutating func array(depth: Int) throws(DocumentError) -> [DocumentValue] {
        try checkDepth(depth)
        position += 1
        var elements: [DocumentValue] = []
        skipSpace()
        if take("]") { return elements }
        while true {
            skipSpace()
            elements.append(try value(depth: depth))
            skipSpace()
            if take(",") { continue }
            if take("]") { return elements }
            throw failure("',' or ']' is expected.")
        }
    }

    private mutating func string() throws(DocumentError) -> String {
        let start = position
        position += 1
        var text: [UInt8] = []
        while let byte = peek {
            position += 1
            switch byte {
            case UInt8(ascii: "\""):
                guard let string = String(validating: text, as: UTF8.self) else { throw failure("Invalid UTF-8.", at: start) }
                return string
            case UInt8(ascii: "\\"):
                text.append(contentsOf: String(Character(try escape())).utf8)
            case 0..<0x20:
                throw failure("A control character in a string must be escaped.", at: position - 1)
            default:
                text.append(byte)
            }
        }
        throw failure("This string has no end.", at: start)
    }

    private mutating func escape() throws(DocumentError) -> Unicode.Scalar {
        let start = position - 1
        guard let byte = peek else { throw failure("The text ends within a string.") }
        position += 1
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): return Unicode.Scalar(byte)
        case UInt8(ascii: "b"): return "\u{8}"
        case UInt8(ascii: "f"): return "\u{C}"
        case UInt8(ascii: "n"): return "\n"
        case UInt8(ascii: "r"): return "\r"
        case UInt8(ascii: "t"): return "\t"
        case UInt8(ascii: "u"):
            let first = try hexadecimal()
            if let scalar = Unicode.Scalar(first) { return scalar }
            guard (0xD800..<0xDC00).contains(first), take("\\u") else { throw failure("Unpaired surrogate.", at: start) }
            let second = try hexadecimal()
            guard (0xDC00..<0xE000).contains(second),
                let scalar = Unicode.Scalar(0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00))
            else { throw failure("Unpaired surrogate.", at: start) }
            return scalar
        default: throw failure("Unknown escape in a string.", at: start)
        }
    }

    private mutating func hexadecimal() throws(DocumentError) -> UInt32 {
        var value: UInt32 = 0
        for _ in 0..<4 {
            guard let byte = peek, let digit = Character(Unicode.Scalar(byte)).hexDigitValue, byte < 0x80 else {
                throw failure("\\u needs four hexadecimal digits.")
            }
            value = value << 4 | UInt32(digit)
            position += 1
        }
        return value
    }

    private mutating func number() throws(DocumentError) -> DocumentValue {
        let start = position
        var isWhole = true
        _ = take("-")
        guard let first = peek, isDigit(first) else { throw failure("This is not a number.", at: start) }
        if first == UInt8(ascii: "0") {
            position += 1
            if let next = peek, isDigit(next) { throw failure("A number may not start with 0.", at: start) }
        } else {
            skipDigits()
        }
        if take(".") {
            isWhole = false
            guard let digit = peek, isDigit(digit) else { throw failure("Digits are expected after the point.", at: start) }
            skipDigits()
        }
        if take("e") || take("E") {
            isWhole = false
            if !take("+") { _ = take("-") }
            guard let digit = peek, isDigit(digit) else { throw failure("Digits are expected in the exponent.", at: start) }
            skipDigits()
        }
        let text = String(decoding: bytes[start..<position], as: UTF8.self)
        if isWhole, let value = Int64(text) { return .integer(value) }
        guard let value = Double(text), value.isFinite else { throw failure("This number is too large.", at: start) }
        return .number(value)
    }

    private var peek: UInt8? { position < bytes.count ? bytes[position] : nil }

    private func isDigit(_ byte: UInt8) -> Bool { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) }

    private mutating func skipDigits() {
        while let byte = peek, isDigit(byte) { position += 1 }
    }

    private mutating func skipSpace() {
        while let byte = peek, byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09 { position += 1 }
    }

    private mutating func take(_ word: StaticString) -> Bool {
        let count = word.utf8CodeUnitCount
        guard bytes.count - position >= count else { return false }
        let matches = word.withUTF8Buffer { $0.elementsEqual(bytes[position..<position + count]) }
        if matches { position += count }
        return matches
    }

    private func failure(_ reason: String, at offset: Int? = nil) -> DocumentError {
        let end = min(offset ?? position, bytes.count)
        var line = 1
        var column = 1
        for byte in bytes[..<end] {
            if byte == 0x0A {
                line += 1
                column = 1
            } else if byte & 0xC0 != 0x80 {
                column += 1
            }
        }
        return DocumentError(.content, "Not a usable JSON document, line \(line), column \(column): \(reason)")
    }
}
