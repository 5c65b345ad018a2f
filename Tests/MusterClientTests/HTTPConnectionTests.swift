import MusterClient
import MusterCrypto
import MusterTLS
import NIOCore
import NIOHTTP1
import Testing

struct HTTPConnectionTests {
    private func connect(_ server: TestServer, _ group: any EventLoopGroup, _ tls: TLSContext, maxBodyBytes: Int = 1 << 20) async throws
        -> HTTPConnection
    {
        try await HTTPConnection.connect(
            endpoint: server.endpoint, tls: tls, group: group, deadline: .now() + .seconds(10), maxBodyBytes: maxBodyBytes)
    }

    private func soon(_ seconds: Int64 = 10) -> NIODeadline { .now() + .seconds(seconds) }

    @Test func severalRequestsShareAConnection() async throws {
        let authority = try TestAuthority()
        try await TestServer.withHTTP(
            authority, answer: { head, body in .send(json("\(body)!", headers: ["X-Head: \(head.split(separator: "\r\n")[0])"])) }
        ) { server, group in
            let connection = try await connect(server, group, authority.client())
            for text in ["a", "", String(repeating: "b", count: 100_000)] {
                let response = try await connection.send(HTTPRequest(path: "/p", body: Array(text.utf8)), deadline: soon())
                #expect(response.status == 200)
                #expect(String(decoding: response.body, as: UTF8.self) == text + "!")
                #expect(response.headers.first(name: "x-head") == "POST /p HTTP/1.1")
            }
            #expect(connection.isOpen)
            connection.close()
        }
    }

    @Test func aSlowAnswerEndsAtTheDeadline() async throws {
        let authority = try TestAuthority()
        try await TestServer.withHTTP(authority, answer: { _, _ in .silence }) { server, group in
            let connection = try await connect(server, group, authority.client())
            let refusal = try await kind { try await connection.send(HTTPRequest(), deadline: .now() + .milliseconds(50)) }
            #expect(refusal == .timedOut)
            let second = try await kind { try await connection.send(HTTPRequest(), deadline: soon()) }
            #expect(second == .closed)
        }
    }

    @Test(arguments: [
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
        "HTTP/1.1 200 OK\r\nConte", "",
    ])
    func aTruncatedAnswerIsNoAnswer(text: String) async throws {
        let authority = try TestAuthority()
        try await TestServer.withHTTP(authority, answer: { _, _ in text.isEmpty ? .reset : .sendThenClose(text) }) { server, group in
            let connection = try await connect(server, group, authority.client())
            let refusal = try await kind { try await connection.send(HTTPRequest(), deadline: soon()) }
            #expect(refusal == .closed)
        }
    }

    @Test(arguments: [
        "HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3e9\r\n" + String(repeating: "x", count: 1001),
    ])
    func anOversizeAnswerIsRefused(text: String) async throws {
        let authority = try TestAuthority()
        try await TestServer.withHTTP(authority, answer: { _, _ in .send(text) }) { server, group in
            let connection = try await connect(server, group, authority.client(), maxBodyBytes: 1000)
            let refusal = try await kind { try await connection.send(HTTPRequest(), deadline: soon()) }
            #expect(refusal == .tooLarge)
        }
    }

    @Test func whatIsNoHTTPIsRefused() async throws {
        let authority = try TestAuthority()
        try await TestServer.withHTTP(authority, answer: { _, _ in .send("SSH-2.0-OpenSSH\r\n\r\n") }) { server, group in
            let connection = try await connect(server, group, authority.client())
            let refusal = try await kind { try await connection.send(HTTPRequest(), deadline: soon()) }
            #expect(refusal == .protocolViolation)
        }
    }

    @Test func aServerOfAnotherAuthorityIsRefused() async throws {
        let authority = try TestAuthority()
        let other = try TestAuthority(name: "other CA")
        try await TestServer.withHTTP(authority, answer: { _, _ in .send(json("{}")) }) { server, group in
            let refusal = try await kind { try await connect(server, group, other.client()) }
            #expect(refusal == .untrusted)
        }
    }

    @Test func aClosedPortIsUnreachable() async throws {
        let authority = try TestAuthority()
        try await TestServer.withHTTP(authority, answer: { _, _ in .silence }) { _, group in
            let closed = TestServer(endpoint: try Endpoint(url: "https://127.0.0.1:1"))
            let refusal = try await kind { try await connect(closed, group, authority.client()) }
            #expect(refusal == .unreachable)
        }
    }

    @Test func aPeerThatNeverSpeaksTLSEndsAtTheDeadline() async throws {
        let authority = try TestAuthority()
        try await TestServer.withSilence { server, group in
            let tls = try authority.client()
            let refusal = try await kind {
                try await HTTPConnection.connect(endpoint: server.endpoint, tls: tls, group: group, deadline: .now() + .milliseconds(100))
            }
            #expect(refusal == .timedOut)
        }
    }

    @Test func aRefusedClientCertificateIsADenial() async throws {
        let authority = try TestAuthority()
        let stranger = try TestAuthority(name: "strange CA")
        let key = try PrivateKey.generate()
        let leaf = try stranger.authority.issue(
            CertificateTemplate(commonName: "x", notBefore: testNow - 60, notAfter: testNow + 60, usage: .client), for: key.publicKey)
        let tls = try TLSContext(
            .client(trust: .authorities([authority.authority.certificate]), identity: TLSIdentity(chain: [leaf], key: key)))
        try await TestServer.withHTTP(
            authority, clientAuthorities: [authority.authority.certificate], answer: { _, _ in .send(json("{}")) }
        ) { server, group in
            let refusal = try await kind {
                let connection = try await connect(server, group, tls)
                return try await connection.send(HTTPRequest(), deadline: soon())
            }
            #expect(refusal == .denied)
        }
    }
}
