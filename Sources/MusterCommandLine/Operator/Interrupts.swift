import Dispatch
import Glibc

/// Ctrl-C as a stream of events, while somebody listens; otherwise it ends the process as usual.
enum Interrupts {
    static func stream(_ numbers: [Int32] = [SIGINT]) -> AsyncStream<Void> {
        AsyncStream { continuation in
            for number in numbers { signal(number, SIG_IGN) }
            let sources = numbers.map { SignalSource($0) { continuation.yield() } }
            continuation.onTermination = { _ in
                for source in sources { source.cancel() }
                for number in numbers { signal(number, SIG_DFL) }
            }
        }
    }
}

/// A signal as a Dispatch source. A Dispatch source may be cancelled from any thread (dispatch_source_cancel(3)), which its
/// Swift type on Linux does not say.
private final class SignalSource: @unchecked Sendable {
    private let source: any DispatchSourceSignal

    init(_ number: Int32, _ handler: @escaping @Sendable () -> Void) {
        source = DispatchSource.makeSignalSource(signal: number)
        source.setEventHandler(handler: handler)
        source.resume()
    }

    func cancel() { source.cancel() }
}
