import CLinux
import Dispatch
import Glibc
import NIOConcurrencyHelpers

/// Signals as events, between `hold` and `release`; outside of them they end the process as usual.
///
/// What whoever started the process has it ignore stays ignored: nohup(1) does that with SIGHUP, and a shell without job control with the
/// SIGINT of what it runs in the background.
///
/// A signal writes its number into a pipe, so that one that comes before anybody listens is heard by who listens next: a Dispatch signal
/// source would lose those that arrive until it is registered.
enum Signals {
    private static let ends: (read: Int32, write: Int32) = {
        var ends: [Int32] = [-1, -1]
        guard muster_pipe(&ends) == 0, muster_set_nonblocking(ends[0]) == 0, muster_set_nonblocking(ends[1]) == 0 else { return (-1, -1) }
        return (ends[0], ends[1])
    }()
    /// Of `handle`: as long as the process.
    private static let handling = NIOLockedValueBox<[ReadSource]>([])

    static func hold(_ numbers: [Int32] = [SIGINT]) {
        guard ends.write >= 0 else { return }  // without a pipe Ctrl-C goes on ending the process
        wakeDescriptor = ends.write
        for number in numbers where muster_signal_is_ignored(number) == 0 { signal(number, wake) }
    }

    static func release(_ numbers: [Int32] = [SIGINT]) {
        for number in numbers where muster_signal_is_ignored(number) == 0 { signal(number, SIG_DFL) }
        _ = arrived()
    }

    static func stream() -> AsyncStream<Int32> {
        AsyncStream { continuation in
            guard ends.read >= 0 else { return }
            let source = ReadSource(ends.read) {
                for number in arrived() { continuation.yield(number) }
            }
            continuation.onTermination = { _ in source.cancel() }
        }
    }

    /// One after the other, on a thread where everything is allowed. For good: the process ends with its session.
    static func handle(_ numbers: [Int32], _ handler: @escaping @Sendable (Int32) -> Void) throws {
        guard ends.read >= 0 else { throw CommandLineError("Cannot make a pipe for signals.") }
        hold(numbers)
        let source = ReadSource(ends.read) {
            for number in arrived() { handler(number) }
        }
        handling.withLockedValue { $0.append(source) }
    }

    private static func arrived() -> [Int32] {
        var numbers: [Int32] = []
        var bytes = [UInt8](repeating: 0, count: 64)
        while ends.read >= 0 {
            let count = read(ends.read, &bytes, bytes.count)
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { break }
            numbers += bytes.prefix(count).map(Int32.init)
        }
        return numbers
    }
}

/// Set before the handler is, and never changed: a signal handler may do little more than write(2) (signal-safety(7)).
nonisolated(unsafe) private var wakeDescriptor: Int32 = -1

private func wake(_ number: Int32) {
    let saved = errno
    var byte = UInt8(truncatingIfNeeded: number)
    _ = write(wakeDescriptor, &byte, 1)
    errno = saved
}

/// A Dispatch source may be cancelled from any thread (dispatch_source_cancel(3)), which its Swift type on Linux does not say.
private final class ReadSource: @unchecked Sendable {
    private let source: any DispatchSourceRead

    init(_ descriptor: Int32, _ handler: @escaping @Sendable () -> Void) {
        source = DispatchSource.makeReadSource(fileDescriptor: descriptor, queue: DispatchQueue(label: "signals"))
        source.setEventHandler(handler: handler)
        source.resume()
    }

    func cancel() { source.cancel() }
}
