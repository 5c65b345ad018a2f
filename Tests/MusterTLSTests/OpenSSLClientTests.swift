import Foundation
import MusterCrypto
import MusterTLS
import NIOCore
import Testing

/// Our server, openssl s_client. It sends a line, our server echoes it and closes.
@Suite("Against openssl s_client", .timeLimit(.minutes(1)))
struct OpenSSLClientTests {
    static let versions = [("-tls1_3", "TLSv1.3"), ("-tls1_2", "TLSv1.2")]

    private func run(
        _ authority: TestAuthority, port: Int, _ more: [String], identity: TLSIdentity? = nil, line: String = "hello\n", folder: URL? = nil
    ) async throws -> String {
        var files = ["ca.pem": authority.certificate.pem()]
        if let identity { try files.merge(identity.files("client")) { $1 } }
        let program = try OpenSSLProgram(
            [
                "s_client", "-connect", "127.0.0.1:\(port)", "-servername", "localhost", "-CAfile", "ca.pem", "-verify_return_error",
                "-verify_hostname", "localhost",
            ] + (identity == nil ? [] : ["-cert", "client.pem", "-key", "client.key", "-cert_chain", "client.chain"]) + more,
            files: files, folder: folder)
        try program.type(line)
        return await program.finish()
    }

    @Test("with and without a client certificate, both versions", arguments: versions, [true, false])
    func talks(_ version: (option: String, name: String), isKnown: Bool) async throws {
        let authority = try TestAuthority(), identity = isKnown ? try authority.identity(.client) : nil
        let (listener, connections) = try await Loopback.listen(authority.server())
        async let output = run(authority, port: listener.localAddress!.port!, [version.option], identity: identity)
        let summary = try await #require(await connections.first { _ in true }).finish()
        #expect(summary.handshakes == 1)
        #expect(summary.text == "hello\n")
        #expect(summary.errors.isEmpty)
        #expect(summary.peer?.version == version.name)
        #expect(summary.peer?.leaf == identity?.chain[0])
        #expect(summary.peer?.verificationAnchor == (isKnown ? authority.certificate : nil))
        let printed = try await output
        #expect(printed.contains("Verify return code: 0 (ok)"), "\(printed)")
        #expect(printed.contains("hello"))
        // s_client prints this for our close_notify, and "errno" for a cut.
        #expect(printed.contains("closed") && !printed.contains("errno"))
        #expect(printed.contains("Acceptable client certificate CA names"))
        try await listener.close()
    }

    @Test("client certificates that are refused", arguments: versions, ["foreign", "server", "expired", "appended"])
    func refuses(_ version: (option: String, name: String), kind: String) async throws {
        let authority = try TestAuthority(), other = try TestAuthority()
        let identity =
            switch kind {
            case "foreign": try other.identity(.client)
            case "server": try authority.identity(.server)
            case "expired": try authority.identity(.client, to: TestAuthority.now - 10)
            default: try other.identity(.client, appending: [authority.certificate])
            }
        let (listener, connections) = try await Loopback.listen(authority.server())
        async let output = run(authority, port: listener.localAddress!.port!, [version.option], identity: identity)
        let summary = try await #require(await connections.first { _ in true }).finish()
        #expect(summary.handshakes == 0)
        #expect(summary.codes == [.verification])
        #expect(summary.received.isEmpty)
        #expect(try await output.contains("alert"))
        try await listener.close()
    }

    @Test("s_client refuses our server for what it should", arguments: ["name", "authority"])
    func refusedServer(_ kind: String) async throws {
        let authority = try TestAuthority(), other = try TestAuthority()
        let identity = try authority.identity(.server, dnsNames: kind == "name" ? ["other.example"] : ["localhost"])
        let (listener, connections) = try await Loopback.listen(authority.server(identity))
        async let output = run(kind == "name" ? authority : other, port: listener.localAddress!.port!, [])
        let summary = try await #require(await connections.first { _ in true }).finish()
        #expect(summary.handshakes == 0)
        #expect(summary.codes == [.handshake])
        #expect(summary.errors.first?.description.contains("alert") == true, "\(summary.errors)")
        #expect(try await output.contains("verify error"))
        try await listener.close()
    }

    @Test("old versions are refused")
    func oldVersions() async throws {
        let authority = try TestAuthority()
        let (listener, connections) = try await Loopback.listen(authority.server())
        async let output = run(authority, port: listener.localAddress!.port!, ["-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0"])
        let summary = try await #require(await connections.first { _ in true }).finish()
        #expect(summary.codes == [.handshake])
        _ = try await output
        try await listener.close()
    }

    @Test("a renegotiation is refused, and the connection stays what it was")
    func renegotiation() async throws {
        let authority = try TestAuthority()
        let (listener, connections) = try await Loopback.listen(authority.server())
        // "R" at the start of a line makes s_client ask for a new handshake.
        async let output = run(authority, port: listener.localAddress!.port!, ["-tls1_2"], line: "R\n")
        let summary = try await #require(await connections.first { _ in true }).finish()
        let printed = try await output
        #expect(printed.contains("RENEGOTIATING"))
        #expect(printed.contains("no renegotiation"), "\(printed)")
        #expect(summary.handshakes == 1)
        #expect(summary.received.isEmpty)
        try await listener.close()
    }

    @Test("a resumed session shows the same identity, and can be refused by it", arguments: versions)
    func resumption(_ version: (option: String, name: String)) async throws {
        let authority = try TestAuthority(), identity = try authority.identity(.client)
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("muster-session-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let session = folder.appendingPathComponent("session").path
        let revoked = identity.chain[0]
        let (listener, connections) = try await Loopback.listen(
            authority.server(), .refuseOnceResumed(revoked))
        let port = listener.localAddress!.port!
        var iterator = connections.makeAsyncIterator()

        async let first = run(authority, port: port, [version.option, "-sess_out", session], identity: identity)
        let full = try #require(await iterator.next())
        var seen = await full.finish()
        #expect(seen.peer?.isResumed == false)
        #expect(seen.text == "hello\n")
        #expect(try await first.contains("New, "))

        // Revoked in between: the resumed handshake still tells who it is.
        async let second = run(authority, port: port, [version.option, "-sess_in", session], identity: identity)
        let resumed = try #require(await iterator.next())
        seen = await resumed.finish()
        #expect(seen.handshakes == 1)
        #expect(seen.peer?.isResumed == true)
        #expect(seen.peer?.leaf == revoked)
        #expect(seen.text.isEmpty)
        let printed = try await second
        #expect(printed.contains("Reused, "), "\(printed)")
        #expect(!printed.contains("\nhello\n"))
        try await listener.close()
    }

    @Test("a client that is killed leaves an error, with and without half closure", arguments: [true, false])
    func killed(halfClosure: Bool) async throws {
        let authority = try TestAuthority()
        let (listener, connections) = try await Loopback.listen(authority.server(), .silent, halfClosure: halfClosure)
        let program = try OpenSSLProgram([
            "s_client", "-connect", "127.0.0.1:\(listener.localAddress!.port!)", "-servername", "localhost",
        ])
        try program.type("half a")
        var summary = Reported.Summary()
        for await event in try #require(await connections.first { _ in true }).events {
            summary.add(event)
            if case .data = event { program.kill() }
        }
        #expect(summary.text == "half a")
        #expect(summary.codes == [.uncleanShutdown])
        try await listener.close()
    }
}

extension Reporter.Manner {
    /// Echoes; but closes resumed connections of one certificate.
    static func refuseOnceResumed(_ certificate: Certificate) -> Reporter.Manner {
        .refuse { $0?.isResumed == true && $0?.leaf == certificate }
    }
}
