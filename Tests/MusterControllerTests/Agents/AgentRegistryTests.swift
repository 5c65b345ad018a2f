import Logging
import MusterCrypto
import MusterWire
import Testing

@testable import MusterController

@Suite(.timeLimit(.minutes(1))) struct AgentRegistryTests {
    @Test func aLateClaimDoesNotReplaceANewerOne() async throws {
        let fixture = try await EnrolmentFixture()
        let (identity, certificate) = try await fixture.node()
        let end = fixture.clock.now.adding(seconds: 3600)
        func enter(_ number: UInt64) async -> (FakePeer, AgentRegistry.ConnectionID, Bool) {
            let peer = FakePeer(certificate: certificate)
            let id = await fixture.registry.began(peer.peer)
            let entry = await fixture.registry.connected(
                id, identity, number: number, peer: peer.peer, outbox: AgentOutbox { _, _ in }, endsAt: end,
                authority: certificate.authorityKeyIdentifier)
            if case .entered = entry { return (peer, id, true) }
            return (peer, id, false)
        }
        let newer = await enter(6)
        let older = await enter(5)
        #expect(newer.2 && !older.2)
        #expect(await !fixture.registry.disconnected(older.1, identity.node))
        #expect(await fixture.registry.isConnected(identity.node))
        #expect(await fixture.registry.disconnected(newer.1, identity.node))
        #expect(await !fixture.registry.isConnected(identity.node))
    }

    @Test func whatWasHeardIsWrittenAtTheEnd() async throws {
        let fixture = try await EnrolmentFixture()
        let (identity, _) = try await fixture.node()
        let registry = fixture.registry
        let service = Task { try await registry.run() }
        await registry.heard(from: identity.node)
        service.cancel()
        try await service.value
        #expect(try await fixture.stored(identity.node)?.lastPingAt == fixture.clock.now)
    }

    @Test func pingsThatCannotBeWrittenAreKept() async throws {
        let fixture = try await EnrolmentFixture()
        let (identity, _) = try await fixture.node()
        await fixture.registry.heard(from: identity.node)
        try fixture.database.close()
        await fixture.registry.flushPings()
        #expect(await fixture.registry.recentPings().keys.contains(identity.node))
    }
}
