/// Rows under a header: in aligned columns for people, or as CSV. [value]
///
/// In columns, control characters of remote values (a computer name, a comment) are shown as `?`, so that no host can write escape
/// sequences to an operator's terminal.
package struct Table: Sendable {
    package let header: [String]
    package private(set) var rows: [[String]] = []

    package init(_ header: [String]) {
        self.header = header
    }

    package mutating func add(_ row: [String]) {
        rows.append(row)
    }

    /// - Parameter width: the terminal's, to which every line is cut; nil cuts nothing.
    package func render(width: Int? = nil) -> String {
        lines(width: width).joined(separator: "\n")
    }

    package func lines(width: Int? = nil) -> [String] {
        let all = [header] + rows.map { $0.map(Table.printable) }
        let widths = header.indices.map { column in all.map { TextWidth.of($0[column]) }.max() ?? 0 }
        return all.map { row in
            var line = ""
            for (column, cell) in row.enumerated() {
                line += cell
                if column < row.count - 1 {
                    line += String(repeating: " ", count: widths[column] - TextWidth.of(cell) + 2)
                }
            }
            return width.map { TextWidth.fitted(line.trimmedEnd, to: $0) } ?? line.trimmedEnd
        }
    }

    package func csv() -> String {
        CSV.text(header: header, rows: rows)
    }

    /// Like `printable`, but keeps tabs: for the lines of a command's output.
    package static func terminalSafe(_ text: String, keeping kept: Set<Unicode.Scalar> = ["\t"]) -> String {
        String(
            String.UnicodeScalarView(text.unicodeScalars.map { $0.properties.generalCategory == .control && !kept.contains($0) ? "?" : $0 })
        )
    }

    package static func printable(_ text: String) -> String {
        terminalSafe(text, keeping: [])
    }
}

extension String {
    var trimmedEnd: String {
        var text = self[...]
        while text.last == " " { text.removeLast() }
        return String(text)
    }
}
