/// Words of others, made fit to be shown: by a terminal, in a log, on a page. [value]
///
/// Names, comments, parameters and outputs are written by nodes and by whoever calls; what they contain must neither steer what shows
/// them nor look like something else. So every scalar that a reader cannot see for what it is (Unicode TR 36 and TR 39: controls, format
/// and bidirectional characters, separators, tags, variation selectors, blanks other than the space, what is not assigned) is written as
/// `\u{…}`. A backslash before `u{` is written so too: what is shown has one meaning.
package enum DisplayText {
    /// One line. `kept` stays as it is.
    package static func line(_ text: String, keeping kept: Set<Unicode.Scalar> = []) -> String {
        // Nearly everything is plain, and then nothing is copied.
        guard text.unicodeScalars.contains(where: { $0 == "\\" || (isHidden($0) && !kept.contains($0)) }) else { return text }
        var out = String.UnicodeScalarView()
        let scalars = text.unicodeScalars
        for index in scalars.indices {
            let scalar = scalars[index]
            let isHidden = isHidden(scalar) && !kept.contains(scalar)
            if isHidden || (scalar == "\\" && scalars[index...].dropFirst().starts(with: "u{".unicodeScalars)) {
                out.append(contentsOf: escaped(scalar).unicodeScalars)
            } else {
                out.append(scalar)
            }
        }
        return String(out)
    }

    /// What a program wrote for a terminal, in lines: CR LF ends a line as LF does; of what a carriage return wrote over, the last
    /// stays; colours and other sequences of ECMA-48 are left out. All else as in `line`, with tabs.
    package static func outputLines(_ text: String) -> [String] {
        text.unicodeScalars.split(separator: "\n", omittingEmptySubsequences: false).map { outputLine(String($0)) }
    }

    /// One such line, without its line feed.
    package static func outputLine(_ text: String) -> String {
        var scalars = withoutSequences(text.unicodeScalars)
        while scalars.last == "\r" { scalars.removeLast() }
        let shown = scalars.split(separator: "\r", omittingEmptySubsequences: true).last.map { Array($0) } ?? []
        return line(String(String.UnicodeScalarView(shown)), keeping: ["\t"])
    }

    /// Everything that somebody has to judge before agreeing: nothing is left out, and nothing can hide. A line a line; blanks at the
    /// ends of a line and runs of them, and runs of empty lines and of what cannot be seen, are written out.
    package static func complete(_ text: String) -> [String] {
        var lines: [String] = []
        var empty = 0
        func settle() {
            if empty > longestRun {
                lines.append(escaped("\n", times: empty))
            } else {
                lines += Array(repeating: "", count: empty)
            }
            empty = 0
        }
        for part in text.unicodeScalars.split(separator: "\n", omittingEmptySubsequences: false) {
            if part.isEmpty {
                empty += 1
            } else {
                settle()
                lines.append(completeLine(Array(part)))
            }
        }
        settle()
        return lines
    }

    /// JSON whose strings have nothing hidden in them: the same value to every reader. What is below U+0020 is no part of a string of JSON,
    /// and its layout.
    package static func json(_ text: String) -> String {
        guard text.unicodeScalars.contains(where: { $0.value >= 0x7f && isHidden($0) }) else { return text }
        var out = ""
        for scalar in text.unicodeScalars {
            guard scalar.value >= 0x7f, isHidden(scalar) else {
                out.unicodeScalars.append(scalar)
                continue
            }
            for unit in UTF16.encode(scalar) ?? .init([0xfffd]) {
                let digits = String(unit, radix: 16)
                out += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
            }
        }
        return out
    }

    /// A reader does not see it for what it is.
    package static func isHidden(_ scalar: Unicode.Scalar) -> Bool {
        if scalar.isASCII { return scalar.value < 0x20 || scalar.value == 0x7f }
        let properties = scalar.properties
        switch properties.generalCategory {
        case .control, .format, .surrogate, .privateUse, .unassigned, .lineSeparator, .paragraphSeparator, .spaceSeparator: return true
        default: return properties.isDefaultIgnorableCodePoint || scalar.value == 0x2800  // a Braille pattern without dots
        }
    }

    // MARK: How it is written

    private static let longestRun = 3

    private static func escaped(_ scalar: Unicode.Scalar, times: Int = 1) -> String {
        "\\u{" + String(scalar.value, radix: 16) + (times > 1 ? "*\(times)" : "") + "}"
    }

    private static func completeLine(_ scalars: [Unicode.Scalar]) -> String {
        var out = ""
        var index = 0
        while index < scalars.count {
            let scalar = scalars[index]
            var end = index + 1
            while end < scalars.count, scalars[end] == scalar { end += 1 }
            let run = end - index
            // The indentation of a script is seen by what follows it; at the end of a line nothing follows.
            let isBlank = scalar == " " && (run > (index == 0 ? 16 : longestRun) || end == scalars.count)
            let isEscape = scalar == "\\" && run == 1 && scalars[end...].starts(with: "u{".unicodeScalars)
            if isBlank || isHidden(scalar) || isEscape {
                out += escaped(scalar, times: run)
            } else if scalar == "\\", scalars[end...].starts(with: "u{".unicodeScalars) {
                out += String(repeating: "\\", count: run - 1) + escaped(scalar)
            } else {
                for _ in 0..<run { out.unicodeScalars.append(scalar) }
            }
            index = end
        }
        return out
    }

    /// ECMA-48: CSI … final byte, strings (OSC, DCS, …) up to their end, and two-character escapes. One that is not complete is kept, and
    /// shown as what it is.
    private static func withoutSequences(_ scalars: String.UnicodeScalarView) -> [Unicode.Scalar] {
        let scalars = Array(scalars)
        guard scalars.contains("\u{1b}") || scalars.contains("\u{9b}") else { return scalars }
        var out: [Unicode.Scalar] = []
        var index = 0
        while index < scalars.count {
            if let end = sequence(scalars, index) {
                index = end
            } else {
                out.append(scalars[index])
                index += 1
            }
        }
        return out
    }

    /// Where the sequence that begins at `start` ends; nil when there is none.
    private static func sequence(_ scalars: [Unicode.Scalar], _ start: Int) -> Int? {
        var index = start
        if scalars[start] == "\u{1b}" {
            guard start + 1 < scalars.count else { return nil }
            switch scalars[start + 1] {
            case "[": index = start + 2
            case "]", "P", "X", "^", "_":
                // Bounded, so that a text full of beginnings is not read again and again.
                for end in (start + 2)..<max(start + 2, min(scalars.count, start + 4_096)) {
                    if scalars[end] == "\u{07}" || scalars[end] == "\u{9c}" { return end + 1 }
                    if scalars[end] == "\\", scalars[end - 1] == "\u{1b}" { return end + 1 }
                }
                return nil
            case "(" where start + 2 < scalars.count: return start + 3
            case "7", "8", "=", ">", "D", "E", "H", "M", "c": return start + 2
            default: return nil
            }
        } else if scalars[start] == "\u{9b}" {
            index = start + 1
        } else {
            return nil
        }
        let limit = min(scalars.count, index + 64)
        while index < limit, (0x20...0x3f).contains(scalars[index].value) { index += 1 }
        return index < limit && (0x40...0x7e).contains(scalars[index].value) ? index + 1 : nil
    }
}
