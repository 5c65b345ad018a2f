/// A pattern of the SSM model (API version 2014-11-06): its text, which error messages repeat, and a matcher written by hand,
/// because a caller's text must never meet a backtracking engine.
package struct Pattern: Sendable {
    package let text: String
    let matches: @Sendable (String) -> Bool

    package static let instanceID = Pattern(text: #"(^i-(\w{8}|\w{17})$)|(^mi-\w{17}$)"#) { text in
        let bytes = text.utf8
        if bytes.starts(with: "i-".utf8) { return (bytes.count == 10 || bytes.count == 19) && bytes.dropFirst(2).allSatisfy(\.isWord) }
        return bytes.starts(with: "mi-".utf8) && bytes.count == 20 && bytes.dropFirst(3).allSatisfy(\.isWord)
    }

    package static let managedInstanceID = Pattern(text: #"(^mi-[0-9a-f]{17}$)|(^eks_c:[0-9A-Za-z][A-Za-z0-9\-_]{0,99}_\w{17}$)"#) { text in
        let bytes = Array(text.utf8)
        if bytes.starts(with: "mi-".utf8) { return bytes.count == 20 && bytes.dropFirst(3).allSatisfy(\.isLowerHex) }
        guard bytes.starts(with: "eks_c:".utf8) else { return false }
        let name = bytes.dropFirst(6).dropLast(18), tail = bytes.suffix(18)
        guard let first = name.first, first.isLetterOrDigit, name.count <= 100, tail.count == 18, tail.first == UInt8(ascii: "_") else {
            return false
        }
        return name.dropFirst().allSatisfy { $0.isWord || $0 == UInt8(ascii: "-") } && tail.dropFirst().allSatisfy(\.isWord)
    }

    package static let documentARN = Pattern(text: #"^[a-zA-Z0-9_\-.:/]{3,128}$"#) { text in
        (3...128).contains(text.utf8.count)
            && text.utf8.allSatisfy { $0.isNameCharacter || $0 == UInt8(ascii: ":") || $0 == UInt8(ascii: "/") }
    }

    package static let documentName = Pattern(text: #"^[a-zA-Z0-9_\-.]{3,128}$"#) { text in
        (3...128).contains(text.utf8.count) && text.utf8.allSatisfy(\.isNameCharacter)
    }

    package static let documentDisplayName = Pattern(text: #"^[\w\.\-\:\/ ]*$"#) { text in
        text.utf8.allSatisfy { $0.isNameCharacter || ":/ ".utf8.contains($0) }
    }

    package static let documentVersionNumber = Pattern(text: "(^[1-9][0-9]*$)") { text in isPositiveInteger(text.utf8) }

    package static let documentVersion = Pattern(text: #"([$]LATEST|[$]DEFAULT|^[1-9][0-9]*$)"#) { text in
        text == "$LATEST" || text == "$DEFAULT" || isPositiveInteger(text.utf8)
    }

    package static let documentVersionName = Pattern(text: #"^[a-zA-Z0-9_\-.]{1,128}$"#) { text in
        (1...128).contains(text.utf8.count) && text.utf8.allSatisfy(\.isNameCharacter)
    }

    package static let maxConcurrency = Pattern(text: "^([1-9][0-9]*|[1-9][0-9]%|[1-9]%|100%)$") { text in
        isPositiveInteger(text.utf8) || isPercentage(text) && text != "0%"
    }

    package static let maxErrors = Pattern(text: "^([1-9][0-9]*|[0]|[1-9][0-9]%|[0-9]%|100%)$") { text in
        text == "0" || isPositiveInteger(text.utf8) || isPercentage(text)
    }

    /// The two other alternatives are contained in the first.
    package static let targetKey = Pattern(text: #"^[\p{L}\p{Z}\p{N}_.:/=\-@]*$|resource-groups:ResourceTypeFilters|resource-groups:Name"#)
    { text in
        text.unicodeScalars.allSatisfy { isTagScalar($0) && $0 != "+" }
    }

    /// Tag keys, tag values and default instance names.
    package static let tagText = Pattern(text: #"^([\p{L}\p{Z}\p{N}_.:/=+\-@]*)$"#) { text in
        text.unicodeScalars.allSatisfy(isTagScalar)
    }

    package static let activationID = Pattern(text: "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$", matches: isLowerUUID)

    package static let notBlank = Pattern(text: #"^(?!\s*$).+"#) { text in
        !text.utf8.contains(0x0a) && !text.utf8.contains(0x0d) && text.utf8.contains { $0 != 0x20 && !(0x09...0x0d).contains($0) }
    }

    /// The length is a constraint of its own; what is left is that `.` matches no line terminator of Java.
    package static let oneLine = Pattern(text: "^.{1,100000}$") { text in
        !text.isEmpty && !text.unicodeScalars.contains { "\n\r\u{85}\u{2028}\u{2029}".unicodeScalars.contains($0) }
    }

    package static let accessRequest = Pattern(text: "^(oi)-[0-9a-f]{12}$") { text in
        text.hasPrefix("oi-") && text.utf8.count == 15
            && text.utf8.dropFirst(3).allSatisfy { (0x30...0x39).contains($0) || (0x61...0x66).contains($0) }
    }

    package static let reason = Pattern(text: "^.{1,256}$") { text in
        !text.isEmpty && !text.unicodeScalars.contains { "\n\r\u{85}\u{2028}\u{2029}".unicodeScalars.contains($0) }
    }

    static func isLowerUUID(_ text: String) -> Bool {
        let bytes = text.utf8
        guard bytes.count == 36 else { return false }
        return bytes.enumerated().allSatisfy { index, byte in
            [8, 13, 18, 23].contains(index) ? byte == UInt8(ascii: "-") : byte.isLowerHex
        }
    }

    private static func isPositiveInteger(_ bytes: String.UTF8View) -> Bool {
        bytes.first != UInt8(ascii: "0") && !bytes.isEmpty && bytes.allSatisfy(\.isDigit)
    }

    private static func isPercentage(_ text: String) -> Bool {
        guard text.utf8.last == UInt8(ascii: "%") else { return false }
        let digits = text.utf8.dropLast()
        switch digits.count {
        case 1: return digits.allSatisfy(\.isDigit)
        case 2: return digits.first != UInt8(ascii: "0") && digits.allSatisfy(\.isDigit)
        default: return text == "100%"
        }
    }

    private static func isTagScalar(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar {
        case "_", ".", ":", "/", "=", "+", "-", "@": return true
        default: break
        }
        switch scalar.properties.generalCategory {
        case .uppercaseLetter, .lowercaseLetter, .titlecaseLetter, .modifierLetter, .otherLetter,
            .spaceSeparator, .lineSeparator, .paragraphSeparator,
            .decimalNumber, .letterNumber, .otherNumber:
            return true
        default:
            return false
        }
    }
}

extension UInt8 {
    var isDigit: Bool { (0x30...0x39).contains(self) }
    var isLowerHex: Bool { self.isDigit || (0x61...0x66).contains(self) }
    var isLetterOrDigit: Bool { self.isDigit || (0x41...0x5a).contains(self) || (0x61...0x7a).contains(self) }
    /// `\w` as Java has it: ASCII.
    var isWord: Bool { self.isLetterOrDigit || self == UInt8(ascii: "_") }
    var isNameCharacter: Bool { self.isWord || self == UInt8(ascii: "-") || self == UInt8(ascii: ".") }
}
