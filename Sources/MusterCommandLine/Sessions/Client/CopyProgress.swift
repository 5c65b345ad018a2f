import MusterCopy
import MusterWire

/// What a person sees of a copy: a bar for the file that is on its way, and a line for what went wrong.
///
/// Sendable: the copying thread alone uses it, and after it whoever waited for its `Outcome`.
final class CopyProgress: CopyObserver, @unchecked Sendable {
    private let printer: Printer
    private let isQuiet: Bool
    private let started = ContinuousClock.now
    private var shown = ContinuousClock.now - .seconds(1)
    private var name = ""
    private var size: UInt64 = 0
    private var done: UInt64 = 0
    private var total: UInt64 = 0

    init(printer: Printer, isQuiet: Bool) {
        self.printer = printer
        self.isQuiet = isQuiet
    }

    var elapsed: Duration { ContinuousClock.now - started }

    func began(_ name: [UInt8], size: UInt64) {
        self.name = Table.printable(String(decoding: name, as: UTF8.self))
        self.size = size
        done = 0
        show()
    }

    func moved(_ bytes: Int) {
        done += UInt64(bytes)
        total += UInt64(bytes)
        show()
    }

    func ended(_ file: CopiedFile) {
        if let problem = file.problem { printer.note("muster: \(Table.terminalSafe(problem))") }
    }

    func problem(_ words: String) {
        printer.note("muster: \(Table.terminalSafe(words))")
    }

    func finish() { printer.progress("") }

    private func show() {
        guard !isQuiet, printer.showsProgress else { return }
        let now = ContinuousClock.now
        guard now - shown >= .milliseconds(100) else { return }
        shown = now
        printer.progress(Self.line(name: name, done: done, size: size, rate: Self.rate(total, elapsed)))
    }

    /// `name  [=====     ]  52 %  1.3 GiB  210.4 MiB/s`
    static func line(name: String, done: UInt64, size: UInt64, rate: String) -> String {
        let width = 24
        let share = size == 0 ? 1 : min(1, Double(done) / Double(size))
        let filled = Int(share * Double(width))
        let bar = String(repeating: "=", count: filled) + String(repeating: " ", count: width - filled)
        return "[\(bar)] \(Int(share * 100)) %  \(amount(size))  \(rate)  \(name)"
    }

    static func words(for summary: CopySummary, in time: Duration) -> String {
        let resumed = summary.bytes > summary.moved ? ", \(amount(summary.bytes - summary.moved)) of which were there" : ""
        let problems = summary.problems == 0 ? "" : "; \(summary.problems) could not be copied"
        return "\(summary.files) files, \(amount(summary.bytes))\(resumed), \(rate(summary.moved, time))\(problems)"
    }

    static func rate(_ bytes: UInt64, _ time: Duration) -> String {
        let seconds = Double(time.components.seconds) + Double(time.components.attoseconds) / 1e18
        return amount(seconds > 0 ? UInt64(Double(bytes) / seconds) : bytes) + "/s"
    }

    static func amount(_ bytes: UInt64) -> String {
        var value = Double(bytes)
        for unit in ["B", "KiB", "MiB", "GiB"] {
            if value < 1024 {
                let tenths = Int((value * 10).rounded())
                return unit == "B" ? "\(bytes) B" : "\(tenths / 10).\(tenths % 10) \(unit)"
            }
            value /= 1024
        }
        let tenths = Int((value * 10).rounded())
        return "\(tenths / 10).\(tenths % 10) TiB"
    }
}
