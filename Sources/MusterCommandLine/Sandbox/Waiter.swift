import Dispatch
import Glibc

/// Waits for a child process on a thread of its own, because waitpid(2) blocks.
enum Waiter {
    static func wait(for pid: pid_t, then body: @escaping @Sendable (Int32) -> Void) {
        DispatchQueue.global().async {
            var status: Int32 = 0
            while waitpid(pid, &status, 0) < 0, errno == EINTR {}
            // WIFEXITED and WEXITSTATUS are macros: the low seven bits are the signal, the next byte the exit status.
            body(status & 0x7f == 0 ? (status >> 8) & 0xff : 128 + (status & 0x7f))
        }
    }
}
