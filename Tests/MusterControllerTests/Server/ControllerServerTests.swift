import Foundation
import MusterController
import MusterCrypto
import MusterWire
import NIOConcurrencyHelpers
import Testing

/// Over loopback TLS, with curl and openssl as clients.
@Suite(.serialized, .timeLimit(.minutes(2))) struct ControllerServerTests {
    // MARK: Health

    @Test func healthNeedsNoProof() async throws {
        try await LiveServer.run { (live) async throws in
            #expect(try await live.curl("/healthz").body == "ok\n")
            #expect(try await live.curl("/readyz").body == "ready\n")
        }
    }

    @Test func metricsAreForTheOperatorsSide() async throws {
        try await LiveServer.run { (live) async throws in
            _ = try await live.call("Echo", #"{"text":"x"}"#)
            let metrics = try await live.curl("/metrics")
            #expect(metrics.status == 200)
            #expect(metrics.body.contains(#"muster_operations_total{operation="Echo",outcome="success"} 1"#))
            #expect(metrics.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8")
        }
        try await LiveServer.run(sides: [.agents]) { (live) async throws in
            #expect(try await live.curl("/metrics").status == 404)
        }
    }

    @Test(arguments: [[], ["10.0.0.0/8", "::1"], ["127.0.0.2"]])
    func metricsAreForNamedAddresses(sources: [String]) async throws {
        try await LiveServer.run(metricsFrom: sources) { (live) async throws in
            let refused = try await live.curl("/metrics")
            #expect(refused.status == 403 && refused.body.contains("metricsFrom") && !refused.body.contains("muster_"))
            #expect(try await live.curl("/healthz").status == 200)
        }
    }

    @Test(arguments: ["/", "/setup", "/SetupWizard.aspx/x", "/healthz/", "/v1", "/v1/control-channels/x", "//", "/%2e%2e/healthz"])
    func nothingElseExists(_ path: String) async throws {
        try await LiveServer.run { (live) async throws in
            #expect(try await live.curl(path, ["--path-as-is"]).status == 404)
        }
    }

    // MARK: Operators

    @Test func aSignedCallIsAnswered() async throws {
        try await LiveServer.run { (live) async throws in
            let reply = try await live.call("Echo", #"{"text":"héllo"}"#, headers: ["amz-sdk-invocation-id: abc"])
            #expect(reply.status == 200)
            #expect(reply.object["text"] == "arn:aws:iam::000000000001:user/administrator us-east-1 true héllo")
            #expect(reply.object["retry"] == "abc")
            #expect(reply.headers["content-type"] == "application/x-amz-json-1.1")
            #expect(UUID(uuidString: reply.headers["x-amzn-requestid"] ?? "") != nil)
            #expect(reply.headers["date"]?.hasSuffix(" GMT") == true)
            let difference = Timestamp.now().milliseconds - (Int64(reply.headers["x-muster-server-time"] ?? "") ?? 0)
            #expect(abs(difference) < 30_000)
        }
    }

    @Test func everyWrongProofHasItsCode() async throws {
        try await LiveServer.run { (live) async throws in
            let now = Timestamp.now()
            #expect(try await live.call("Echo", signed: false).code == "MissingAuthenticationTokenException")
            #expect(try await live.call("Echo", change: { _ in "Basic eDp5" }).code == "IncompleteSignatureException")
            #expect(
                try await live.call("Echo", change: { $0.replacingOccurrences(of: "Signature=", with: "Signatur=") }).code
                    == "IncompleteSignatureException")
            let stranger = Credentials(accessKeyID: "MUSTERNOBODY22222222", secretAccessKey: "x")
            #expect(try await live.call("Echo", key: stranger).code == "UnrecognizedClientException")
            let guess = Credentials(accessKeyID: live.credentials.accessKeyID, secretAccessKey: "guess")
            #expect(try await live.call("Echo", key: guess).code == "InvalidSignatureException")
            let late = try await live.call("Echo", at: now.adding(seconds: -600))
            #expect(late.code == "InvalidSignatureException")
            #expect(late.message.hasPrefix("Signature expired: "))
            #expect(try await live.call("Echo", headers: ["x-amz-security-token: none"]).code == "UnrecognizedClientException")
            // Signed for one operation, sent for another.
            #expect(try await live.call("Echo", headers: ["X-Amz-Target: AmazonSSM.NodeEcho"]).code != "")
            let all = try await live.call("Echo", signed: false)
            #expect(all.status == 400)
            #expect(all.headers["x-amzn-errortype"] == "MissingAuthenticationTokenException")
            #expect(all.headers["x-amzn-requestid"] != nil)
        }
    }

    @Test func unknownOperationsAreNamedWhenSSMHasThem() async throws {
        try await LiveServer.run { (live) async throws in
            let known = try await live.call("PutParameter")
            #expect(known.code == "UnknownOperationException")
            #expect(known.message.contains("PutParameter") && known.message.contains("docs/compatibility.md"))
            #expect(try await live.call("echo").message == "")
            #expect(try await live.call("NoSuchThing").code == "UnknownOperationException")
            #expect(try await live.curl("/", ["-X", "POST", "-d", "{}"]).code == "UnknownOperationException")
        }
    }

    @Test func wrongBodiesHaveTheirCodes() async throws {
        try await LiveServer.run { (live) async throws in
            #expect(try await live.call("Echo", "nonsense").code == "SerializationException")
            #expect(try await live.call("Echo", "[]").code == "SerializationException")
            #expect(try await live.call("Echo", #"{"text":7}"#).code == "SerializationException")
            #expect(try await live.call("Echo", "{}").code == "ValidationException")
            let unserved = try await live.call("Echo", #"{"text":"x","later":1}"#)
            #expect(unserved.code == "ValidationException" && unserved.message.contains("later"))
            let broken = try await live.call("Echo", #"{"text":"fail"}"#)
            #expect(broken.status == 500 && broken.code == "InternalServerError")
            #expect(try await live.call("Echo", String(repeating: "[", count: 100_000)).code == "SerializationException")
        }
    }

    @Test func aPolicyThatDoesNotAllowIsADenialInTheAuditTrail() async throws {
        try await LiveServer.run(policies: try TestAccess.set("Allow", "ssm:List*")) { (live) async throws in
            let reply = try await live.call("Echo", #"{"text":"x"}"#)
            #expect(reply.status == 400 && reply.code == "AccessDeniedException")
            #expect(
                reply.message.hasPrefix(
                    "User: arn:aws:iam::000000000001:user/administrator is not authorized to perform: ssm:Echo on resource: "))
            let denied = try await live.audit().filter { $0.outcome == "denied" }
            #expect(denied.map(\.operation) == ["Echo"])
            #expect(denied.map(\.caller) == ["arn:aws:iam::000000000001:user/administrator"])
        }
    }

    /// STS lets everyone ask who they are; only a policy that forbids it in words is stronger, and its denial is in the audit trail.
    @Test func everyoneMayAskWhoTheyAreUnlessForbidden() async throws {
        try await LiveServer.run(policies: PolicySet([])) { (live) async throws in
            let reply = try await live.form("Action=GetCallerIdentity&Version=2011-06-15")
            #expect(reply.status == 200 && reply.headers["content-type"] == "text/xml")
            #expect(reply.body.contains("<Arn>arn:aws:iam::000000000001:user/administrator</Arn>"))
            #expect(try await live.call("GetCallerIdentity").code == "UnknownOperationException")
        }
        try await LiveServer.run(policies: try TestAccess.set("Deny", "sts:*")) { (live) async throws in
            let reply = try await live.form("Action=GetCallerIdentity&Version=2011-06-15")
            #expect(reply.status == 403 && reply.body.contains("<Code>AccessDenied</Code>"))
            let denied = try await live.audit().filter { $0.outcome == "denied" }
            #expect(denied.map(\.operation) == ["GetCallerIdentity"])
        }
        try await LiveServer.run { (live) async throws in
            #expect(try await live.form("Action=GetCallerIdentity&Version=2011-06-15", signed: false, certificate: "node").status == 403)
            #expect(
                try await live.form("Action=GetCallerIdentity&Version=2011-06-15", signed: false).body.contains(
                    "MissingAuthenticationToken"))
        }
        try await LiveServer.run(sides: [.agents]) { (live) async throws in
            #expect(try await live.form("Action=GetCallerIdentity&Version=2011-06-15").status == 400)
        }
    }

    @Test func refusalsToStrangersAreAuditedInAggregate() async throws {
        try await LiveServer.run { (live) async throws in
            for _ in 0..<5 { _ = try await live.call("Echo", signed: false) }
            let denied = try await live.audit().filter { $0.outcome == "denied" }
            #expect(denied.map(\.operation) == ["Echo"])
            #expect(denied.map(\.caller) == ["anonymous"])
        }
    }

    @Test func aCallerWhoGoesTooFastIsTold() async throws {
        var limits = ControllerServer.Limits()
        (limits.requestsPerSecond, limits.requestBurst) = (1, 3)
        try await LiveServer.run(limits: limits) { (live) async throws in
            var codes: [String] = []
            for _ in 0..<6 { codes.append(try await live.call("Echo", #"{"text":"x"}"#).code) }
            #expect(codes.prefix(3).allSatisfy { $0 == "" })
            #expect(codes.contains("ThrottlingException"))
        }
    }

    // MARK: Two sides

    @Test func aNodesCertificateIsNothingOnOperatorsRoutes() async throws {
        try await LiveServer.run { (live) async throws in
            #expect(try await live.call("Echo", #"{"text":"x"}"#, signed: false, certificate: "node").code == "AccessDeniedException")
            #expect(try await live.call("Echo", #"{"text":"x"}"#, certificate: "node").code == "AccessDeniedException")
            #expect(try await live.audit().count { $0.outcome == "denied" } == 1)
        }
    }

    @Test func anOperatorsKeyIsNothingOnNodesRoutes() async throws {
        try await LiveServer.run { (live) async throws in
            #expect(try await live.call("NodeEcho", #"{"text":"x"}"#).code == "AccessDeniedException")
            #expect(try await live.call("NodeEcho", #"{"text":"x"}"#, certificate: "node").code == "AccessDeniedException")
            #expect(try await live.call("NodeEcho", #"{"text":"x"}"#, signed: false).code == "AccessDeniedException")
            #expect(try await live.audit().count { $0.outcome == "denied" } == 1)
        }
    }

    @Test func aNodeIsWhomItsCertificateNames() async throws {
        try await LiveServer.run { (live) async throws in
            #expect(
                try await live.call("NodeEcho", #"{"text":"x"}"#, signed: false, certificate: "node").object["text"]?.contains(
                    LiveServer.node.description) == true)
            #expect(try await live.call("NodeEcho", #"{"text":"x"}"#, signed: false, certificate: "old").code == "AccessDeniedException")
            #expect(
                try await live.call("NodeEcho", #"{"text":"x"}"#, signed: false, certificate: "stranger").status < 0, "the handshake fails")
            let node = LiveServer.node
            try await live.database.write { tx in try NodeStore.setState(.deregistered, of: node, now: .now(), in: tx) }
            #expect(try await live.call("NodeEcho", #"{"text":"x"}"#, signed: false, certificate: "node").code == "AccessDeniedException")
        }
    }

    @Test func aCertificateOfAnotherAuthorityEndsTheHandshakeAndIsAudited() async throws {
        try await LiveServer.run { (live) async throws in
            for _ in 0..<3 {
                #expect(try await live.call("NodeEcho", #"{"text":"x"}"#, signed: false, certificate: "stranger").status < 0)
            }
            var denied: [AuditLog.Entry] = []
            let deadline = ContinuousClock.now + .seconds(5)
            repeat {
                let seen = live.database.commits.count
                denied = try await live.audit().filter { $0.outcome == "denied" }
                guard denied.isEmpty else { break }
                guard try await live.database.commits.next(after: seen, until: deadline) else { break }
            } while true
            #expect(denied.map(\.operation) == ["TLSHandshake"])
        }
    }

    @Test func enrolmentNeedsNoProofAndTakesNoKey() async throws {
        try await LiveServer.run { (live) async throws in
            #expect(try await live.call("JoinEcho", #"{"text":"x"}"#, signed: false).object["text"] == "anonymous nobody")
            #expect(try await live.call("JoinEcho", #"{"text":"x"}"#).code == "AccessDeniedException")
            #expect(
                try await live.call("JoinEcho", #"{"text":"x"}"#, signed: false, certificate: "node").object["text"]?.contains(
                    LiveServer.node.description) == true)
        }
    }

    @Test func aListenerServesItsSideOnly() async throws {
        try await LiveServer.run(sides: [.agents]) { (live) async throws in
            #expect(try await live.call("Echo", #"{"text":"x"}"#).code == "UnknownOperationException")
            #expect(try await live.call("JoinEcho", #"{"text":"x"}"#, signed: false).status == 200)
        }
        try await LiveServer.run(sides: [.operators]) { (live) async throws in
            #expect(try await live.call("Echo", #"{"text":"x"}"#).status == 200)
            #expect(try await live.call("JoinEcho", #"{"text":"x"}"#, signed: false).code == "UnknownOperationException")
            #expect(try await live.curl("/v1/control-channel/\(LiveServer.node)").status == 404)
        }
    }

    // MARK: Limits

    @Test(arguments: [["-H", "Transfer-Encoding: chunked"], []])
    func aBodyOverTheLimitIsRefusedAndTheConnectionEnds(_ arguments: [String]) async throws {
        try await LiveServer.run { (live) async throws in
            let reply = try await live.curl(
                "/", ["-X", "POST", "-H", "X-Amz-Target: AmazonSSM.Echo", "--data-binary", "@-"] + arguments, input: Data(count: 3 << 20))
            #expect(reply.status == 413)
            #expect(reply.code == "RequestEntityTooLarge")
            let large = try await live.call("Echo", #"{"text":"\#(String(repeating: "x", count: 1_000_000))"}"#)
            #expect(large.status == 200)
        }
    }

    @Test func aConnectionWithoutClientHelloIsCut() async throws {
        var limits = ControllerServer.Limits()
        limits.handshakeSeconds = 1
        try await LiveServer.run(limits: limits) { (live) async throws in
            let silent = try PlainConnection(port: live.address)
            await PlainConnection.awaitEnd(of: [silent], seconds: 5)
            #expect(silent.isClosed)
            // The handshake alone does not earn more time.
            let mute = try SecureClient(live)
            #expect(try await mute.wait(seconds: 5) { $0.isClosed })
            let dripping = try SecureClient(live)
            try dripping.send("GET /healthz HTTP/1.1\r\nHost:")
            #expect(try await dripping.wait(seconds: 5) { $0.isClosed })
        }
    }

    @Test func aBodyThatDripsIsCut() async throws {
        var limits = ControllerServer.Limits()
        limits.requestSeconds = 1
        try await LiveServer.run(limits: limits) { (live) async throws in
            let client = try SecureClient(live)
            try client.send("POST / HTTP/1.1\r\nHost: x\r\nX-Amz-Target: AmazonSSM.Echo\r\nContent-Length: 1000\r\n\r\n{")
            let start = ContinuousClock.now
            let drip = Task {
                while !Task.isCancelled {
                    try? client.send(" ")
                    try? await Task.sleep(for: .milliseconds(5))
                }
            }
            defer { drip.cancel() }
            let isCut = try await client.wait(seconds: 6) { $0.isClosed }
            #expect(isCut && ContinuousClock.now - start < .seconds(6))
        }
    }

    @Test func connectionsOfOneSourceAreBounded() async throws {
        var limits = ControllerServer.Limits()
        limits.connections.strangersPerSource = 3
        try await LiveServer.run(limits: limits) { (live) async throws in
            // They are accepted on several loops, so which of them are refused is open; how many are not.
            var held = try (0..<6).map { _ in try PlainConnection(port: live.address) }
            for _ in 0..<3 where held.count > 3 {
                await PlainConnection.awaitEnd(of: held, seconds: 5)
                held.removeAll { $0.isClosed }
            }
            #expect(held.count == 3)
            held.removeAll()
            // Refusals end nothing but the refused connection.
            var status = 0
            for _ in 0..<100 where status != 200 {
                status = try await live.curl("/healthz").status
            }
            #expect(status == 200)
        }
    }

    /// The oldest of those who have shown nothing makes room for a node, and for nobody who comes from where most come from.
    @Test func aNodeHasItsPlaceWhereStrangersHaveTakenAllOfTheirs() async throws {
        var limits = ControllerServer.Limits()
        (limits.connections.strangers, limits.connections.strangersPerSource, limits.connections.nodes) = (3, 3, 1)
        try await LiveServer.run(limits: limits) { (live) async throws in
            let node = try SecureClient(live, certificate: "node")
            try node.upgrade(LiveServer.node.description)
            #expect(try await node.wait { $0.text.contains("\r\n\r\n") })
            #expect(node.text.hasPrefix("HTTP/1.1 101 "))
            // It has left the strangers' places, and keeps its own: there are two for others, and none for another node.
            let held = try (0..<2).map { _ in try PlainConnection(port: live.address) }
            let other = try SecureClient(live, certificate: "other")
            #expect(try await other.wait { $0.isClosed })
            try node.send(frame: 0x1, Data("hello".utf8))
            #expect(try await node.wait { $0.text.contains("heard hello") })
            withExtendedLifetime(held) {}
        }
    }

    @Test func aBodyThatEndsInTheMiddleOrIsNoneIsTheClientsDoing() async throws {
        try await LiveServer.run { (live) async throws in
            let client = try SecureClient(live)
            try client.send(
                "POST / HTTP/1.1\r\nHost: x\r\nX-Amz-Target: AmazonSSM.Echo\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n")
            #expect(try await client.wait { $0.isClosed })
            #expect(!client.text.contains("500") && !client.text.contains("InternalServerError"))
            #expect(!(try await live.curl("/metrics").body.contains("InternalServerError")))
        }
    }

    // MARK: Upgrades

    @Test func anUpgradeHeaderOnAnOrdinaryCallHangsNothing() async throws {
        try await LiveServer.run { (live) async throws in
            for headers in [
                ["Connection: Upgrade", "Upgrade: h2c"],
                ["Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__"],
                ["Upgrade: websocket", "Connection: Upgrade"],
            ] {
                let reply = try await live.call("Echo", #"{"text":"x"}"#, headers: headers)
                #expect(reply.status == 200)
                #expect(reply.headers["connection"] == "close")
            }
            #expect(try await live.curl("/healthz", ["-H", "Connection: Upgrade", "-H", "Upgrade: websocket"]).status == 200)
        }
    }

    @Test func aSecondCallOnOneConnectionMayCarryAnUpgradeHeader() async throws {
        try await LiveServer.run { (live) async throws in
            let client = try SecureClient(live)
            try client.send("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            #expect(try await client.wait { $0.text.contains("ok\n") })
            try client.send("GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n")
            #expect(try await client.wait { $0.isClosed })
            #expect(client.text.components(separatedBy: "HTTP/1.1 ").count == 3)
        }
    }

    @Test func aControlChannelOpensUnderItsOwnCertificateOnly() async throws {
        try await LiveServer.run { (live) async throws in
            for (certificate, node) in [
                (nil, LiveServer.node), ("other", LiveServer.node), ("node", LiveServer.otherNode), ("old", LiveServer.node),
            ] as [(String?, NodeID)] {
                let client = try SecureClient(live, certificate: certificate)
                try client.upgrade(node.description)
                #expect(try await client.wait { $0.isClosed })
                #expect(client.text.hasPrefix("HTTP/1.1 403 "))
                #expect(client.text.contains("AccessDeniedException"))
            }
            #expect(live.received.isEmpty)
            #expect(try await live.curl("/v1/control-channel/\(LiveServer.node)", certificate: "node").status == 426)
        }
    }

    @Test func aNodeThatOpensItsChannelInALoopIsSlowedAndTheOthersAreNot() async throws {
        let time = NIOLockedValueBox<Int64>(1_000)
        let openings = ChannelOpenings(now: { time.withLockedValue { $0 } })
        try await LiveServer.run(openings: openings) { (live) async throws in
            func opens(_ certificate: String, _ node: NodeID) async throws -> String {
                let client = try SecureClient(live, certificate: certificate)
                try client.upgrade(node.description)
                #expect(try await client.wait { $0.text.contains("\r\n\r\n") })
                if !client.text.hasPrefix("HTTP/1.1 101 ") { #expect(try await client.wait { $0.isClosed }) }
                return client.text
            }
            for _ in 1..<OpenControlChannel.openingsAtOnce { #expect(openings.admit(LiveServer.node)) }
            // What others say in its name does not count.
            for certificate in ["other", "old"] { #expect(try await opens(certificate, LiveServer.node).hasPrefix("HTTP/1.1 403 ")) }
            #expect(try await opens("node", LiveServer.node).hasPrefix("HTTP/1.1 101 "))
            for _ in 0..<2 {
                let refusal = try await opens("node", LiveServer.node)
                #expect(refusal.hasPrefix("HTTP/1.1 429 ") && refusal.contains("too often"))
            }
            #expect(try await opens("other", LiveServer.otherNode).hasPrefix("HTTP/1.1 101 "))
            let denied = try await live.audit().filter { $0.resource == LiveServer.node.rawValue && $0.outcome == "denied" }
            #expect(denied.map(\.operation) == ["OpenControlChannel"], "once, and then counted")
            time.withLockedValue { $0 += 1_000 }
            #expect(try await opens("node", LiveServer.node).hasPrefix("HTTP/1.1 101 "))
        }
    }

    @Test func aNodeThatAsksForOthersChannelsIsWrittenDownOnce() async throws {
        try await LiveServer.run { (live) async throws in
            for _ in 0..<20 {
                let client = try SecureClient(live, certificate: "node")
                try client.upgrade(LiveServer.otherNode.description)
                #expect(try await client.wait { $0.text.contains("\r\n\r\n") })
                #expect(client.text.hasPrefix("HTTP/1.1 403 "))
            }
            let denied = try await live.audit().filter { $0.outcome == "denied" }
            #expect(denied.map(\.operation) == ["OpenControlChannel"])
            #expect(denied.first?.caller.hasSuffix(LiveServer.node.description) == true)
        }
    }

    @Test func messagesPassWholeAndPingsAreAnswered() async throws {
        try await LiveServer.run { (live) async throws in
            let client = try SecureClient(live, certificate: "node")
            try client.upgrade(LiveServer.node.description)
            #expect(try await client.wait { $0.text.contains("\r\n\r\n") })
            #expect(client.text.hasPrefix("HTTP/1.1 101 "))
            #expect(client.text.lowercased().contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo="))
            #expect(client.text.contains("x-muster-server-time: "))
            try client.send(frame: 0x1, Data("hello".utf8))
            #expect(try await client.wait { $0.text.contains("heard hello") })
            try client.send(frame: 0x9, Data("ping".utf8))
            #expect(try await client.wait { $0.bytes.range(of: Data([0x8A, 4] + Array("ping".utf8))) != nil })
            try client.send(frame: 0x2, Data("one ".utf8), isFinal: false)
            try client.send(frame: 0x0, Data("two".utf8))
            #expect(try await client.wait { $0.bytes.range(of: Data([0x82, 7] + Array("one two".utf8))) != nil })
            try client.send(frame: 0x2, Data(count: 400_000))
            #expect(try await live.receives("\(LiveServer.node) 400000 bytes"))
            #expect(live.received.first == "\(LiveServer.node) hello")
            try client.send(frame: 0x8, Data([0x03, 0xE8]))
            #expect(try await client.wait { $0.isClosed })
        }
    }

    @Test func aMessageOverTheLimitEndsTheChannel() async throws {
        try await LiveServer.run { (live) async throws in
            let client = try SecureClient(live, certificate: "node")
            try client.upgrade(LiveServer.node.description)
            #expect(try await client.wait { $0.text.contains("\r\n\r\n") })
            try? client.send(frame: 0x2, Data(count: (1 << 20) + 1))
            #expect(try await client.wait { $0.isClosed })
            #expect(live.received.isEmpty)
        }
    }

    /// Close code 1001: the agent then comes back to whatever takes this controller's place.
    @Test func stoppingTellsTheAgents() async throws {
        let client = Held<SecureClient>()
        try await LiveServer.run { (live) async throws in
            client.value = try SecureClient(live, certificate: "node")
            try client.value?.upgrade(LiveServer.node.description)
            #expect(try await client.value?.wait { $0.text.contains("\r\n\r\n") } == true)
        }
        let bytes = try #require(client.value?.bytes)
        #expect(bytes.range(of: Data([0x03, 0xE9])) != nil)
        #expect(try await client.value?.wait { $0.isClosed } == true)
    }

    /// Set inside of the server's life and read after it, by the same test.
    private final class Held<T>: @unchecked Sendable { var value: T? }

    // MARK: Certificates

    @Test func aRenewedCertificateIsShownToNewConnections() async throws {
        try await LiveServer.run { (live) async throws in
            let before = live.certificate.leaf.serialNumber
            try live.certificate.renew()
            #expect(live.certificate.leaf.serialNumber != before)
            #expect(try await live.curl("/healthz").status == 200)
        }
    }
}
