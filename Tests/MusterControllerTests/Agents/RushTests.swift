import Testing

@testable import MusterController

@Suite struct RushTests {
    /// What each look says after so many connections.
    private func looks(_ connections: [Int]) -> [Bool] {
        var rush = Rush()
        return connections.map { count in
            for _ in 0..<count { rush.connected() }
            return rush.looked()
        }
    }

    @Test func isOverOnceWhenItHasBecomeQuiet() {
        #expect(looks([500, 1, 0, 0]) == [false, false, true, false])
    }

    @Test func aFewAreNoRushUntilTheyAreMany() {
        #expect(looks([99, 0, 1, 0]) == [false, false, false, true])
    }
}
