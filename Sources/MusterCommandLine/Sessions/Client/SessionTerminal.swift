import CLinux
import Glibc

/// The terminal that muster was started on: raw while a session has it (termios(3)), and always given back as it was.
final class SessionTerminal: @unchecked Sendable {
    private let condition = Condition()
    private var saved = termios()
    private var isRaw = false

    /// Nil when either end is not a terminal.
    init?() {
        guard isatty(STDIN_FILENO) == 1, isatty(STDOUT_FILENO) == 1, tcgetattr(STDIN_FILENO, &saved) == 0 else { return nil }
    }

    func enter() {
        condition.locked {
            guard !isRaw else { return }
            var raw = saved
            cfmakeraw(&raw)
            isRaw = tcsetattr(STDIN_FILENO, TCSADRAIN, &raw) == 0
        }
    }

    func restore() {
        condition.locked {
            guard isRaw else { return }
            tcsetattr(STDIN_FILENO, TCSADRAIN, &saved)
            isRaw = false
        }
    }

    /// As Ctrl-Z does to others: until somebody continues us.
    func suspend() {
        restore()
        kill(getpid(), SIGSTOP)
        enter()
    }

    /// A line of ours among those of the session.
    func note(_ text: String) {
        let isRaw = condition.locked { self.isRaw }
        let lines = text.split(separator: "\n", omittingEmptySubsequences: false).joined(separator: isRaw ? "\r\n" : "\n")
        Printer.write(isRaw ? "\r\n\(lines)\r\n" : lines + "\n", to: STDERR_FILENO)
    }
}
