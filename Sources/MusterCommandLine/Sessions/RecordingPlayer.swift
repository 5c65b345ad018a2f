import Glibc
package import MusterWire

/// `muster session replay`: on a terminal in the time it took, with keys; elsewhere all of it at once, byte for byte.
///
/// Playing is a loop over poll(2) with a deadline: nothing else happens in the process meanwhile.
package struct RecordingPlayer {
    private static let step: Int64 = 5_000_000

    private let open: () throws -> LineSource
    private let from: Int64
    private var timeline: RecordingTimeline
    private var isPaused = false

    /// - Parameter open: the lines from the first on.
    package init(speed: Double, longestPause: Int64, from: Int64, open: @escaping () throws -> LineSource) {
        self.open = open
        self.from = from
        timeline = RecordingTimeline(speed: speed, longestPause: longestPause)
    }

    /// The bytes as they were, for a file or a pipe.
    package func copy(to take: ([UInt8]) -> Bool) throws {
        var source = try open()
        var bytes = RecordingBytes(.output)
        _ = try source.next()
        while let line = try source.next() {
            guard let event = RecordingEvent(line: line) else { continue }
            let found = bytes.take(event)
            if event.time >= from, !found.isEmpty, !take(found) { return }
        }
        _ = take(bytes.rest)
    }

    private enum Key {
        case pause, forward, back, faster, slower, quit
    }

    private enum Next {
        case event
        case jump(Int64)
        case quit
    }

    /// On a terminal, until the end or `q`.
    package mutating func play() throws {
        let terminal = try RawTerminal(for: .keys(keepsSignals: false))
        try terminal.enter()
        defer { terminal.restore() }
        var target = from
        while true {
            var source = try open()
            var filter = TerminalFilter()
            timeline.rewind()
            _ = try source.next()
            Printer.write("\u{1b}[0m\u{1b}[2J\u{1b}[H", to: STDOUT_FILENO)
            var back: Int64?
            events: while let line = try source.next() {
                guard let event = RecordingEvent(line: line) else { continue }
                while event.time > target {
                    switch wait(for: timeline.delay(until: event.time)) {
                    case .event: target = event.time
                    case .jump(let distance) where distance > 0:
                        target = timeline.position + distance
                        timeline.shown(min(target, event.time))
                    case .jump(let distance):
                        back = max(0, timeline.position + distance)
                        break events
                    case .quit: return
                    }
                }
                timeline.shown(event.time)
                if event.known == .output { Printer.write(bytes: filter.pass(event.data.utf8), to: STDOUT_FILENO) }
            }
            guard let back else { return }
            target = back
        }
    }

    private mutating func wait(for delay: Int64) -> Next {
        let clock = ContinuousClock()
        var left = Duration.microseconds(delay)
        while isPaused || left > .zero {
            let begun = clock.now
            let milliseconds =
                isPaused
                ? -1 : Int32(clamping: max(1, left.components.seconds * 1000 + left.components.attoseconds / 1_000_000_000_000_000))
            var entry = pollfd(fd: STDIN_FILENO, events: Int16(POLLIN), revents: 0)
            let ready = poll(&entry, 1, milliseconds)
            if !isPaused { left -= clock.now - begun }
            guard ready > 0 else { continue }
            switch Self.key() {
            case .pause: isPaused.toggle()
            case .forward: return .jump(Self.step)
            case .back: return .jump(-Self.step)
            case .faster:
                timeline.faster()
                left = left / 2
            case .slower:
                timeline.slower()
                left = left * 2
            case .quit: return .quit
            case nil: break
            }
        }
        return .event
    }

    private static func key() -> Key? {
        // One key at a time: several may wait, when keys are pressed faster than a jump takes.
        var bytes = [UInt8](repeating: 0, count: 3)
        var count = read(STDIN_FILENO, &bytes, 1)
        guard count > 0 else { return .quit }
        var entry = pollfd(fd: STDIN_FILENO, events: Int16(POLLIN), revents: 0)
        // The Escape key alone is followed by nothing.
        if bytes[0] == 0x1b, poll(&entry, 1, 0) > 0 {
            count += max(0, bytes.withUnsafeMutableBytes { read(STDIN_FILENO, $0.baseAddress! + 1, 2) })
        }
        switch bytes.prefix(count) {
        case [0x20]: return .pause
        case [0x1b, 0x5b, 0x43], [0x1b, 0x4f, 0x43]: return .forward
        case [0x1b, 0x5b, 0x44], [0x1b, 0x4f, 0x44]: return .back
        case [0x1b, 0x5b, 0x41], [0x1b, 0x4f, 0x41]: return .faster
        case [0x1b, 0x5b, 0x42], [0x1b, 0x4f, 0x42]: return .slower
        case [UInt8(ascii: "q")], [0x03], [0x04]: return .quit
        default: return nil
        }
    }
}
