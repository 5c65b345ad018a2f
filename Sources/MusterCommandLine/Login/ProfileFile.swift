/// An AWS configuration or credentials file in which one section is replaced and every other byte stays. [value]
/// https://docs.aws.amazon.com/sdkref/latest/guide/file-format.html
package struct ProfileFile: Sendable, Equatable {
    package private(set) var text: String

    package init(text: String) {
        self.text = text
    }

    /// The value a section has for `key`; the last one counts.
    package func value(_ key: String, in section: String) -> String? {
        var found: String?
        var isInside = false
        for line in lines {
            if let header = Self.header(line) { isInside = header == section }
            if isInside, Self.key(line) == key, let equals = line.firstIndex(of: "=") {
                found = Self.trimmed(line[line.index(after: equals)...])
            }
        }
        return found
    }

    /// Sets `values` in the section, in their order, and takes away its `obsolete` keys with all that is nested below them. Other
    /// keys of the section, its comments and all other sections stay. A section that is not there is added at the end.
    package mutating func set(_ values: [(key: String, value: String)], removing obsolete: Set<String>, in section: String) {
        let gone = obsolete.union(values.map(\.key))
        let assignments = values.map { "\($0.key) = \($0.value)" }
        var kept: [Substring] = []
        var isInside = false
        var isDropping = false
        var wasWritten = false
        for line in lines {
            if let header = Self.header(line) {
                isInside = header == section
                isDropping = false
                kept.append(line)
                if isInside, !wasWritten {
                    kept += assignments.map { $0[...] }
                    wasWritten = true
                }
                continue
            }
            if isInside {
                if let key = Self.key(line) {
                    isDropping = gone.contains(key)
                }
                // An indented line belongs to the key above it.
                else if !(line.first == " " || line.first == "\t") {
                    isDropping = false
                }
                if isDropping { continue }
            }
            kept.append(line)
        }
        var result = kept.joined(separator: "\n")
        if !wasWritten {
            if !result.isEmpty { result += result.hasSuffix("\n") ? "\n" : "\n\n" }
            result += "[\(section)]\n" + assignments.joined(separator: "\n") + "\n"
        }
        text = result.hasSuffix("\n") ? result : result + "\n"
    }

    /// By bytes: to Swift, CR LF is one character.
    private var lines: [Substring] {
        text.utf8.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false).map { line in
            Substring(line.last == UInt8(ascii: "\r") ? line.dropLast() : line)
        }
    }

    private static func header(_ line: Substring) -> String? {
        guard line.first == "[", let end = line.firstIndex(of: "]") else { return nil }
        return line[line.index(after: line.startIndex)..<end].split(whereSeparator: \.isWhitespace).joined(separator: " ")
    }

    /// The key of a line that begins an assignment of the section itself.
    private static func key(_ line: Substring) -> String? {
        guard let first = line.first, !" \t#;[".contains(first), let equals = line.firstIndex(of: "=") else { return nil }
        return trimmed(line[..<equals]).lowercased()
    }

    private static func trimmed(_ text: Substring) -> String {
        var text = text
        while let first = text.first, first.isWhitespace { text.removeFirst() }
        while let last = text.last, last.isWhitespace { text.removeLast() }
        return String(text)
    }
}
