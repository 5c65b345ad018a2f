/// A text of a policy with its wildcards and variables. [value]
///
/// `*` is any characters, `?` is one; `${aws:username}` is what the request says of itself and never a wildcard,
/// `${aws:username, 'nobody'}` has a default, `${*}`, `${?}` and `${$}` are the characters.
/// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_variables.html
struct PolicyPattern: Sendable, Hashable {
    enum Part: Sendable, Hashable {
        case literal([UInt8])
        case any
        case one
        case variable(name: String, default: String?)
    }

    /// What most patterns are, and what needs no search.
    private enum Shape: Sendable, Hashable {
        case everything
        case text([UInt8])
        case prefix([UInt8])
        case other
    }

    let parts: [Part]
    private let shape: Shape

    static let everything = PolicyPattern(parts: [.any])

    init(parts: [Part]) {
        self.parts = parts
        shape =
            switch (parts.count, parts.first, parts.last) {
            case (0, _, _): .text([])
            case (1, .any, _): .everything
            case (1, .literal(let bytes), _): .text(bytes)
            case (2, .literal(let bytes), .any): .prefix(bytes)
            default: .other
            }
    }

    /// The keys that it takes values from.
    var variables: [String] {
        parts.compactMap { if case .variable(let name, _) = $0 { name } else { nil } }
    }

    /// Whether the whole text matches. Compared are the bytes: what only looks alike is different.
    ///
    /// There is one place to go back to, the last `*`, so the work is at most the product of the lengths, whatever the pattern is.
    func matches(_ text: String, keys: ConditionKeys = ConditionKeys()) -> Bool {
        switch shape {
        case .everything: return true
        case .text(let bytes): return text.utf8.elementsEqual(bytes)
        case .prefix(let bytes): return text.utf8.starts(with: bytes)
        case .other: break
        }
        guard let elements = elements(for: keys) else { return false }
        let text = Array(text.utf8)
        var position = 0
        var element = 0
        var retry: (element: Int, position: Int)?
        while true {
            if element < elements.count, elements[element] == .any {
                retry = (element + 1, position)
                element += 1
                continue
            }
            if position == text.count, element == elements.count { return true }
            if position < text.count, element < elements.count {
                switch elements[element] {
                case .byte(let byte) where byte == text[position]:
                    position += 1
                    element += 1
                    continue
                case .one:
                    position = Self.characterEnd(text, position)
                    element += 1
                    continue
                default: break
                }
            }
            guard let back = retry, back.position < text.count else { return false }
            retry = (back.element, Self.characterEnd(text, back.position))
            position = Self.characterEnd(text, back.position)
            element = back.element
        }
    }

    private enum Element: Hashable {
        case byte(UInt8)
        case any
        case one
    }

    /// Nil if a variable has no value: then nothing matches.
    private func elements(for keys: ConditionKeys) -> [Element]? {
        var elements: [Element] = []
        for part in parts {
            switch part {
            case .literal(let bytes): elements += bytes.map(Element.byte)
            case .any: if elements.last != .any { elements.append(.any) }
            case .one: elements.append(.one)
            case .variable(let name, let fallback):
                guard let value = keys[name]?.first ?? fallback else { return nil }
                elements += value.utf8.map(Element.byte)
            }
        }
        return elements
    }

    private static func characterEnd(_ text: [UInt8], _ position: Int) -> Int {
        var end = position + 1
        while end < text.count, text[end] & 0xC0 == 0x80 { end += 1 }
        return end
    }

    /// The text, if it depends on nothing.
    func plainText(keys: ConditionKeys) -> String? {
        var bytes: [UInt8] = []
        for part in parts {
            switch part {
            case .literal(let literal): bytes += literal
            case .any, .one: return nil
            case .variable(let name, let fallback):
                guard let value = keys[name]?.first ?? fallback else { return nil }
                bytes += Array(value.utf8)
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}

extension PolicyPattern {
    /// How a text is read: what is special in it.
    struct Reading: Sendable {
        var wildcards = true
        /// Not in policies of version 2008-10-17.
        var variables = true
    }

    init(_ text: String, _ reading: Reading, at path: String) throws(PolicyError) {
        var parts: [Part] = []
        var literal: [UInt8] = []
        func flush() {
            if !literal.isEmpty { parts.append(.literal(literal)) }
            literal = []
        }
        var rest = Substring(text)
        while let character = rest.unicodeScalars.first {
            if rest.hasPrefix("${") {
                guard reading.variables else {
                    throw PolicyError(
                        at: path, "Version 2008-10-17 knows no variables and would take ${ as it stands. Use \"Version\": \"2012-10-17\".")
                }
                guard let end = rest.firstIndex(of: "}") else {
                    throw PolicyError(at: path, "The variable in '\(text.prefix(200))' has no }.")
                }
                let name = String(rest[rest.index(rest.startIndex, offsetBy: 2)..<end])
                rest = rest[rest.index(after: end)...]
                if ["*", "?", "$"].contains(name) {
                    literal += Array(name.utf8)
                } else {
                    flush()
                    parts.append(try Self.variable(name, at: path))
                }
                continue
            }
            rest.unicodeScalars.removeFirst()
            switch character {
            case "*" where reading.wildcards:
                flush()
                if parts.last != .any { parts.append(.any) }
            case "?" where reading.wildcards:
                flush()
                parts.append(.one)
            default: literal += Array(String(character).utf8)
            }
        }
        flush()
        self.init(parts: parts)
    }

    private static func variable(_ text: String, at path: String) throws(PolicyError) -> Part {
        var name = Substring(text)
        var fallback: String?
        if let comma = text.firstIndex(of: ",") {
            name = text[..<comma]
            let quoted = text[text.index(after: comma)...].drop { $0 == " " }
            guard quoted.utf8.count >= 2, quoted.first == "'", quoted.last == "'" else {
                throw PolicyError(at: path, "The default in ${\(text.prefix(200))} stands in single quotes: ${aws:username, 'nobody'}.")
            }
            fallback = String(quoted.dropFirst().dropLast())
        }
        let key = try ConditionKey.named(String(name), at: path)
        guard !key.isMultivalued else {
            throw PolicyError(at: path, "\(name) can have several values, so it cannot be a variable.")
        }
        return .variable(name: key.name, default: fallback)
    }
}
