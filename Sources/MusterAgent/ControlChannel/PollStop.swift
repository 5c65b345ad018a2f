import NIOConcurrencyHelpers

/// The order to stop polling. It may come before anyone waits for it.
final class PollStop: Sendable {
    private let alarm = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
    private let goodbye = NIOLockedValueBox(true)

    /// Whether the controller is told. A connection that takes the place of this one says enough.
    var saysGoodbye: Bool { goodbye.withLockedValue { $0 } }

    func order(goodbye: Bool) {
        self.goodbye.withLockedValue { $0 = goodbye }
        alarm.continuation.finish()
    }

    /// Returns when it has been ordered, or when the task is cancelled.
    func ordered() async {
        for await _ in alarm.stream {}
    }
}
