import MusterCrypto
import MusterTLS
import NIOCore
import NIOEmbedded
import Testing

@Suite("Handshakes: who is believed")
struct HandshakeTests {
    private func failure(
        _ client: TLSContext, _ server: TLSContext, serverName: String? = "localhost", _ location: SourceLocation = #_sourceLocation
    ) throws -> EmbeddedPair {
        let pair = try EmbeddedPair(client, server, serverName: serverName)
        try pair.exchange()
        #expect(pair.client.observer.handshakes == 0, sourceLocation: location)
        #expect(pair.client.observer.codes == [.verification], "\(pair.client.observer.reasons)", sourceLocation: location)
        #expect(pair.client.tls.peer == nil, sourceLocation: location)
        #expect(pair.server.observer.handshakes == 0, sourceLocation: location)
        #expect(pair.server.observer.codes == [.handshake], "the alert arrives", sourceLocation: location)
        #expect(!pair.client.channel.isActive && !pair.server.channel.isActive, sourceLocation: location)
        return pair
    }

    @Test("both sides prove themselves, and talk", arguments: [Int.max, 1, 7])
    func mutual(pieces: Int) throws {
        let authority = try TestAuthority(), identity = try authority.identity(.client)
        let pair = try EmbeddedPair(authority.client(identity: identity), authority.server())
        pair.client.write(Array("before the handshake".utf8))  // held
        try pair.exchange(pieces: pieces)
        #expect(pair.client.observer.handshakes == 1)
        #expect(pair.server.observer.handshakes == 1)
        #expect(pair.server.observer.received == Array("before the handshake".utf8))
        let peer = try #require(pair.server.tls.peer)
        #expect(peer.leaf == identity.chain[0])
        #expect(peer.leaf?.uris == ["muster:node:mi-0123456789abcdef0:1"])
        #expect(peer.verificationAnchor == authority.certificate)
        #expect(peer.version == "TLSv1.3")
        #expect(!peer.isResumed)
        #expect(pair.client.tls.peer?.leaf?.dnsNames == ["localhost"])
        let large = RandomBytes.make(100_000)
        pair.server.write(large)
        try pair.exchange(pieces: pieces)
        #expect(pair.client.observer.received == large)
        #expect(pair.client.observer.errors.isEmpty && pair.server.observer.errors.isEmpty)
    }

    @Test("a client may come without a certificate, and is then nobody", arguments: [true, false])
    func anonymous(asksClients: Bool) throws {
        let authority = try TestAuthority()
        let pair = try EmbeddedPair(
            authority.client(identity: asksClients ? nil : authority.identity(.client)), authority.server(asksClients: asksClients))
        try pair.exchange()
        let peer = try #require(pair.server.tls.peer)
        #expect(pair.server.observer.handshakes == 1)
        #expect(peer.leaf == nil && peer.chain.isEmpty && peer.verificationAnchor == nil)
    }

    @Test("a server of another authority")
    func wrongAuthority() throws {
        let authority = try TestAuthority(), other = try TestAuthority()
        _ = try failure(authority.client(), other.server())
        _ = try failure(authority.client(.authorities([])), authority.server())
        _ = try failure(authority.client(.system), authority.server())
    }

    @Test("the pinned authority is enough, if it is presented")
    func pin() throws {
        let authority = try TestAuthority(), pin = authority.certificate.fingerprint
        let pair = try EmbeddedPair(authority.client(.pinned(pin)), authority.server())
        try pair.exchange()
        #expect(pair.client.observer.handshakes == 1, "\(pair.client.observer.reasons)")
        #expect(pair.client.tls.peer?.verificationAnchor == authority.certificate)
        let missing = try failure(authority.client(.pinned(pin)), authority.server(authority.identity(.server, appending: [])))
        #expect(missing.client.observer.reasons.contains("pinned"))
    }

    @Test("a foreign leaf with the pinned authority merely appended")
    func pinAppended() throws {
        let authority = try TestAuthority(), other = try TestAuthority(), pin = authority.certificate.fingerprint
        _ = try failure(authority.client(.pinned(pin)), other.server(other.identity(.server, appending: [authority.certificate])))
        _ = try failure(
            authority.client(.pinned(pin)), other.server(other.identity(.server, appending: [other.certificate, authority.certificate])))
        _ = try failure(
            authority.client(.pinned(pin)), other.server(other.identity(.server, appending: [authority.certificate, other.certificate])))
        // The same names, so that only the signature tells them apart, is what the default name above already gives.
        #expect(other.certificate.commonName == authority.certificate.commonName)
    }

    @Test("a pinned leaf vouches for nothing, nor does a wrong, short or empty pin")
    func pinnedLeaf() throws {
        let authority = try TestAuthority(), identity = try authority.identity(.server)
        let pin = authority.certificate.fingerprint
        for wrong in [identity.chain[0].fingerprint, Array(pin.dropLast()), [], pin.dropLast() + [pin[31] ^ 1]] {
            _ = try failure(authority.client(.pinned(wrong)), authority.server(identity))
        }
    }

    @Test("with the pin, host name, validity and purpose still count")
    func pinIsNotAll() throws {
        let authority = try TestAuthority(), now = TestAuthority.now, pin = TLSTrust.pinned(authority.certificate.fingerprint)
        _ = try failure(authority.client(pin), authority.server(), serverName: "other.example")
        _ = try failure(authority.client(pin), authority.server(authority.identity(.server, to: now - 10)))
        _ = try failure(authority.client(pin), authority.server(authority.identity(.client)))
    }

    @Test("expired and not yet valid, by the host's clock and by the one that is given")
    func validity() throws {
        let authority = try TestAuthority(), now = TestAuthority.now
        let expired = try authority.identity(.server, to: now - 10), early = try authority.identity(.server, from: now + 100)
        #expect(try failure(authority.client(), authority.server(expired)).client.observer.reasons.contains("expired"))
        #expect(try failure(authority.client(), authority.server(early)).client.observer.reasons.contains("not yet valid"))
        for (identity, time) in [(expired, now - 60), (early, now + 200)] {
            var configuration = TLSConfiguration.client(trust: .authorities([authority.certificate]))
            configuration.verificationTime = time
            let pair = try EmbeddedPair(TLSContext(configuration), authority.server(identity))
            try pair.exchange()
            #expect(pair.client.observer.handshakes == 1)
        }
        var configuration = TLSConfiguration.client(trust: .pinned(authority.certificate.fingerprint))
        configuration.verificationTime = now + 1_000_000
        _ = try failure(TLSContext(configuration), authority.server())
    }

    @Test(
        "host names and addresses",
        arguments: [
            ("localhost", true), ("LOCALHOST", true), ("a.wild.example", true), ("127.0.0.1", true), ("::1", true),
            ("other.example", false), ("b.a.wild.example", false), ("wild.example", false), ("127.0.0.2", false), ("::2", false),
            ("localhost.example", false),
        ])
    func names(_ name: String, _ isRight: Bool) throws {
        let authority = try TestAuthority()
        let identity = try authority.identity(.server, dnsNames: ["localhost", "*.wild.example"], ipAddresses: ["127.0.0.1", "::1"])
        if isRight {
            let pair = try EmbeddedPair(authority.client(), authority.server(identity), serverName: name)
            try pair.exchange()
            #expect(pair.client.observer.handshakes == 1, "\(pair.client.observer.reasons)")
        } else {
            let pair = try failure(authority.client(), authority.server(identity), serverName: name)
            #expect(pair.client.observer.reasons.contains("mismatch"))
        }
    }

    @Test("the common name is no host name")
    func commonName() throws {
        let authority = try TestAuthority()
        _ = try failure(authority.client(), authority.server(authority.identity(.server, dnsNames: [], ipAddresses: [])))
    }

    @Test("a client that does not say whom it expects is refused by itself", arguments: [nil, "", "a b", "ü.example"])
    func noName(_ name: String?) throws {
        let authority = try TestAuthority()
        let pair = try EmbeddedPair(authority.client(), authority.server(), serverName: name)
        try pair.exchange()
        #expect(pair.client.observer.codes == [.configuration])
        #expect(!pair.client.channel.isActive)
    }

    @Test("a client certificate as a server's")
    func clientAsServer() throws {
        let authority = try TestAuthority()
        #expect(
            try failure(authority.client(), authority.server(authority.identity(.client))).client.observer.reasons.contains("purpose"))
    }

    @Test("client certificates that the server refuses", arguments: ["server", "foreign", "foreign, appended", "expired", "early"])
    func wrongClients(_ kind: String) throws {
        let authority = try TestAuthority(), other = try TestAuthority(), now = TestAuthority.now
        let identity =
            switch kind {
            case "server": try authority.identity(.server)
            case "foreign": try other.identity(.client)
            case "foreign, appended": try other.identity(.client, appending: [authority.certificate])
            case "expired": try authority.identity(.client, to: now - 10)
            default: try authority.identity(.client, from: now + 100)
            }
        let pair = try EmbeddedPair(authority.client(identity: identity), authority.server())
        pair.client.write(Array("hello".utf8))
        try pair.exchange()
        #expect(pair.server.observer.handshakes == 0)
        #expect(pair.server.observer.codes == [.verification], "\(pair.server.observer.reasons)")
        #expect(pair.server.observer.received.isEmpty)
        // In TLS 1.3 the client learns of it after its own part is done, when it reads.
        #expect(pair.client.observer.codes == [.connection], "\(pair.client.observer.reasons)")
        #expect(pair.client.observer.reasons.contains("alert"))
        #expect(!pair.client.channel.isActive && !pair.server.channel.isActive)
    }

    @Test("a client keeps its root to itself")
    func rootOfClient() throws {
        let authority = try TestAuthority(), other = try TestAuthority()
        let pair = try EmbeddedPair(authority.client(identity: other.identity(.client)), authority.server())
        try pair.exchange()
        // With the root OpenSSL would speak of a self-signed certificate in the chain.
        #expect(pair.server.observer.reasons.contains("local issuer"), "\(pair.server.observer.reasons)")
    }

    @Test("an identity whose key and certificate do not belong together, or without a certificate")
    func wrongIdentity() throws {
        let authority = try TestAuthority(), chain = try authority.identity(.server).chain
        let error = #expect(throws: TLSError.self) { try authority.server(TLSIdentity(chain: chain, key: .generate())) }
        #expect(error?.code == .configuration)
        #expect(error?.description.contains("private key mismatch") == true)
        #expect(throws: TLSError.self) { try authority.server(TLSIdentity(chain: [], key: .generate())) }
    }

    @Test("a peer that does not speak TLS", arguments: ["GET / HTTP/1.1\r\n\r\n", "\u{16}\u{3}\u{1}\u{0}\u{5}xxxxx", "\0\0\0\0\0\0\0\0"])
    func noTLS(_ text: String) throws {
        let authority = try TestAuthority(), pair = try EmbeddedPair(authority.client(), authority.server())
        _ = try? pair.server.channel.writeInbound(ByteBuffer(string: text))
        #expect(pair.server.observer.codes == [.handshake])
        #expect(!pair.server.channel.isActive)
        _ = try? pair.client.channel.writeInbound(ByteBuffer(string: text))
        #expect(pair.client.observer.codes == [.handshake])
    }

    @Test("a handshake with any one byte changed fails on one side at least, and never crashes")
    func garbled() throws {
        let authority = try TestAuthority(), server = try authority.server()
        let client = try authority.client(identity: authority.identity(.client))
        for offset in stride(from: 0, to: 2_000, by: 13) {
            let pair = try EmbeddedPair(client, server)
            var hello = try #require(try pair.client.takeCiphertext())
            if offset < hello.readableBytes {
                hello.setInteger(hello.getInteger(at: offset, as: UInt8.self)! ^ 0x55, at: offset)
                _ = try? pair.server.channel.writeInbound(hello)
            } else {
                _ = try? pair.server.channel.writeInbound(hello)
                guard var answer = try pair.server.takeCiphertext(), offset - hello.readableBytes < answer.readableBytes else { break }
                let index = offset - hello.readableBytes
                answer.setInteger(answer.getInteger(at: index, as: UInt8.self)! ^ 0x55, at: index)
                _ = try? pair.client.channel.writeInbound(answer)
            }
            try pair.exchange()
            let isDone = pair.client.observer.handshakes == 1 && pair.server.observer.handshakes == 1
            #expect(!isDone || pair.client.observer.errors.isEmpty)
            // The record version of a ClientHello is the only part that is not authenticated.
            if offset > 2 { #expect(!isDone, "byte \(offset)") }
        }
    }
}
