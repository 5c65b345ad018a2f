import NIOConcurrencyHelpers
import Testing

@testable import MusterController

@Suite struct QuotaTests {
    private final class Clock: Sendable {
        private let time = NIOLockedValueBox<Int64>(10_000)
        var now: Int64 { time.withLockedValue { $0 } }
        func pass(_ milliseconds: Int64) { time.withLockedValue { $0 += milliseconds } }
    }

    private final class Cuts: Sendable {
        private let names = NIOLockedValueBox<[String]>([])
        var all: [String] { names.withLockedValue { $0 } }
        func cut(_ name: String) -> @Sendable () -> Void { { self.names.withLockedValue { $0.append(name) } } }
    }

    @Test func eachSourceHasItsPartAndAllTogetherTheirs() {
        let quota = Quota<String>(total: 3, perSource: 2)
        let shares = [quota.take(for: "a"), quota.take(for: "a"), quota.take(for: "a"), quota.take(for: "b"), quota.take(for: "c")]
        #expect(shares.map { $0 != nil } == [true, true, false, true, false])
        shares[0]?.giveBack()
        shares[0]?.giveBack()
        #expect(quota.taken == 2 && quota.taken(by: "a") == 1)
        let next = quota.take(for: "c")
        #expect(next != nil && quota.taken == 3)
        withExtendedLifetime((shares, next)) {}
    }

    @Test func whatNobodyHoldsIsBack() {
        let quota = Quota<String>(total: 2, perSource: 2)
        for _ in 0..<100 { #expect(quota.take(for: "a") != nil) }
        #expect(quota.taken == 0)
        let closure: (@Sendable () -> Void)? = {
            let share = quota.take(for: "a")
            return { withExtendedLifetime(share) {} }
        }()
        #expect(quota.taken == 1)
        withExtendedLifetime(closure) {}
    }

    @Test func whoHasMostMakesRoom() throws {
        let (clock, cuts) = (Clock(), Cuts())
        let quota = Quota<String>(total: 4, perSource: 4, graceMilliseconds: 1_000, now: { clock.now })
        var held = (0..<4).map { quota.take(for: "crowd", cut: cuts.cut("crowd \($0)")) }
        // At once, and its oldest.
        held.append(quota.take(for: "guest", cut: cuts.cut("guest")))
        #expect(cuts.all == ["crowd 0"] && held.allSatisfy { $0 != nil } && quota.taken(by: "crowd") == 3)
        // The crowd competes with itself, and what is new is safe for a while.
        #expect(quota.take(for: "crowd", cut: cuts.cut("late")) == nil)
        clock.pass(1_000)
        held.append(quota.take(for: "crowd", cut: cuts.cut("late")))
        #expect(cuts.all == ["crowd 0", "crowd 1"] && quota.taken(by: "guest") == 1)
        // What has been cut has nothing to give back.
        held[0]?.giveBack()
        #expect(quota.taken == 4)
        withExtendedLifetime(held) {}
    }

    @Test func amongEqualsTheOldestGoesAndNotBeforeItsTime() {
        let (clock, cuts) = (Clock(), Cuts())
        let quota = Quota<Int>(total: 3, perSource: 2, graceMilliseconds: 1_000, now: { clock.now })
        var held = (0..<3).map { quota.take(for: $0, cut: cuts.cut("\($0)")) }
        #expect(quota.take(for: 9, cut: cuts.cut("9")) == nil && cuts.all.isEmpty)
        clock.pass(1_000)
        held.append(quota.take(for: 9, cut: cuts.cut("9")))
        #expect(cuts.all == ["0"])
        withExtendedLifetime(held) {}
    }

    @Test func whatIsKeptIsNotCut() {
        let (clock, cuts) = (Clock(), Cuts())
        let quota = Quota<String>(total: 2, perSource: 2, graceMilliseconds: 0, now: { clock.now })
        let (first, second) = (quota.take(for: "a", cut: cuts.cut("1")), quota.take(for: "a", cut: cuts.cut("2")))
        #expect(first?.keep() == true)
        let third = quota.take(for: "b", cut: cuts.cut("3"))
        #expect(third != nil && cuts.all == ["2"] && second?.keep() == false)
        let unfit = quota.take(3, for: "c")
        #expect(unfit == nil && cuts.all == ["2"])
        withExtendedLifetime((first, second, third)) {}
    }

    @Test func whatGrowsMakesItsOwnSourceThatHasMost() {
        let (clock, cuts) = (Clock(), Cuts())
        let quota = Quota<String>(total: 100, perSource: 60, graceMilliseconds: 1_000, now: { clock.now })
        let greedy = (0..<2).map { quota.take(0, for: "greedy", cut: cuts.cut("greedy \($0)")) }
        #expect(greedy[0]?.grow(by: 30) == true && greedy[1]?.grow(by: 30) == true && greedy[1]?.grow(by: 1) == false)
        let others = (0..<2).map { quota.take(0, for: "other \($0)", cut: cuts.cut("other \($0)")) }
        #expect(others.allSatisfy { $0?.grow(by: 25) == true } && cuts.all == ["greedy 0"])
        #expect(greedy[0]?.grow(by: 1) == false && quota.taken == 80)
        withExtendedLifetime((greedy, others)) {}
    }

    @Test func tenThousandSourcesThatComeAndGoLeaveNothing() {
        var ledger = QuotaLedger<Int>(total: 64, perSource: 8)
        for number in 0..<10_000 {
            let taken = ledger.take(1, for: number % 1_000, cut: {}, now: Int64(number))
            if number.isMultiple(of: 3), let own = taken.number { ledger.remove(own) }
        }
        #expect(ledger.taken <= 64 && ledger.sources <= 64)
    }
}
