import Glibc
import MusterWire

/// What a command of this program prints as its result; a service's words go to its log.
package enum ResultOutput {
    /// A terminal is not steered by names that others chose; a file gets what there is.
    package static func out(_ text: some CustomStringConvertible) {
        let text = text.description + "\n"
        StandardOutput.write(isatty(STDOUT_FILENO) == 1 ? DisplayText.line(text, keeping: ["\n", "\t"]) : text)
    }

    /// At the end of the process: the status of a result that could not be written, and what to say; nil when it was.
    package static func finish() -> (status: Int32, words: String?)? { StandardOutput.finish() }
}
