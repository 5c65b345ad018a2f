import MusterWire

/// Rows under a header: in aligned columns for people, or as CSV. [value]
///
/// In columns, what remote values (a computer name, a comment) hide is written out, so that no host can write escape sequences to an
/// operator's terminal (`DisplayText`).
package struct Table: Sendable {
    package let header: [String]
    package private(set) var rows: [[String]] = []
    /// Columns that give way first when a terminal is narrow, in that order; only then lines are cut.
    private var yielding: [String] = []

    package init(_ header: [String], yielding: [String] = []) {
        self.header = header
        self.yielding = yielding
    }

    package mutating func add(_ row: [String]) {
        rows.append(row)
    }

    /// - Parameter width: the terminal's, to which every line is cut; nil cuts nothing.
    package func render(width: Int? = nil) -> String {
        lines(width: width).joined(separator: "\n")
    }

    package func lines(width: Int? = nil) -> [String] {
        var all = [header] + rows.map { $0.map(Table.printable) }
        func widths() -> [Int] { all.first?.indices.map { column in all.map { TextWidth.of($0[column]) }.max() ?? 0 } ?? [] }
        if let width {
            // A column gives what is missing, down to nothing; then the next one.
            for name in yielding {
                let present = widths()
                let excess = present.reduce(0, +) + 2 * (present.count - 1) - width
                guard excess > 0, let column = all[0].firstIndex(of: name) else { continue }
                let left = present[column] - excess
                if left >= Table.narrowest {
                    for row in all.indices { all[row][column] = TextWidth.fitted(all[row][column], to: left) }
                } else {
                    for row in all.indices { all[row].remove(at: column) }
                }
            }
        }
        let final = widths()
        return all.map { row in
            var line = ""
            for (column, cell) in row.enumerated() {
                line += cell
                if column < row.count - 1 {
                    line += String(repeating: " ", count: final[column] - TextWidth.of(cell) + 2)
                }
            }
            return width.map { TextWidth.fitted(line.trimmedEnd, to: $0) } ?? line.trimmedEnd
        }
    }

    /// A column with less room than this says nothing.
    private static let narrowest = 6

    package func csv() -> String {
        CSV.text(header: header, rows: rows)
    }

    /// Like `printable`, but keeps tabs: for the lines of a command's output.
    package static func terminalSafe(_ text: String, keeping kept: Set<Unicode.Scalar> = ["\t"]) -> String {
        DisplayText.line(text, keeping: kept)
    }

    package static func printable(_ text: String) -> String {
        DisplayText.line(text)
    }
}

extension String {
    var trimmedEnd: String {
        var text = self[...]
        while text.last == " " { text.removeLast() }
        return String(text)
    }
}
