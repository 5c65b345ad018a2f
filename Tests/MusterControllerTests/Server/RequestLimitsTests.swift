import MusterWire
import Testing

@testable import MusterController

@Suite struct RequestLimitsTests {
    @Test func aBurstThenTheRate() {
        var limits = RequestLimits(perSecond: 10, burst: 3)
        #expect((0..<5).map { _ in limits.admit("a", now: 1_000) } == [true, true, true, false, false])
        #expect(limits.admit("b", now: 1_000) == true)
        #expect(limits.admit("a", now: 1_100) == true)
        #expect(limits.admit("a", now: 1_150) == false)
        #expect((0..<5).map { _ in limits.admit("a", now: 60_000) } == [true, true, true, false, false])
    }

    @Test func aClockThatGoesBackGivesNothing() {
        var limits = RequestLimits(perSecond: 10, burst: 1)
        #expect(limits.admit("a", now: 1_000) == true)
        #expect(limits.admit("a", now: 0) == false)
    }

    @Test func inventedNamesDoNotFillMemory() {
        var limits = RequestLimits(perSecond: 10, burst: 2, capacity: 100)
        for number in 0..<10_000 { _ = limits.admit("name \(number)", now: Int64(number)) }
        #expect(limits.count <= 100)
    }

    @Test func aDenialIsWrittenOnceAndThenCounted() {
        var ledger = DenialLedger(windowSeconds: 60, capacity: 2)
        let kind = DenialLedger.Kind(source: "a", operation: "Echo", reason: "InvalidSignatureException")
        #expect(ledger.denied(kind, now: 0) == .write(kind))
        #expect(ledger.denied(kind, now: 1) == .counted)
        #expect(ledger.denied(kind, now: 2) == .counted)
        let early = ledger.expired(now: 59_999)
        #expect(early.isEmpty)
        let over = ledger.expired(now: 60_000)
        #expect(over.map(\.kind) == [kind])
        #expect(over.map(\.count) == [2])
        #expect(over.map(\.first.milliseconds) == [1] && over.map(\.last.milliseconds) == [2])
        #expect(ledger.denied(kind, now: 60_001) == .write(kind))
    }

    @Test func oneStrangerHasItsShare() {
        var ledger = DenialLedger(windowSeconds: 60, capacity: 100, capacityOfSource: 3)
        // The addresses that one host has to itself.
        let kinds = (0..<50).map { DenialLedger.Kind(source: "2001:db8::\($0)", operation: "Echo \($0)", reason: "x") }
        #expect(kinds.count { if case .write = ledger.denied($0, now: 0) { true } else { false } } == 4)
        let other = DenialLedger.Kind(source: "192.0.2.1", operation: "Echo", reason: "x")
        #expect(ledger.denied(other, now: 0) == .write(other))
        #expect(ledger.expired(now: 60_000).reduce(0) { $0 + $1.count } == 46)
        #expect(ledger.denied(kinds[0], now: 60_001) == .write(kinds[0]))
    }

    /// However an operator names a role's session or gets temporary credentials: what is told is who it was.
    @Test func ofAnOperatorsDenialsTheNumberSaysWhoseTheyWere() {
        var ledger = DenialLedger(windowSeconds: 60, capacity: 8_192, capacityOfSource: 512)
        let kind = DenialLedger.Kind(source: "AKIA", operation: "SendCommand", reason: "AccessDeniedException")
        let bob = Caller(accessKeyID: "ASIA", userName: "bob", arn: "arn:aws:iam::1:user/bob", sourceAddress: "192.0.2.1", userAgent: "")
        let written = (0..<563).count { if case .write = ledger.denied(kind, by: bob, now: Int64($0)) { true } else { false } }
        #expect(written == 1)
        let over = ledger.expired(now: 60_000)
        #expect(over.count == 1 && over[0].count == 562 && over[0].caller == bob)
    }

    @Test func whoIsOneStranger() {
        for (address, stranger) in [
            "192.0.2.1": "192.0.2.1", "::ffff:192.0.2.1": "::ffff:192.0.2.1", "2001:db8:0:1::5": "20010db800000001::/64",
            "2001:db8:0:1:ffff::9": "20010db800000001::/64", "fe80::1%eth0": "fe80000000000000::/64", "many": "many",
        ] { #expect(AddressRange.stranger(address) == stranger) }
    }

    @Test func manyKindsAreOneKind() {
        var ledger = DenialLedger(windowSeconds: 60, capacity: 2)
        let kinds = (0..<50).map { DenialLedger.Kind(source: "source \($0)", operation: "Echo", reason: "x") }
        let written = kinds.count { if case .write = ledger.denied($0, now: 0) { true } else { false } }
        #expect(written == 3)
        let all = ledger.expired(now: 0, all: true)
        #expect(all.reduce(0) { $0 + $1.count } == 47)
    }
}
