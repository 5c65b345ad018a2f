import CLinux
import Glibc
import MusterClient
import MusterWire
import NIOConcurrencyHelpers
import NIOCore

/// Standard input, output and error of this process, connected to a session until it ends.
package struct AttachedSession: Sendable {
    package enum Kind: Sendable {
        /// A shell; raw and with escapes if we are on a terminal.
        case shell
        /// A command: its own standard input, output and error, its own exit status.
        case command
        /// A connection for another program (ProxyCommand of ssh): bytes, and nothing else anywhere.
        case connection
    }

    /// How we end when the session did before it could say how, as ssh(1) does.
    package static let lost: Int32 = 255

    package let kind: Kind
    package var takesInput: Bool

    package init(_ kind: Kind, takesInput: Bool = true) {
        self.kind = kind
        self.takesInput = takesInput
    }

    package func run(_ request: SessionRequest, by caller: Operator) async throws -> Int32 {
        signal(SIGPIPE, SIG_IGN)
        let session = try await OpenedSession.start(request, by: caller)
        let attachment = Attachment(kind, session: session, node: request.node)
        let status = try await attachment.run(takesInput: takesInput)
        session.shutdown()
        return status
    }
}

/// One attached session while it runs: its threads, its terminal, its signals.
private final class Attachment: Sendable {
    private let kind: AttachedSession.Kind
    private let session: OpenedSession
    private let node: String
    private let pipe: SessionPipe
    private let terminal: RawTerminal?
    /// We ended it, with this status.
    private let decided = NIOLockedValueBox<Int32?>(nil)
    private let interrupts = NIOLockedValueBox<Int>(0)

    init(_ kind: AttachedSession.Kind, session: OpenedSession, node: String) {
        self.kind = kind
        self.session = session
        self.node = node
        let isOnTerminal = kind == .shell && Terminal.isThere(STDIN_FILENO) && Terminal.isThere(STDOUT_FILENO)
        let terminal = isOnTerminal ? try? RawTerminal(for: .session) : nil
        self.terminal = terminal
        let speaks = kind == .shell || isatty(STDERR_FILENO) == 1
        pipe = SessionPipe(channel: session.channel, awaitsHandshake: kind != .shell) { news in
            let words: String? =
                switch news {
                case .lost: speaks ? "muster: the connection is lost; trying again (~. gives up)" : nil
                case .back: speaks ? "muster: connected again" : nil
                case .nodeAway: speaks ? "muster: \(node) is out of reach; waiting for it" : nil
                case .nodeBack: speaks ? "muster: \(node) is back" : nil
                case .message(let text): Table.terminalSafe(text)
                case .connectFailed(let why): "muster: \(node) could not connect to the port. \(Table.terminalSafe(why))"
                }
            guard let words else { return }
            if let terminal { terminal.note(words) } else { Printer.write(words + "\n", to: STDERR_FILENO) }
        }
    }

    func run(takesInput: Bool) async throws -> Int32 {
        let pipe = self.pipe
        let drained: @Sendable () -> Void = { [weak pipe] in pipe?.sinkDrained() }
        // Nobody reads what the session writes: as a program would end that writes into such a pipe.
        let broken: @Sendable () -> Void = { [weak self] in self?.giveUp(status: 128 + SIGPIPE) }
        let output = DescriptorSink(STDOUT_FILENO, drained: drained, broken: broken)
        let errors = DescriptorSink(STDERR_FILENO, drained: drained, broken: broken)
        pipe.connect(.output, to: output)
        pipe.connect(.standardError, to: errors)
        session.channel.attach(pipe)
        try watchSignals()
        // A terminal that cannot be changed is used as it is.
        try? terminal?.enter()
        defer { terminal?.restore() }
        if kind == .shell { sendSize() }
        if takesInput {
            if terminal == nil { WaitingThread.start { self.readInput() } } else { readKeys() }
        } else if kind != .shell {
            WaitingThread.start { pipe.send(.output, ByteBuffer(), isLast: true) }
        }
        let end = await session.channel.run()
        pipe.end()
        output.finish()
        errors.finish()
        terminal?.restore()
        return await status(end)
    }

    // MARK: The end

    private func status(_ end: DataChannelEnd) async -> Int32 {
        if let status = decided.withLockedValue({ $0 }) {
            await session.terminate()
            return status
        }
        if let code = pipe.exitCode { return Int32(clamping: code) }
        switch end {
        case .closed(let output):
            if kind == .connection, output.isEmpty { return 0 }
            let words = output.isEmpty ? "The session ended." : Table.terminalSafe(output)
            Printer.write("muster: \(words)\n", to: STDERR_FILENO)
            // What never began was refused.
            return pipe.isBegun ? AttachedSession.lost : 2
        case .gone(let reason):
            Printer.write("muster: The session is lost. \(reason)\n", to: STDERR_FILENO)
            await session.terminate()
            return AttachedSession.lost
        case .finished:
            return AttachedSession.lost
        }
    }

    private func giveUp(status: Int32) {
        decided.withLockedValue { if $0 == nil { $0 = status } }
        session.channel.end()
    }

    // MARK: Input

    private func readKeys() {
        let keys = TerminalKeys(
            session.channel, on: session.loop,
            special: { [weak self] event in
                guard let self else { return }
                // To be suspended waits for the terminal, which may be held.
                if event == .suspend { WaitingThread.start { self.perform(event) } } else { self.perform(event) }
            },
            ended: { [weak self] in self?.giveUp(status: 128 + SIGHUP) })
        pipe.watchRoom { [weak keys] in keys?.goOn() }
        keys.read().whenFailure { _ in WaitingThread.start { self.readInput() } }
    }

    private func readInput() {
        guard pipe.awaitOpening() else { return }
        var scanner = EscapeScanner()
        var last: UInt8 = 0x0A
        var bytes = [UInt8](repeating: 0, count: 64 << 10)
        while true {
            let count = read(STDIN_FILENO, &bytes, bytes.count)
            if count < 0, errno == EINTR { continue }
            if count < 0, errno == EAGAIN {
                // Somebody else made it non-blocking.
                var wait = pollfd(fd: STDIN_FILENO, events: Int16(POLLIN), revents: 0)
                poll(&wait, 1, -1)
                continue
            }
            guard count > 0 else { break }
            last = bytes[count - 1]
            if terminal != nil {
                for event in scanner.push(Array(bytes[..<count])) { perform(event) }
            } else if !pipe.send(.output, ByteBuffer(bytes: bytes[..<count])) {
                return
            }
        }
        guard kind == .shell else {
            pipe.send(.output, ByteBuffer(), isLast: true)
            return
        }
        guard terminal == nil else { return giveUp(status: 128 + SIGHUP) }
        var end = EndOfInput(endsLine: last == 0x0A)
        while true {
            let (bytes, pause) = end.next()
            guard pipe.send(.output, ByteBuffer(bytes: bytes)), !pipe.awaitEnd(milliseconds: pause) else { return }
        }
    }

    private func perform(_ event: EscapeScanner.Event) {
        switch event {
        case .bytes(let bytes): pipe.send(.output, ByteBuffer(bytes: bytes))
        case .end:
            terminal?.note("muster: ended the session")
            giveUp(status: AttachedSession.lost)
        case .suspend:
            terminal?.suspend()
            sendSize()
        case .help: terminal?.note(EscapeScanner.help)
        }
    }

    // MARK: Signals

    private func watchSignals() throws {
        let numbers: [Int32] =
            switch kind {
            case .shell: terminal == nil ? [SIGTERM, SIGHUP, SIGINT] : [SIGWINCH, SIGTERM, SIGHUP, SIGINT, SIGTSTP]
            case .command: [SIGINT, SIGQUIT, SIGTERM, SIGHUP]
            case .connection: [SIGTERM, SIGHUP, SIGINT]
            }
        try Signals.handle(numbers) { [weak self] in self?.signalled($0) }
    }

    private func signalled(_ number: Int32) {
        switch (kind, number) {
        case (_, SIGWINCH): sendSize()
        case (.shell, SIGTSTP):
            terminal?.suspend()
            sendSize()
        case (.command, SIGINT), (.command, SIGQUIT):
            // For the program there to decide. Who insists ends it.
            let times = interrupts.withLockedValue { count in
                count += 1
                return count
            }
            guard times < 3, pipe.isBegun else { return giveUp(status: 128 + number) }
            var flag = StreamFlag.signal(UInt8(number)).payload
            _ = session.channel.write(.flag, &flag)
        default: giveUp(status: 128 + number)
        }
    }

    private func sendSize() {
        guard let size = Terminal.size(STDOUT_FILENO) ?? Terminal.size(STDIN_FILENO),
            let bytes = try? JSONCoding.encode(TerminalSize(columns: UInt32(clamping: size.columns), rows: UInt32(clamping: size.rows)))
        else { return }
        // A size that finds no room is not worth waiting for: the next one, or none, is right.
        var payload = ByteBuffer(bytes: bytes)
        _ = session.channel.write(.size, &payload)
    }
}
