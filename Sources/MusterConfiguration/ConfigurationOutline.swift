/// The line of every key and element of a JSON5 text, and the refusal, by line, of what is not JSON5 or is given twice.
///
/// The decoder knows neither lines nor, in its errors, what is wrong. This holds the text against the grammar and leaves to the
/// decoder what the values are. https://spec.json5.org
struct ConfigurationOutline {
    private(set) var lines: [ConfigurationPath: Int] = [:]

    private let source: String
    private let text: [Unicode.Scalar]
    private var position = 0
    private var line = 1

    private static let maximumDepth = 64

    init(_ text: String, source: String) throws(ConfigurationError) {
        self.source = source
        self.text = Array(text.unicodeScalars)
        if self.text.first == "\u{FEFF}" { position = 1 }
        try value(at: ConfigurationPath())
        skipSpace()
        guard peek == nil else { throw failure("there is more text after the end") }
    }

    private mutating func value(at path: ConfigurationPath) throws(ConfigurationError) {
        guard path.parts.count <= Self.maximumDepth else { throw failure("nested more than \(Self.maximumDepth) levels deep") }
        skipSpace()
        // A key's own line is the more useful one.
        if lines[path] == nil { lines[path] = line }
        switch peek {
        case nil: throw failure("the text ends where a value is expected")
        case "{": try members(at: path)
        case "[": try elements(at: path)
        case "\"", "'": _ = try string()
        default:
            let literal = word()
            guard ["true", "false", "null"].contains(literal) || Self.isNumber(literal) else {
                throw failure("a value is expected; text needs quotes")
            }
        }
    }

    private mutating func members(at path: ConfigurationPath) throws(ConfigurationError) {
        let start = line
        advance()
        while true {
            skipSpace()
            if take("}") { return }
            guard let first = peek else { throw failure("the '{' of line \(start) is never closed") }
            let keyLine = line
            let isQuoted = first == "\"" || first == "'"
            let key = isQuoted ? try string() : word()
            guard isQuoted || Self.isIdentifier(key) else { throw failure("a key is expected") }
            guard !key.contains("\\") else { throw failure("a key is written with an escape; write it plainly") }
            let keyPath = path.key(key)
            if let first = lines.updateValue(keyLine, forKey: keyPath) {
                throw ConfigurationError(
                    "\(source): '\(keyPath)' at line \(keyLine) is given a second time; the first is at line \(first).")
            }
            skipSpace()
            guard take(":") else { throw failure("':' is expected after the key '\(keyPath)'") }
            try value(at: keyPath)
            skipSpace()
            if !take(",") {
                guard peek == "}" else { throw failure("',' or '}' is expected after '\(keyPath)'") }
            }
        }
    }

    private mutating func elements(at path: ConfigurationPath) throws(ConfigurationError) {
        let start = line
        advance()
        var index = 0
        while true {
            skipSpace()
            if take("]") { return }
            guard peek != nil else { throw failure("the '[' of line \(start) is never closed") }
            try value(at: path.index(index))
            index += 1
            skipSpace()
            if !take(",") {
                guard peek == "]" else { throw failure("',' or ']' is expected in the list that starts at line \(start)") }
            }
        }
    }

    /// A string as it is written, escapes and all.
    private mutating func string() throws(ConfigurationError) -> String {
        let quote = peek
        let start = position
        advance()
        while let scalar = peek, scalar != quote {
            if scalar == "\\" {
                advance()
                // An escaped line end goes on in the next line.
                if peek == "\r", following == "\n" { advance() }
            } else if scalar == "\n" || scalar == "\r" {
                throw failure("a string does not end on its line")
            }
            advance()
        }
        guard peek == quote else { throw failure("a string does not end") }
        advance()
        var content = String.UnicodeScalarView()
        content.append(contentsOf: text[(start + 1)..<(position - 1)])
        return String(content)
    }

    private mutating func word() -> String {
        let start = position
        while let scalar = peek, !isSpace(scalar), !",:]}[{/\"'".unicodeScalars.contains(scalar) { advance() }
        var content = String.UnicodeScalarView()
        content.append(contentsOf: text[start..<position])
        return String(content)
    }

    /// Close enough: the decoder has the last word.
    private static func isNumber(_ word: String) -> Bool {
        let digits = word.first == "-" || word.first == "+" ? word.dropFirst() : word[...]
        guard let first = digits.first, first == "." || ("0"..."9").contains(first) else { return false }
        return digits.allSatisfy { $0.isHexDigit || ".xXeE+-".contains($0) }
    }

    private static func isIdentifier(_ word: String) -> Bool {
        guard let first = word.unicodeScalars.first, first.properties.isIDStart || first == "$" || first == "_" else { return false }
        return word.unicodeScalars.allSatisfy { $0.properties.isIDContinue || $0 == "$" }
    }

    private mutating func skipSpace() {
        while let scalar = peek {
            if isSpace(scalar) {
                advance()
            } else if scalar == "/", following == "/" {
                while let scalar = peek, !isLineEnd(scalar) { advance() }
            } else if scalar == "/", following == "*" {
                advance()
                advance()
                while peek != nil, !(peek == "*" && following == "/") { advance() }
                advance()
                advance()
            } else {
                return
            }
        }
    }

    private var peek: Unicode.Scalar? { position < text.count ? text[position] : nil }
    private var following: Unicode.Scalar? { position + 1 < text.count ? text[position + 1] : nil }

    private mutating func advance() {
        guard let scalar = peek else { return }
        if scalar == "\n" || (scalar == "\r" && following != "\n") { line += 1 }
        position += 1
    }

    private func isSpace(_ scalar: Unicode.Scalar) -> Bool {
        scalar.properties.isWhitespace || scalar == "\u{FEFF}"
    }

    private func isLineEnd(_ scalar: Unicode.Scalar) -> Bool {
        scalar == "\n" || scalar == "\r" || scalar == "\u{2028}" || scalar == "\u{2029}"
    }

    private mutating func take(_ scalar: Unicode.Scalar) -> Bool {
        guard peek == scalar else { return false }
        advance()
        return true
    }

    private func failure(_ reason: String) -> ConfigurationError {
        ConfigurationError("\(source): not JSON5 at line \(line): \(reason).")
    }
}
