package import MusterWire
import NIOConcurrencyHelpers

/// The controller's time, as far as its answers have told it.
///
/// Host clocks are wrong more often than one thinks: a board without a battery starts in 1970. What has to be judged in the
/// controller's time (when a job may still start, whether a certificate is valid, when a signature was made) is judged by this.
package final class ServerClock: Sendable {
    /// Set by the controller on every answer and on the WebSocket's 101: milliseconds since 1970.
    package static let header = "x-muster-server-time"

    private let difference = NIOLockedValueBox<Int64?>(nil)
    private let hostNow: @Sendable () -> Timestamp

    package init(hostNow: @escaping @Sendable () -> Timestamp = { Timestamp.now() }) {
        self.hostNow = hostNow
    }

    /// Server time minus host time; nil before the first answer.
    package var offsetMilliseconds: Int64? { difference.withLockedValue { $0 } }

    package func now() -> Timestamp {
        Timestamp(milliseconds: hostNow().milliseconds + (offsetMilliseconds ?? 0))
    }

    /// Takes the time of an answer that came over an authenticated connection. Returns the new difference, nil if there was none.
    @discardableResult
    package func observe(_ value: String?) -> Int64? {
        // The bounds (1970 to 3000) keep every later sum far from overflow.
        guard let value, let server = Int64(value), server > 0, server < 32_503_680_000_000 else { return nil }
        let offset = server - hostNow().milliseconds
        difference.withLockedValue { $0 = offset }
        return offset
    }
}
