import MusterClient
import Testing

struct BackoffTests {
    @Test func firstTryComesAtOnce() {
        var backoff = Backoff()
        #expect(backoff.next(random: 1) == .zero)
        #expect(backoff.next(random: 1) == .milliseconds(500))
        #expect(backoff.next(random: 1) == .seconds(1))
        #expect(backoff.next(random: 0) == .zero)
    }

    @Test func neverExceedsTheCapNorGoesBelowZero() {
        var backoff = Backoff()
        for _ in 0..<200 {
            let delay = backoff.next()
            #expect(delay >= .zero && delay <= .seconds(60))
        }
        #expect(backoff.next(random: 1) == .seconds(60))
        #expect(backoff.next(random: 7) == .seconds(60))
        #expect(backoff.next(random: -7) == .zero)
    }

    @Test func deniedStaysAtTheCap() {
        var backoff = Backoff()
        #expect(backoff.nextAtCap(random: 0) == .seconds(30))
        #expect(backoff.nextAtCap(random: 1) == .seconds(60))
    }

    @Test func resetBeginsAgain() {
        var backoff = Backoff()
        for _ in 0..<10 { _ = backoff.next() }
        backoff.reset()
        #expect(backoff.next(random: 1) == .zero)
        #expect(backoff.next(random: 1) == .milliseconds(500))
    }
}
