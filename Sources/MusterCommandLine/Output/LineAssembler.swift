/// Whole lines out of pieces of a stream. [value] A line without an end is handed over in parts of a bounded size.
package struct LineAssembler: Sendable {
    package static let longestLine = 64 << 10

    private var rest: [UInt8] = []

    package init() {}

    package mutating func take(_ bytes: [UInt8]) -> [[UInt8]] {
        var lines: [[UInt8]] = []
        for part in bytes.split(separator: 0x0A, omittingEmptySubsequences: false).enumerated() {
            if part.offset > 0 {
                lines.append(rest)
                rest = []
            }
            rest += part.element
            while rest.count > Self.longestLine {
                lines.append(Array(rest.prefix(Self.longestLine)))
                rest.removeFirst(Self.longestLine)
            }
        }
        return lines
    }

    /// Something is missing between what came and what comes: a line that was begun, and the end of one, are no lines.
    package mutating func skip() -> [UInt8]? { end() }

    /// The last line, if it has no end.
    package mutating func end() -> [UInt8]? {
        defer { rest = [] }
        return rest.isEmpty ? nil : rest
    }
}
