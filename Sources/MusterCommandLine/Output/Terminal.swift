import CLinux
import Glibc
import MusterWire

/// What is known of the terminal behind a descriptor.
enum Terminal {
    static func isThere(_ descriptor: Int32) -> Bool { isatty(descriptor) == 1 }

    /// Nil off a terminal: what goes to a file or a pipe is never cut.
    static func size(_ descriptor: Int32) -> (columns: Int, rows: Int)? {
        var columns: Int32 = 0
        var rows: Int32 = 0
        guard muster_terminal_size(descriptor, &columns, &rows) == 0 else { return nil }
        return (Int(columns), Int(rows))
    }

    /// One line typed without being shown (termios(3)); nil at the end of input.
    static func readSecret(prompt: String) throws -> String? {
        var saved = termios()
        guard tcgetattr(STDIN_FILENO, &saved) == 0 else {
            throw CommandLineError("Cannot turn off the terminal's echo: \(SystemError.words()).")
        }
        // Ctrl-C at the prompt must not leave the terminal mute: it is held back until the echo is back.
        var held = sigset_t()
        var former = sigset_t()
        sigemptyset(&held)
        for number in [SIGINT, SIGTERM, SIGTSTP, SIGQUIT] { sigaddset(&held, number) }
        var quiet = saved
        quiet.c_lflag &= ~tcflag_t(ECHO | ISIG)
        quiet.c_lflag |= tcflag_t(ICANON)
        pthread_sigmask(SIG_BLOCK, &held, &former)
        defer { pthread_sigmask(SIG_SETMASK, &former, nil) }
        guard tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet) == 0 else {
            throw CommandLineError("Cannot turn off the terminal's echo: \(SystemError.words()).")
        }
        defer { tcsetattr(STDIN_FILENO, TCSAFLUSH, &saved) }
        Printer.write(prompt, to: STDERR_FILENO)
        let line = readLine()
        Printer.write("\n", to: STDERR_FILENO)
        // With signals off, Ctrl-C arrives as the character it is.
        if line?.unicodeScalars.contains("\u{03}") == true { throw CommandLineError("Interrupted; nothing was changed.") }
        return line
    }
}
