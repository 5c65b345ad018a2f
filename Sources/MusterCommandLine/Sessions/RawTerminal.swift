import Glibc
import MusterWire
import NIOConcurrencyHelpers

/// The terminal that muster was started on, while something here or on a node has its keys (termios(3)); always given back as it was.
final class RawTerminal: Sendable {
    enum Use: Sendable {
        /// Every byte, both ways, is that of a program elsewhere.
        case session
        /// Keys as they are pressed, none of them shown. Ctrl-C goes on being a signal, or is a key too.
        case keys(keepsSignals: Bool)
    }

    private let use: Use
    private let saved: termios
    private let isRaw = NIOLockedValueBox(false)

    init(for use: Use) throws {
        var settings = termios()
        guard tcgetattr(STDIN_FILENO, &settings) == 0 else {
            throw CommandLineError("Standard input is no terminal, so there are no keys to listen to.")
        }
        self.use = use
        saved = settings
    }

    func enter() throws {
        try isRaw.withLockedValue { isRaw in
            guard !isRaw else { return }
            var settings = saved
            switch use {
            case .session: cfmakeraw(&settings)
            case .keys(let keepsSignals): settings.c_lflag &= ~tcflag_t(ECHO | ICANON | (keepsSignals ? 0 : ISIG))
            }
            guard tcsetattr(STDIN_FILENO, when, &settings) == 0 else {
                throw CommandLineError("Cannot change the terminal: \(SystemError.words()).")
            }
            isRaw = true
        }
    }

    func restore() {
        isRaw.withLockedValue { isRaw in
            guard isRaw else { return }
            isRaw = false
            // What a recording did to colours, cursor, margins and screen is undone too; a session's program does that itself.
            if case .keys = use { Printer.write("\u{1b}[0m\u{1b}[r\u{1b}[?25h\u{1b}[?1049l\u{1b}(B\r\n", to: STDOUT_FILENO) }
            var settings = saved
            tcsetattr(STDIN_FILENO, when, &settings)
        }
    }

    /// What was typed before is meant for a session, and not for a player.
    private var when: Int32 {
        if case .session = use { TCSADRAIN } else { TCSAFLUSH }
    }

    /// As Ctrl-Z does to others: until somebody continues us.
    func suspend() {
        restore()
        kill(getpid(), SIGSTOP)
        // It was a terminal before: if it is gone, the next read says so.
        try? enter()
    }

    /// A line of ours among those of the session.
    func note(_ text: String) {
        let isRaw = isRaw.withLockedValue { $0 }
        let lines = text.split(separator: "\n", omittingEmptySubsequences: false).joined(separator: isRaw ? "\r\n" : "\n")
        Printer.write(isRaw ? "\r\n\(lines)\r\n" : lines + "\n", to: STDERR_FILENO)
    }
}
