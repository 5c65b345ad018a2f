package import MusterWire
import Glibc

/// How results are printed: tables for people, JSON for programs.
package enum OutputFormat: String, Sendable, CaseIterable {
    case table, json
}

/// Where words go: results to standard output, everything about them to standard error.
///
/// Progress and colour appear on a terminal only.
package struct Printer: Sendable {
    package let format: OutputFormat
    package let showsProgress: Bool

    package init(format: OutputFormat) {
        self.format = format
        self.showsProgress = isatty(STDERR_FILENO) == 1 && format == .table
    }

    package var canAsk: Bool { isatty(STDIN_FILENO) == 1 && isatty(STDERR_FILENO) == 1 }

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
        if showsProgress { Printer.write("\r\u{1b}[K" + text, to: STDERR_FILENO) }
    }

    package func json(_ value: some Encodable) throws {
        out(String(decoding: try JSONCoding.encode(value), as: UTF8.self))
    }

    /// Asks on the terminal. Nil when there is none, or at end of input.
    package func ask(_ question: String) -> String? {
        guard canAsk else { return nil }
        Printer.write((showsProgress ? "\r\u{1b}[K" : "") + question + " ", to: STDERR_FILENO)
        return readLine()
    }

    private static func write(_ text: String, to descriptor: Int32) {
        _ = write(Array(text.utf8)[...], to: descriptor)
    }

    private static func write(_ bytes: ArraySlice<UInt8>, to descriptor: Int32) -> Bool {
        var bytes = bytes
        while !bytes.isEmpty {
            let written = bytes.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
            if written < 0 {
                if errno == EINTR { continue }
                return false  // the reader has gone (EPIPE): there is nobody left to tell
            }
            bytes = bytes.dropFirst(written)
        }
        return true
    }
}
