import MusterWire
import Testing

@testable import MusterController

@Suite struct OutputQuotaTests {
    private let hostile = NodeID("mi-0123456789abcdef0")!
    private let honest = NodeID("mi-0123456789abcdef1")!

    private func limits(command: Int64 = 100, node: Int64 = 150, total: Int64 = 1_000) -> OutputQuota.Limits {
        var limits = OutputQuota.Limits()
        (limits.nodeBytes, limits.nodeTotalBytes, limits.totalBytes) = (command, node, total)
        return limits
    }

    @Test func theLeastOfTheBoundsHolds() {
        var quota = OutputQuota(limits: limits(), nodes: [:])
        #expect(quota.room(for: hostile, ofCommand: 0).bytes == 100)
        #expect(quota.room(for: hostile, ofCommand: 60) == .init(bytes: 40, bound: "the controller's quota for one command on a node"))
        quota.take(100, by: hostile)
        #expect(quota.room(for: hostile, ofCommand: 0) == .init(bytes: 50, bound: "the controller's quota for this node"))
        quota.take(50, by: hostile)
        #expect(quota.room(for: hostile, ofCommand: 0).bytes == 0)
        #expect(quota.room(for: honest, ofCommand: 0).bytes == 100)
    }

    @Test func whatIsRemovedIsGivenBack() {
        var quota = OutputQuota(limits: limits(), nodes: [hostile: 150, honest: 20])
        #expect(quota.total == 170)
        quota.giveBack(100, of: hostile)
        #expect(quota.room(for: hostile, ofCommand: 0).bytes == 100)
        // More than there is gives back what there is: the sum stays that of the nodes.
        quota.giveBack(500, of: hostile)
        #expect(quota.total == 20 && quota.used(by: hostile) == 0)
    }

    @Test func noNumberOfNodesTakesAllOfTheStore() {
        var quota = OutputQuota(limits: limits(command: 1 << 40, node: 1 << 40, total: 1 << 30), nodes: [:])
        for number in 0..<20 {
            let node = NodeID("mi-000000000000000\(number < 10 ? "0" : "1")\(number % 10)")!
            quota.take(quota.room(for: node, ofCommand: 0).bytes, by: node)
        }
        #expect(quota.room(for: honest, ofCommand: 0).bytes >= 500)
        #expect(quota.total < 1 << 30)
    }

    @Test func aStoreThatIsOverItsLimitTakesNothing() {
        let quota = OutputQuota(limits: limits(total: 100), nodes: [hostile: 500])
        #expect(quota.room(for: honest, ofCommand: 0) == .init(bytes: 0, bound: "the controller's quota for all nodes"))
    }
}
