package import MusterWire

/// An element of an answer of the query protocol, which is XML: a name, and either text or elements. [value]
///
/// Only what such answers are made of is read: elements, text, the five entities, numbered characters. Attributes and the declaration are
/// skipped; everything else (comments, CDATA, a DTD with entities of its own) is no answer.
/// https://smithy.io/2.0/aws/protocols/aws-query-protocol.html
package struct QueryAnswer: Sendable, Equatable {
    package let name: String
    package let text: String
    package let elements: [QueryAnswer]

    private static let deepest = 16

    package init(name: String, text: String = "", elements: [QueryAnswer] = []) {
        self.name = name
        self.text = text
        self.elements = elements
    }

    /// Nil if it is no such answer.
    package init?(xml: [UInt8]) {
        var reader = Reader(xml[...])
        guard let root = reader.root() else { return nil }
        self = root
    }

    package subscript(name: String) -> QueryAnswer? { elements.first { $0.name == name } }

    /// The text of an element, wherever it is below this one.
    package func value(_ name: String) -> String? {
        for element in elements {
            if element.name == name, element.elements.isEmpty { return element.text }
            if let value = element.value(name) { return value }
        }
        return nil
    }

    /// The elements of a list.
    package func list(_ name: String) -> [QueryAnswer] { self[name]?.elements.filter { $0.name == "member" } ?? [] }

    /// What a failed call answered.
    static func error(status: Int, body: [UInt8]) -> APIError {
        let answer = QueryAnswer(xml: body)
        return APIError(code: answer?.value("Code") ?? String(status), message: answer?.value("Message") ?? "", status: status)
    }

    private struct Reader {
        private var rest: ArraySlice<UInt8>

        init(_ bytes: ArraySlice<UInt8>) { rest = bytes }

        mutating func root() -> QueryAnswer? {
            skipSpace()
            if rest.starts(with: Array("<?".utf8)) {
                guard let end = rest.firstIndex(of: UInt8(ascii: ">")) else { return nil }
                rest = rest[(end + 1)...]
                skipSpace()
            }
            guard let root = element(depth: 1) else { return nil }
            skipSpace()
            return rest.isEmpty ? root : nil
        }

        private mutating func element(depth: Int) -> QueryAnswer? {
            guard depth <= QueryAnswer.deepest, var tag = tag(), !tag.hasPrefix("/"), !tag.hasPrefix("!"), !tag.hasPrefix("?") else {
                return nil
            }
            let isEmpty = tag.hasSuffix("/")
            if isEmpty { tag.removeLast() }
            guard let name = tag.split(whereSeparator: { $0 == " " || $0 == "\n" || $0 == "\t" || $0 == "\r" }).first.map(String.init)
            else {
                return nil
            }
            if isEmpty { return QueryAnswer(name: name) }
            var text: [UInt8] = []
            var elements: [QueryAnswer] = []
            while true {
                guard let next = rest.firstIndex(of: UInt8(ascii: "<")) else { return nil }
                text += rest[..<next]
                rest = rest[next...]
                if rest.starts(with: Array("</".utf8)) {
                    guard let end = self.tag(), end.dropFirst() == name[...] else { return nil }
                    // Between elements there is nothing but the layout.
                    guard elements.isEmpty else { return QueryAnswer(name: name, elements: elements) }
                    return Self.plain(text).map { QueryAnswer(name: name, text: $0) }
                }
                guard let element = element(depth: depth + 1) else { return nil }
                elements.append(element)
            }
        }

        /// What stands between `<` and `>`.
        private mutating func tag() -> String? {
            guard rest.first == UInt8(ascii: "<"), let end = rest.firstIndex(of: UInt8(ascii: ">")) else { return nil }
            let tag = String(decoding: rest[(rest.startIndex + 1)..<end], as: UTF8.self)
            rest = rest[(end + 1)...]
            return tag
        }

        private mutating func skipSpace() {
            rest = rest.drop { $0 == 0x20 || $0 == 0x0a || $0 == 0x09 || $0 == 0x0d }
        }

        private static func plain(_ bytes: [UInt8]) -> String? {
            guard bytes.contains(UInt8(ascii: "&")) else { return String(decoding: bytes, as: UTF8.self) }
            var plain = ""
            let parts = bytes.split(separator: UInt8(ascii: "&"), omittingEmptySubsequences: false)
            plain += String(decoding: parts[0], as: UTF8.self)
            for part in parts.dropFirst() {
                guard let end = part.firstIndex(of: UInt8(ascii: ";")),
                    let scalar = scalar(String(decoding: part[..<end], as: UTF8.self))
                else { return nil }
                plain.unicodeScalars.append(scalar)
                plain += String(decoding: part[(end + 1)...], as: UTF8.self)
            }
            return plain
        }

        private static func scalar(_ entity: String) -> Unicode.Scalar? {
            switch entity {
            case "lt": return "<"
            case "gt": return ">"
            case "quot": return "\""
            case "apos": return "'"
            case "amp": return "&"
            default:
                guard entity.hasPrefix("#") else { return nil }
                let number = entity.hasPrefix("#x") ? UInt32(entity.dropFirst(2), radix: 16) : UInt32(entity.dropFirst())
                return number.flatMap(Unicode.Scalar.init)
            }
        }
    }
}
