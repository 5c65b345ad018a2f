import Glibc
package import MusterWire

/// Where words go: results to standard output, everything about them to standard error.
///
/// Progress appears on a terminal only, and only there tables are cut to its width.
package struct Printer: Sendable {
    package let format: OutputFormat
    package let showsProgress: Bool

    package init(format: OutputFormat) {
        self.format = format
        self.showsProgress = Terminal.isThere(STDERR_FILENO) && format == .table
    }

    package var canAsk: Bool { Terminal.isThere(STDIN_FILENO) && Terminal.isThere(STDERR_FILENO) }

    package func out(_ text: String) {
        Printer.write(text + "\n", to: STDOUT_FILENO)
    }

    /// Bytes as they are, for output that belongs to somebody else. False when nobody reads them.
    package func bytes(_ bytes: [UInt8]) -> Bool {
        Printer.write(bytes[...], to: STDOUT_FILENO)
    }

    /// A line of a node's standard output. The line of progress gives way to it.
    package func live(_ text: String) {
        if showsProgress { Printer.write("\r\u{1b}[K", to: STDERR_FILENO) }
        out(text)
    }

    /// A line that is a node's standard error.
    package func error(_ text: String) {
        Printer.write((showsProgress ? "\r\u{1b}[K" : "") + text + "\n", to: STDERR_FILENO)
    }

    package func note(_ text: String) {
        Printer.write((showsProgress ? "\r\u{1b}[K" : "") + text + "\n", to: STDERR_FILENO)
    }

    /// One line that is overwritten by the next; nothing off a terminal.
    package func progress(_ text: String) {
        guard showsProgress else { return }
        // A line that wraps could not be overwritten.
        let width = Terminal.size(STDERR_FILENO).map { $0.columns - 1 } ?? 79
        Printer.write("\r\u{1b}[K" + TextWidth.fitted(text, to: width), to: STDERR_FILENO)
    }

    /// Data in the chosen format: the value for programs, the table for people and for CSV.
    package func data(_ value: some Encodable, _ table: Table) throws {
        if format == .table {
            out(table.render(width: Terminal.size(STDOUT_FILENO)?.columns))
        } else {
            try structured(value, table)
        }
    }

    /// As `data`, for what people see in another form than a table.
    package func structured(_ value: some Encodable, _ table: Table) throws {
        switch format {
        case .table: out(table.render(width: Terminal.size(STDOUT_FILENO)?.columns))
        case .json: out(try Printer.json(value))
        case .yaml: Printer.write(YAML.text(try JSONCoding.decode(JSONValue.self, from: JSONCoding.encode(value))), to: STDOUT_FILENO)
        case .csv:
            // A pipe gets what the hosts said; a terminal must not be steered by it.
            let text = table.csv()
            let isTerminal = Terminal.isThere(STDOUT_FILENO)
            Printer.write(isTerminal ? Table.terminalSafe(text, keeping: ["\t", "\n", "\r"]) : text, to: STDOUT_FILENO)
        }
    }

    static func json(_ value: some Encodable) throws -> String {
        DisplayText.json(String(decoding: try JSONCoding.encode(value), as: UTF8.self))
    }

    /// Asks on the terminal. Nil when there is none, or at end of input.
    package func ask(_ question: String) -> String? {
        guard canAsk else { return nil }
        Printer.write((showsProgress ? "\r\u{1b}[K" : "") + question + " ", to: STDERR_FILENO)
        return readLine()
    }

    /// What stands for somebody to judge: never cut. Programs get the value.
    package func facts(_ value: some Encodable, _ sheet: FactSheet) throws {
        guard format == .table else {
            var table = Table(["WHAT", "VALUE"])
            for (name, values) in sheet.facts { for value in values { table.add([name, value]) } }
            return try structured(value, table)
        }
        for line in sheet.lines(width: Terminal.size(STDOUT_FILENO)?.columns) { out(line) }
    }

    /// False once a result could not be written: what only prints stops then, and the process says why at its end.
    package var canWrite: Bool { StandardOutput.verdict == .written }

    /// What became of the results, at the end of the process; nil when all of them were written.
    package static func finish() -> (status: Int32, words: String?)? { StandardOutput.finish() }

    static func write(_ text: String, to descriptor: Int32) {
        _ = write(Array(text.utf8)[...], to: descriptor)
    }

    static func write(bytes: [UInt8], to descriptor: Int32) {
        _ = write(bytes[...], to: descriptor)
    }

    /// Nobody can be told of what standard error does not take.
    private static func write(_ bytes: ArraySlice<UInt8>, to descriptor: Int32) -> Bool {
        descriptor == STDOUT_FILENO ? StandardOutput.write(bytes) : StandardOutput.put(bytes, to: descriptor) == 0
    }
}
