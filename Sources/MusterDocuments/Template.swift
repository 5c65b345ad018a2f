/// Puts parameter values where a document refers to them: `{{ name }}`.
///
/// One pass from left to right: what a value brings with it is never looked at again, so braces in a value stay braces.
/// A string that is nothing but a reference becomes the value itself, of whatever type; inside other text the value is
/// spliced in as text. A reference to something unknown stays as it is.
package struct Template: Sendable, Hashable {
    package let values: [String: DocumentValue]
    private let sizes: [String: Int]

    package init(values: [String: DocumentValue]) {
        self.values = values
        sizes = values.mapValues { Self.text(of: $0).utf8.count }
    }

    /// About how many bytes a value has once resolved, without resolving it: few bytes can stand for very many.
    func size(of value: DocumentValue) -> Int {
        switch value {
        case .null, .bool, .integer, .number: 8
        case .string(let text):
            Self.pieces(of: text).reduce(2) { size, piece in
                switch piece {
                case .text(let text): size + text.utf8.count
                case .reference(let name, let original): size + (sizes[name] ?? original.utf8.count)
                }
            }
        case .array(let elements): elements.reduce(2) { $0 + size(of: $1) }
        case .object(let members): members.reduce(2) { $0 + $1.key.utf8.count + size(of: $1.value) }
        }
    }

    /// Works through lists and objects; keys are not touched.
    package func resolve(_ value: DocumentValue) -> DocumentValue {
        switch value {
        case .null, .bool, .integer, .number: value
        case .string(let text): resolve(text)
        case .array(let elements): .array(elements.map(resolve))
        case .object(let members): .object(members.mapValues(resolve))
        }
    }

    private func resolve(_ text: String) -> DocumentValue {
        let pieces = Self.pieces(of: text)
        if pieces.count == 1, case .reference(let name, _) = pieces[0], let value = values[name] {
            return value
        }
        var resolved = ""
        for piece in pieces {
            switch piece {
            case .text(let text): resolved += text
            case .reference(let name, let original):
                guard let value = values[name] else {
                    resolved += original
                    continue
                }
                resolved += Self.spliced(Self.text(of: value))
            }
        }
        return .string(resolved)
    }

    private static func text(of value: DocumentValue) -> String { value.string ?? value.json }

    /// Systems Manager reads `$$` in a spliced value as an escaped `$`.
    private static func spliced(_ text: String) -> String {
        guard text.utf8.contains(UInt8(ascii: "$")) else { return text }
        var result = String.UnicodeScalarView()
        var previousIsDollar = false
        for scalar in text.unicodeScalars {
            if scalar == "$", previousIsDollar {
                previousIsDollar = false
                continue
            }
            previousIsDollar = scalar == "$"
            result.append(scalar)
        }
        return String(result)
    }

    // MARK: Reading

    enum Piece: Sendable, Hashable {
        case text(String)
        case reference(name: String, original: String)
    }

    static func pieces(of text: String) -> [Piece] {
        let bytes = Array(text.utf8)
        var pieces: [Piece] = []
        var start = 0
        var position = 0
        func flush(upTo end: Int) {
            if end > start { pieces.append(.text(String(decoding: bytes[start..<end], as: UTF8.self))) }
        }
        while position < bytes.count {
            guard bytes[position] == UInt8(ascii: "{"), let (name, end) = reference(in: bytes, at: position) else {
                position += 1
                continue
            }
            flush(upTo: position)
            pieces.append(.reference(name: name, original: String(decoding: bytes[position..<end], as: UTF8.self)))
            position = end
            start = end
        }
        flush(upTo: bytes.count)
        return pieces
    }

    /// A reference that starts exactly here: its name and the index after it.
    private static func reference(in bytes: [UInt8], at start: Int) -> (name: String, end: Int)? {
        guard start + 1 < bytes.count, bytes[start + 1] == UInt8(ascii: "{") else { return nil }
        var position = start + 2
        func skipSpace() {
            while position < bytes.count, isSpace(bytes[position]) { position += 1 }
        }
        skipSpace()
        let nameStart = position
        while position < bytes.count, bytes[position].isLetterOrDigit { position += 1 }
        let nameEnd = position
        guard nameEnd > nameStart else { return nil }
        skipSpace()
        guard position + 1 < bytes.count, bytes[position] == UInt8(ascii: "}"), bytes[position + 1] == UInt8(ascii: "}") else {
            return nil
        }
        return (String(decoding: bytes[nameStart..<nameEnd], as: UTF8.self), position + 2)
    }

    private static func isSpace(_ byte: UInt8) -> Bool {
        byte == 0x20 || (0x09...0x0D).contains(byte)
    }

    /// The names that a text refers to, in order.
    static func references(in text: String) -> [String] {
        pieces(of: text).compactMap { if case .reference(let name, _) = $0 { name } else { nil } }
    }

    /// `{{ssm:name}}` or `{{ ssm-secure:name }}`.
    static func hasStoreReference(_ text: String) -> Bool {
        var rest = text.utf8[...]
        while let open = rest.firstIndex(of: UInt8(ascii: "{")) {
            rest = rest[rest.index(after: open)...]
            guard rest.first == UInt8(ascii: "{") else { continue }
            let inside = rest.dropFirst().drop(while: isSpace)
            if inside.starts(with: "ssm:".utf8) || inside.starts(with: "ssm-secure:".utf8) { return true }
        }
        return false
    }
}
