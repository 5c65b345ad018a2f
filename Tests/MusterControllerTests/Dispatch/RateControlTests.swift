import Testing

@testable import MusterController

@Suite struct RateControlTests {
    @Test(arguments: [
        // targets, MaxConcurrency, MaxErrors, concurrency, allowed errors
        (1, "50", "0", 50, 0), (7, "10%", "10%", 1, 0), (50, "10%", "10%", 5, 5), (101, "10%", "10%", 10, 10),
        (3, "50%", "50%", 1, 1), (7, "100%", "100%", 7, 7), (101, "1%", "1%", 1, 1), (50, "1", "49", 1, 49),
        (9, "99%", "9%", 8, 0), (10_000, "33%", "1%", 3_300, 100),
    ])
    func limits(_ targets: Int, _ concurrency: String, _ errors: String, _ expectedConcurrency: Int, _ expectedErrors: Int) throws {
        let rate = RateControl(
            maximumConcurrency: try #require(RateControl.Limit(concurrency)),
            maximumErrors: try #require(RateControl.Limit(errors)), targets: targets)
        #expect(rate.maximumConcurrency == expectedConcurrency)
        #expect(rate.allowedErrors == expectedErrors)
    }

    @Test(arguments: ["", "%", "-1", "+1", "1.5", "101%", "12345678", "x", "5 %", "١"])
    func refused(_ text: String) {
        #expect(RateControl.Limit(text) == nil)
    }

    @Test func rampDoublesEachRound() {
        var rate = RateControl(maximumConcurrency: .number(10), maximumErrors: .number(0), targets: 100)
        var rounds: [Int] = []
        for _ in 0..<5 {
            var started = 0
            while rate.hasRoom {
                rate.started()
                started += 1
            }
            rounds.append(started)
            for _ in 0..<started {
                rate.proven()
                rate.ended()
            }
        }
        #expect(rounds == [1, 2, 4, 8, 10])
    }

    @Test func budget() {
        var rate = RateControl(maximumConcurrency: .number(5), maximumErrors: .number(1), targets: 9)
        rate.failed()
        #expect(!rate.isSpent && rate.hasRoom)
        rate.failed()
        #expect(rate.isSpent && !rate.hasRoom)
    }
}
