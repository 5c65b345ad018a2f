package import NIOCore

/// How long an acknowledgement takes, and when one is overdue. The smoothing is that of amazon-ssm-agent and session-manager-plugin
/// (RTTVAR from the old RTT; RTO = RTT + max(10 ms, 4 RTTVAR)). They cap the RTO at 1 s. Ours may grow much further: on a slow link
/// with a full window an acknowledgement takes longer than that, and what is sent again only because it was slow makes the link slower.
package struct RoundTrip: Sendable, Equatable {
    package private(set) var smoothed: TimeAmount = .milliseconds(100)
    package private(set) var variation: TimeAmount = .zero
    package private(set) var timeout: TimeAmount = .milliseconds(200)
    private let longest: TimeAmount

    package init(longest: TimeAmount = .seconds(60)) { self.longest = longest }

    package mutating func measured(_ sample: TimeAmount) {
        let sample = min(max(sample.nanoseconds, 0), TimeAmount.hours(1).nanoseconds)
        let old = self.smoothed.nanoseconds
        let variation = (self.variation.nanoseconds * 3 + abs(old - sample)) / 4
        let smoothed = (old * 7 + sample) / 8
        self.variation = .nanoseconds(variation)
        self.smoothed = .nanoseconds(smoothed)
        self.timeout = min(.nanoseconds(smoothed + max(TimeAmount.milliseconds(10).nanoseconds, 4 * variation)), self.longest)
    }
}
