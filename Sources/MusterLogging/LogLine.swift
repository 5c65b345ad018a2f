package import Logging
package import MusterWire

/// How the programs write their logs.
package enum LogFormat: String, Sendable, Codable, CaseIterable {
    case logfmt, json
}

/// One event of a log as one line of text: time, level and message, then the fields in order of their names. [value]
///
///     time=2026-12-01T09:15:00.120Z level=info msg="job accepted" command=0b2f…  node=mi-0123456789abcdef0
///     {"time":"2026-12-01T09:15:00.120Z","level":"info","msg":"job accepted","command":"0b2f…","node":"mi-0123456789abcdef0"}
///
/// Values may be strangers' text: a node's words, a caller's names. None of it ends the line, begins another field, or reaches a terminal as
/// anything but what it is: whatever is no ordinary text is escaped as JSON escapes it, in both formats, and a long value is cut.
package enum LogLine {
    /// Unicode scalars of one value.
    package static let longestValue = 4096
    private static let ownNames: Set<String> = ["time", "level", "msg"]

    package static func text(
        _ format: LogFormat, at time: Timestamp, level: Logger.Level, message: String, metadata: Logger.Metadata = [:]
    ) -> String {
        let head = [("time", time.iso8601), ("level", level.rawValue), ("msg", message)]
        let fields = metadata.map { (name($0.key), "\($0.value)") }.sorted { $0.0 < $1.0 }
        switch format {
        case .logfmt:
            return (head + fields).map { "\($0)=\(isBare($1) ? $1 : quoted($1))" }.joined(separator: " ") + "\n"
        case .json:
            return "{" + (head + fields).map { "\"\($0)\":\(quoted($1))" }.joined(separator: ",") + "}\n"
        }
    }

    /// Names are written by us, and nothing hangs on their being right.
    private static func name(_ name: String) -> String {
        var kept = String.UnicodeScalarView()
        for scalar in name.unicodeScalars.prefix(64) {
            kept.append(scalar.isASCII && (scalar.properties.isAlphabetic || ("0"..."9").contains(scalar)) ? scalar : "_")
        }
        let text = String(kept)
        return text.isEmpty || ownNames.contains(text) ? text + "_" : text
    }

    /// No quotes are needed: ids, numbers, addresses, times.
    private static func isBare(_ text: String) -> Bool {
        !text.isEmpty && text.utf8.count <= longestValue
            && text.utf8.allSatisfy { (0x21...0x7E).contains($0) && $0 != 0x22 && $0 != 0x3D && $0 != 0x5C }
    }

    /// A string of JSON, which is what readers of logfmt take as well.
    private static func quoted(_ text: String) -> String {
        var line = "\""
        var room = longestValue
        for scalar in text.unicodeScalars {
            guard room > 0 else {
                line += "…"
                break
            }
            room -= 1
            switch scalar {
            case "\"", "\\": line += "\\" + String(scalar)
            case "\n": line += "\\n"
            case "\r": line += "\\r"
            case "\t": line += "\\t"
            case _ where isOrdinary(scalar): line.unicodeScalars.append(scalar)
            default:
                for unit in String(scalar).utf16 {
                    let digits = String(unit, radix: 16)
                    line += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
                }
            }
        }
        return line + "\""
    }

    /// False for what a terminal acts upon or a reader cannot see: controls, marks of direction and other formatting, line separators,
    /// what is not assigned.
    private static func isOrdinary(_ scalar: Unicode.Scalar) -> Bool {
        if (0x20...0x7E).contains(scalar.value) { return true }
        return switch scalar.properties.generalCategory {
        case .control, .format, .surrogate, .privateUse, .unassigned, .lineSeparator, .paragraphSeparator: false
        default: true
        }
    }
}
