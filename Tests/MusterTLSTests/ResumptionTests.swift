import Foundation
import MusterCrypto
import MusterTLS
import Testing

@Suite("Resumed sessions")
struct ResumptionTests {
    private func connect(_ client: TLSContext, _ server: TLSContext, serverName: String = "localhost") throws -> EmbeddedPair {
        let pair = try EmbeddedPair(client, server, serverName: serverName)
        try pair.exchange()
        return pair
    }

    @Test("the identity is still known, on both sides, and each ticket is used once", arguments: [true, false])
    func identity(pinned: Bool) throws {
        let authority = try TestAuthority(), identity = try authority.identity(.client), server = try authority.server()
        let client = try authority.client(pinned ? .pinned(authority.certificate.fingerprint) : nil, identity: identity)
        let first = try connect(client, server)
        #expect(first.server.tls.peer?.isResumed == false)
        for _ in 0..<3 {
            let pair = try connect(client, server)
            let seen = try #require(pair.server.tls.peer), server = try #require(pair.client.tls.peer)
            #expect(seen.isResumed && server.isResumed)
            // So a node that was deregistered in between can be refused.
            #expect(seen.leaf == identity.chain[0])
            #expect(seen.verificationAnchor == authority.certificate)
            #expect(seen.chain == [identity.chain[0], authority.certificate])
            #expect(server.leaf == first.client.tls.peer?.leaf)
            #expect(server.verificationAnchor == authority.certificate)
        }
        // Two connections at once, one ticket: the second makes a full handshake.
        let one = try EmbeddedPair(client, server), two = try EmbeddedPair(client, server)
        try one.exchange()
        try two.exchange()
        #expect(one.server.tls.peer?.isResumed == true)
        #expect(two.server.tls.peer?.isResumed == false)
    }

    @Test("a ticket is not offered to another host, nor taken by another server context")
    func elsewhere() throws {
        let authority = try TestAuthority(), client = try authority.client(identity: authority.identity(.client))
        let server = try authority.server()
        _ = try connect(client, server)
        let byAddress = try connect(client, server, serverName: "127.0.0.1")
        #expect(byAddress.server.tls.peer?.isResumed == false)
        // That connection's ticket is now the newest, and for that name.
        let byName = try connect(client, server)
        #expect(byName.server.tls.peer?.isResumed == false)
        let other = try connect(client, authority.server())
        #expect(other.client.observer.handshakes == 1)
        #expect(other.server.tls.peer?.isResumed == false)
    }

    @Test("a session does not outlive the client's certificate", .timeLimit(.minutes(1)))
    func expiry() async throws {
        let end = Int64(Date().timeIntervalSince1970) + 4
        let authority = try TestAuthority(), server = try authority.server()
        let client = try authority.client(identity: authority.identity(.client, to: end))
        // Certificates have whole seconds, so there is no shorter validity to wait for.
        #expect(try connect(client, server).server.observer.handshakes == 1)
        while Int64(Date().timeIntervalSince1970) <= end { try await Task.sleep(for: .milliseconds(50)) }
        let late = try connect(client, server)
        #expect(late.server.observer.handshakes == 0)
        #expect(late.server.observer.codes == [.verification])
        #expect(late.server.observer.reasons.contains("resumed"))
    }
}
