/// How long to wait before the next try: nothing at first, then a random time below a limit that doubles up to the cap.
///
/// "Full jitter" spreads a whole fleet evenly after an outage; see
/// https://aws.amazon.com/builders-library/timeouts-retries-and-backoff-with-jitter/
package struct Backoff: Sendable, Hashable {
    package let base: Duration
    package let cap: Duration
    /// Waits handed out since the last reset.
    package private(set) var tries = 0

    package init(base: Duration = .milliseconds(500), cap: Duration = .seconds(60)) {
        self.base = base
        self.cap = max(base, cap)
    }

    /// - Parameter random: a number from 0 to 1; anything outside is taken as the nearer end.
    package mutating func next(random: Double = .random(in: 0..<1)) -> Duration {
        defer { tries += 1 }
        guard tries > 0 else { return .zero }
        return limit * min(max(random, 0), 1)
    }

    /// The wait of someone who was told no: never sooner than half the cap, never later than the cap.
    package mutating func nextAtCap(random: Double = .random(in: 0..<1)) -> Duration {
        tries += 1
        return cap / 2 + cap / 2 * min(max(random, 0), 1)
    }

    package mutating func reset() {
        tries = 0
    }

    private var limit: Duration {
        // 2^20 times the base is far beyond any cap, and still far from overflow.
        let doublings = min(max(tries - 1, 0), 20)
        return min(cap, base * (1 << doublings))
    }
}
