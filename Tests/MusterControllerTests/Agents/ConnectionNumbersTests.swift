import Testing

@testable import MusterController

@Suite struct ConnectionNumbersTests {
    @Test func aHigherNumberReplaces() {
        var numbers = ConnectionNumbers(last: 0)
        #expect(numbers.claim(1) == .accept)
        #expect(numbers.claim(2) == .accept)
        #expect(numbers.claim(900) == .accept)
        #expect(numbers.last == 900)
    }

    @Test(arguments: [1, 6, 7] as [UInt64])
    func anEqualOrLowerNumberMeansTwoHolders(presented: UInt64) {
        var numbers = ConnectionNumbers(last: 7)
        #expect(numbers.claim(presented) == .quarantine)
        #expect(numbers.last == 7)
    }

    @Test func onlyNumbersThatTheStoreKeepsAreUsable() {
        #expect(!ConnectionNumbers.isUsable(0))
        #expect(ConnectionNumbers.isUsable(1))
        #expect(ConnectionNumbers.isUsable(UInt64(Int64.max)))
        #expect(!ConnectionNumbers.isUsable(UInt64(Int64.max) + 1))
    }
}
