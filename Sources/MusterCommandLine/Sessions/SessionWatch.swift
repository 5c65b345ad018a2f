import Glibc
import MusterClient
import MusterCrypto
package import MusterWire

/// `muster session watch`: shows what a running session shows, and takes nothing but Ctrl-C.
package struct SessionWatch: Sendable {
    /// Enough to know what is on the screen.
    private static let history: Int64 = 256 << 10

    let caller: Operator
    let printer: Printer

    package init(caller: Operator, printer: Printer) {
        (self.caller, self.printer) = (caller, printer)
    }

    package func run(_ name: SessionName) async throws -> Int32 {
        let session = name.id
        let reader = RecordingReader(api: caller.api)
        let summary = try await reader.needed(session)
        guard summary.state == .open else {
            throw CommandLineError("The session \(session) is over. See it with: muster session replay \(session)")
        }
        let isLive = Terminal.isThere(STDOUT_FILENO)
        let terminal = isLive && Terminal.isThere(STDIN_FILENO) ? try RawTerminal(for: .keys(keepsSignals: true)) : nil
        try terminal?.enter()
        defer { terminal?.restore() }
        let signals = [SIGINT, SIGTERM, SIGHUP]
        Signals.hold(signals)
        defer { Signals.release(signals) }
        return try await withThrowingTaskGroup(of: Int32.self) { group in
            group.addTask { try await follow(session, reader, isLive: isLive) }
            group.addTask {
                for await _ in Signals.stream() { break }
                return 0
            }
            defer { group.cancelAll() }
            return try await group.next() ?? 0
        }
    }

    private func follow(_ session: SessionID, _ reader: RecordingReader, isLive: Bool) async throws -> Int32 {
        let begin = try await reader.news(session, from: 0, wait: 0)
        var offset = isLive ? max(0, begin.length - Self.history) : 0
        // In the middle of a recording the first piece of a line is none.
        var isWhole = offset == 0
        var rest: [UInt8] = []
        var filter = TerminalFilter()
        var exact = RecordingBytes(.output)
        while true {
            let news: RecordingNews
            do {
                news = try await reader.news(session, from: offset)
            } catch let error as ClientError where [.unreachable, .timedOut, .closed].contains(error.kind) {
                // A controller that restarts is no reason to stop watching.
                try await Task.sleep(for: .seconds(1))
                continue
            }
            guard let bytes = Base64.decode(news.bytes) else { throw CommandLineError("The controller sent something unreadable.") }
            offset += Int64(bytes.count)
            rest += bytes
            while let end = rest.firstIndex(of: 0x0a) {
                let line = rest[...end]
                defer { rest.removeFirst(line.count) }
                guard isWhole else {
                    isWhole = true
                    continue
                }
                guard let event = RecordingEvent(line: line) else { continue }
                if isLive {
                    if event.known == .output { Printer.write(bytes: filter.pass(event.data.utf8), to: STDOUT_FILENO) }
                } else if !printer.bytes(exact.take(event)) {
                    return 0
                }
            }
            if news.state != .open, bytes.isEmpty { return 0 }
        }
    }
}
