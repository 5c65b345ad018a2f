import MusterWire
import Testing

@testable import MusterController

@Suite struct AttemptLimiterTests {
    let start = Timestamp(milliseconds: 0)

    @Test func failuresAreEarnedBack() {
        var limiter = AttemptLimiter(burst: 3, refillPerMinute: 6)
        let key = AttemptLimiter.Key(source: "a", activation: nil)
        for _ in 0..<3 {
            #expect(limiter.allows(key, at: start))
            limiter.failed(key, at: start)
        }
        #expect(!limiter.allows(key, at: start))
        #expect(!limiter.allows(key, at: start.adding(seconds: 9)))
        #expect(limiter.allows(key, at: start.adding(seconds: 10)))
        #expect(limiter.allows(AttemptLimiter.Key(source: "b", activation: nil), at: start))
        #expect(limiter.allows(AttemptLimiter.Key(source: "a", activation: .random()), at: start))
    }

    @Test func theTableIsBounded() {
        var limiter = AttemptLimiter(burst: 2, refillPerMinute: 6, capacity: 10)
        for index in 0..<1000 {
            limiter.failed(AttemptLimiter.Key(source: "\(index)", activation: nil), at: start.adding(milliseconds: Int64(index)))
        }
        #expect(limiter.count == 10)
    }

    @Test func aClockThatGoesBackForgivesNothing() {
        var limiter = AttemptLimiter(burst: 1, refillPerMinute: 6)
        let key = AttemptLimiter.Key(source: "a", activation: nil)
        limiter.failed(key, at: start.adding(seconds: 100))
        #expect(!limiter.allows(key, at: start))
    }
}
