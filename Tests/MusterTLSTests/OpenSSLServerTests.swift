import Foundation
import MusterCrypto
import MusterTLS
import NIOCore
import Testing

/// Our client, openssl s_server.
@Suite("Against openssl s_server", .timeLimit(.minutes(1)))
struct OpenSSLServerTests {
    /// Starts one on a free port.
    private func serve(_ identity: TLSIdentity, _ more: [String], clients: Certificate? = nil) async throws -> (OpenSSLProgram, Int) {
        var files = try identity.files("server")
        var arguments = ["s_server", "-accept", "127.0.0.1:0", "-cert", "server.pem", "-key", "server.key"]
        if identity.chain.count > 1 { arguments += ["-cert_chain", "server.chain"] }
        if let clients {
            files["clients.pem"] = clients.pem()
            arguments += ["-CAfile", "clients.pem", "-Verify", "3", "-verify_return_error"]
        }
        let program = try OpenSSLProgram(arguments + more, files: files)
        let printed = try #require(await program.wait(for: "ACCEPT 127.0.0.1:"))
        let digits = printed.components(separatedBy: "ACCEPT 127.0.0.1:")[1].prefix { $0.isNumber }
        return (program, try #require(Int(digits)))
    }

    @Test(
        "talks with our certificate, both versions, anchored by pin or by authority",
        arguments: OpenSSLClientTests.versions, [true, false])
    func talks(_ version: (option: String, name: String), pinned: Bool) async throws {
        let authority = try TestAuthority()
        let (program, port) = try await serve(
            authority.identity(.server), [version.option, "-rev", "-naccept", "1"], clients: authority.certificate)
        let client = try authority.client(pinned ? .pinned(authority.certificate.fingerprint) : nil, identity: authority.identity(.client))
        let connection = try await Loopback.connect(client, port: port)
        try await connection.channel.writeAndFlush(ByteBuffer(string: "muster\n"))
        var summary = Reported.Summary()
        for await event in connection.events {
            summary.add(event)
            if summary.text.hasSuffix("\n") { connection.channel.close(promise: nil) }
        }
        #expect(summary.text == "retsum\n")
        #expect(summary.errors.isEmpty)
        #expect(summary.peer?.version == version.name)
        #expect(summary.peer?.verificationAnchor == authority.certificate)
        let printed = await program.finish()
        #expect(!printed.contains("ERROR"), "\(printed)")
    }

    @Test("servers that are refused", arguments: OpenSSLClientTests.versions, ["authority", "pin", "expired", "early", "name", "purpose"])
    func refuses(_ version: (option: String, name: String), kind: String) async throws {
        let authority = try TestAuthority(), other = try TestAuthority(), now = TestAuthority.now
        let identity =
            switch kind {
            case "authority": try other.identity(.server)
            case "pin": try other.identity(.server, appending: [other.certificate, authority.certificate])
            case "expired": try authority.identity(.server, to: now - 10)
            case "early": try authority.identity(.server, from: now + 100)
            case "name": try authority.identity(.server, dnsNames: ["other.example"])
            default: try authority.identity(.client)
            }
        let (program, port) = try await serve(identity, [version.option, "-naccept", "1"])
        let trust = kind == "pin" ? TLSTrust.pinned(authority.certificate.fingerprint) : nil
        let summary = try await Loopback.connect(authority.client(trust), port: port).finish()
        #expect(summary.handshakes == 0)
        #expect(summary.codes == [.verification], "\(summary.errors)")
        program.kill()
    }

    @Test("a server that wants a certificate of another authority says so")
    func refusedByServer() async throws {
        let authority = try TestAuthority(), other = try TestAuthority()
        let (program, port) = try await serve(authority.identity(.server), ["-rev", "-naccept", "1"], clients: other.certificate)
        let summary = try await Loopback.connect(authority.client(identity: authority.identity(.client)), port: port).finish()
        #expect(summary.codes == [.connection])
        #expect(summary.errors[0].description.contains("alert"), "\(summary.errors)")
        program.kill()
    }

    @Test("a server that dies without close_notify", arguments: OpenSSLClientTests.versions)
    func cut(_ version: (option: String, name: String)) async throws {
        let authority = try TestAuthority()
        let (program, port) = try await serve(authority.identity(.server), [version.option, "-naccept", "1"])
        let connection = try await Loopback.connect(authority.client(), port: port)
        var summary = Reported.Summary()
        for await event in connection.events {
            summary.add(event)
            if case .handshake = event { try program.type("half an answer\n") }
            if case .data = event { program.kill() }
        }
        #expect(summary.text == "half an answer\n")
        #expect(summary.codes == [.uncleanShutdown])
    }

    @Test("resumes, both versions", arguments: OpenSSLClientTests.versions)
    func resumption(_ version: (option: String, name: String)) async throws {
        let authority = try TestAuthority()
        let (program, port) = try await serve(authority.identity(.server), [version.option, "-rev", "-naccept", "2"])
        let client = try authority.client()
        for round in 0..<2 {
            let connection = try await Loopback.connect(client, port: port)
            try await connection.channel.writeAndFlush(ByteBuffer(string: "muster\n"))
            var summary = Reported.Summary()
            for await event in connection.events {
                summary.add(event)
                if summary.text.hasSuffix("\n") { connection.channel.close(promise: nil) }
            }
            #expect(summary.errors.isEmpty)
            #expect(summary.peer?.isResumed == (round == 1))
            #expect(summary.peer?.leaf?.dnsNames == ["localhost"])
        }
        _ = await program.finish()
    }

    @Test("a server that asks for a renegotiation gets none")
    func renegotiation() async throws {
        let authority = try TestAuthority()
        let (program, port) = try await serve(authority.identity(.server), ["-tls1_2", "-naccept", "1"])
        let connection = try await Loopback.connect(authority.client(), port: port)
        var summary = Reported.Summary()
        for await event in connection.events {
            summary.add(event)
            // "r" at the start of a line makes s_server send a HelloRequest. It gives the connection up when that is declined.
            if case .handshake = event, summary.handshakes == 1 { try program.type("r\n") }
        }
        #expect(summary.handshakes == 1)
        #expect(summary.received.isEmpty)
        program.kill()
    }
}
