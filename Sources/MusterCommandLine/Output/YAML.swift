package import MusterWire

/// JSON values as block YAML that readers of YAML 1.1 and 1.2 understand alike. [value]
///
/// A string is written plain only when no reader can take it for anything else; all others are double-quoted, with what does not
/// print escaped (https://yaml.org/spec/1.2.2/#57-escaped-characters).
package enum YAML {
    package static func text(_ value: JSONValue) -> String {
        switch value {
        case .object(let members) where !members.isEmpty: mapping(members, indent: 0)
        case .array(let elements) where !elements.isEmpty: sequence(elements, indent: 0)
        default: scalar(value) + "\n"
        }
    }

    private static func mapping(_ members: [String: JSONValue], indent: Int) -> String {
        members.sorted { $0.key < $1.key }.map { key, value in
            String(repeating: " ", count: indent) + string(key) + ":" + after(value, indent: indent)
        }.joined()
    }

    private static func after(_ value: JSONValue, indent: Int) -> String {
        switch value {
        case .object(let members) where !members.isEmpty: "\n" + mapping(members, indent: indent + 2)
        case .array(let elements) where !elements.isEmpty: "\n" + sequence(elements, indent: indent)
        default: " " + scalar(value) + "\n"
        }
    }

    private static func sequence(_ elements: [JSONValue], indent: Int) -> String {
        elements.map { element in
            let dash = String(repeating: " ", count: indent) + "- "
            switch element {
            case .object(let members) where !members.isEmpty:
                // The first member stands behind the dash.
                return dash + mapping(members, indent: indent + 2).dropFirst(indent + 2)
            case .array(let inner) where !inner.isEmpty:
                return dash + sequence(inner, indent: indent + 2).dropFirst(indent + 2)
            default:
                return dash + scalar(element) + "\n"
            }
        }.joined()
    }

    private static func scalar(_ value: JSONValue) -> String {
        switch value {
        case .null: "null"
        case .bool(let flag): flag ? "true" : "false"
        case .integer(let number): String(number)
        case .number(let number): self.number(number)
        case .string(let text): string(text)
        case .array: "[]"
        case .object: "{}"
        }
    }

    /// YAML 1.1 wants a point in a number with an exponent.
    private static func number(_ number: Double) -> String {
        let text = "\(number)"
        guard let exponent = text.firstIndex(of: "e"), !text[..<exponent].contains(".") else { return text }
        return text[..<exponent] + ".0" + text[exponent...]
    }

    private static let words: Set<String> = ["true", "false", "yes", "no", "on", "off", "y", "n", "null", "nan", "inf"]

    private static func string(_ text: String) -> String {
        isPlain(text) ? text : quoted(text)
    }

    /// Begins with a letter or a slash, and has only characters that mean nothing to YAML.
    private static func isPlain(_ text: String) -> Bool {
        guard let first = text.utf8.first, isLetter(first) || first == UInt8(ascii: "/"), text.utf8.last != UInt8(ascii: " ") else {
            return false
        }
        guard !words.contains(text.lowercased()) else { return false }
        return text.utf8.allSatisfy { isLetter($0) || (0x30...0x39).contains($0) || " _-./+@()=".utf8.contains($0) }
    }

    private static func isLetter(_ byte: UInt8) -> Bool {
        (0x41...0x5a).contains(byte) || (0x61...0x7a).contains(byte)
    }

    private static func quoted(_ text: String) -> String {
        var out = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": out += "\\\""
            case "\\": out += "\\\\"
            case "\n": out += "\\n"
            case "\r": out += "\\r"
            case "\t": out += "\\t"
            default:
                let value = scalar.value
                if value <= 0xffff, DisplayText.isHidden(scalar) {
                    let digits = String(value, radix: 16)
                    out += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
                } else if DisplayText.isHidden(scalar) {
                    let digits = String(value, radix: 16)
                    out += "\\U" + String(repeating: "0", count: 8 - digits.count) + digits
                } else {
                    out.unicodeScalars.append(scalar)
                }
            }
        }
        return out + "\""
    }
}
