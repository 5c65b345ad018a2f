import Testing

@testable import MusterController

@Suite struct RushTests {
    @Test func isOverOnceWhenItHasBecomeQuiet() {
        var rush = Rush()
        for _ in 0..<500 { rush.connected() }
        #expect(!rush.looked())
        rush.connected()
        #expect(!rush.looked())
        #expect(rush.looked())
        #expect(!rush.looked())
    }

    @Test func aFewAreNoRushUntilTheyAreMany() {
        var rush = Rush()
        for _ in 0..<99 { rush.connected() }
        #expect(!rush.looked())
        #expect(!rush.looked())
        rush.connected()
        #expect(!rush.looked())
        #expect(rush.looked())
    }
}
