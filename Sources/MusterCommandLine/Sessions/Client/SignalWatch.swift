import CLinux
import Glibc

/// Signals, one after the other, in a thread where everything is allowed. Installed for good: the process ends with its session.
enum SignalWatch {
    static func start(_ numbers: [Int32], _ handler: @escaping @Sendable (Int32) -> Void) throws {
        var ends: [Int32] = [-1, -1]
        guard muster_pipe(&ends) == 0, muster_set_nonblocking(ends[1]) == 0 else {
            throw CommandLineError("Cannot make a pipe for signals: \(String(cString: strerror(errno))).")
        }
        let reader = ends[0]
        signalDescriptor = ends[1]
        for number in numbers { signal(number, passOn) }
        WaitingThread.start {
            var byte: UInt8 = 0
            while true {
                let count = read(reader, &byte, 1)
                if count == 1 { handler(Int32(byte)) } else if count == 0 || errno != EINTR { return }
            }
        }
    }
}

/// Set before the handler is, and never changed: a signal handler may do little more than write(2) (signal-safety(7)).
nonisolated(unsafe) private var signalDescriptor: Int32 = -1

private func passOn(_ number: Int32) {
    let saved = errno
    var byte = UInt8(truncatingIfNeeded: number)
    _ = write(signalDescriptor, &byte, 1)
    errno = saved
}
