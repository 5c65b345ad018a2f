package import MusterWire
internal import NIOConcurrencyHelpers
internal import NIOCore

/// Bounds how often a node opens its control channel, by WebSocket or by polling: each time costs a commit and the news of it, and a node that
/// does nothing else would keep the store's one writer busy. By node and not by address, so that a fleet behind one address is not slowed.
package final class ChannelOpenings: Sendable {
    private let limits = NIOLockedValueBox(
        RequestLimits(perSecond: OpenControlChannel.openingsPerSecond, burst: OpenControlChannel.openingsAtOnce))
    /// Milliseconds of any steady clock.
    private let now: @Sendable () -> Int64

    package init(now: @escaping @Sendable () -> Int64) {
        self.now = now
    }

    package convenience init() {
        self.init(now: { Int64(NIODeadline.now().uptimeNanoseconds / 1_000_000) })
    }

    package func admit(_ node: NodeID) -> Bool {
        let now = now()
        return limits.withLockedValue { $0.admit(node.rawValue, now: now) }
    }
}
