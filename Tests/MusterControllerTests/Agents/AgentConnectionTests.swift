import FoundationEssentials
import MusterCrypto
import MusterWire
import NIOCore
import Testing

@testable import MusterController

@Suite(.timeLimit(.minutes(1))) struct AgentConnectionTests {
    @Test func opensAndDeliversAndEnds() async throws {
        let fixture = try await EnrolmentFixture()
        let (identity, certificate) = try await fixture.node()
        let peer = try fixture.connect(certificate, number: 1)
        await fixture.events.wait(for: .connected(identity.node, 1))
        #expect(await fixture.registry.connectedNodes() == [identity.node: 1])

        let job = try AgentMessage(.agentJob, createdDate: fixture.clock.now, payload: ["Content": "x"])
        #expect(await fixture.registry.send(job, to: identity.node))
        #expect(try await peer.heard().messageID == job.messageID)

        peer.leave()
        await fixture.events.wait(for: .disconnected(identity.node))
        await peer.ended()
        #expect(await fixture.registry.connectedNodes().isEmpty)
        #expect(await !fixture.registry.send(job, to: identity.node))
    }

    @Test func acknowledgesAReplyOnlyWhenItIsKept() async throws {
        let fixture = try await EnrolmentFixture()
        let (identity, certificate) = try await fixture.node()
        let peer = try fixture.connect(certificate, number: 1)
        let job = JobID(command: .random(), node: identity.node).description
        try peer.say(.agentJobReply, AgentJobReply(jobID: job, content: "{}"), at: fixture.clock.now)
        let answer = try await peer.heard()
        #expect(answer.messageType == .agentJobReplyAck)
        #expect(try answer.decodePayload(AgentJobReplyAcknowledge.self).jobID == job)
        #expect(fixture.events.all.contains(.reply(identity.node, job)))

        fixture.events.refuseReplies()
        try peer.say(.agentJobReply, AgentJobReply(jobID: job, content: "{}"), at: fixture.clock.now)
        await peer.ended()
        #expect(peer.closeCode == .goingAway)
        await #expect(throws: FakePeer.Closed.self) { try await peer.heard() }
    }

    @Test func refusesRepliesForAnotherNode() async throws {
        let fixture = try await EnrolmentFixture()
        let (identity, certificate) = try await fixture.node()
        let (victim, _) = try await fixture.node()
        for type in [MessageType.agentJobReply, .agentJobAck] {
            let number = try #require(try await fixture.stored(identity.node)).connectionNumbers.last + 1
            let peer = try fixture.connect(certificate, number: number)
            let job = JobID(command: .random(), node: victim.node).description
            if type == .agentJobReply {
                try peer.say(type, AgentJobReply(jobID: job, content: "{}"), at: fixture.clock.now)
            } else {
                try peer.say(
                    type,
                    AgentJobAcknowledge(jobID: job, acknowledgedMessageID: "m", createdDate: "d", statusCode: "200", errorMessage: ""),
                    at: fixture.clock.now)
            }
            await peer.ended()
            #expect(peer.closeCode == .policyViolation)
        }
        #expect(!fixture.events.all.contains { if case .reply = $0 { true } else if case .acknowledged = $0 { true } else { false } })
        let audit = try await fixture.audit("RefuseAgentMessage")
        #expect(audit.count == 2)
        #expect(audit.allSatisfy { $0.resource == identity.node.description && $0.outcome == "denied" })
    }

    @Test func ignoresWhatItDoesNotKnowAndEndsOnWhatIsNoFrame() async throws {
        let fixture = try await EnrolmentFixture()
        let (identity, certificate) = try await fixture.node()
        let peer = try fixture.connect(certificate, number: 1)
        try peer.say(.agentTelemetry, ["x": 1], at: fixture.clock.now)
        peer.say(.text("hello again"))
        let job = JobID(command: .random(), node: identity.node).description
        try peer.say(.agentJobReply, AgentJobReply(jobID: job, content: "{}"), at: fixture.clock.now)
        _ = try await peer.heard()
        peer.say(.binary(ByteBuffer(string: "no frame")))
        await peer.ended()
        #expect(peer.closeCode == .protocolError)
    }

    @Test(arguments: ["", "{}", "[]", "null", #"{"ConnectionNumber":0}"#])
    func refusesAnotherFirstMessage(text: String) async throws {
        let fixture = try await EnrolmentFixture()
        let (_, certificate) = try await fixture.node()
        let peer = FakePeer(certificate: certificate)
        peer.say(.text(text))
        fixture.serve(peer)
        await peer.ended()
        #expect(peer.closeCode == .protocolError)
        #expect(await fixture.registry.connectedNodes().isEmpty)
    }

    @Test func aSilentPeerIsEndedAfterTenSeconds() async throws {
        let fixture = try await EnrolmentFixture()
        let (_, certificate) = try await fixture.node()
        let peer = FakePeer(certificate: certificate)
        let id = await fixture.registry.began(peer.peer)
        fixture.clock.advance(seconds: 9)
        #expect(await fixture.registry.look().isEmpty)
        fixture.clock.advance(seconds: 1)
        let orders = await fixture.registry.look()
        guard case .close(_, .policyViolation, _)? = orders.first else {
            Issue.record("not ended")
            return
        }
        #expect(await fixture.registry.look().isEmpty)
        await fixture.registry.ended(id)
    }

    // MARK: Clones

    @Test func aHigherNumberReplacesTheOldConnection() async throws {
        let fixture = try await EnrolmentFixture()
        let (identity, certificate) = try await fixture.node()
        let old = try fixture.connect(certificate, number: 1)
        await fixture.events.wait(for: .connected(identity.node, 1))
        let new = try fixture.connect(certificate, number: 2)
        await fixture.events.wait(for: .connected(identity.node, 1))
        await old.ended()
        #expect(old.closeReason == "replaced by a newer connection")
        #expect(await fixture.registry.isConnected(identity.node))
        #expect(!fixture.events.all.contains(.disconnected(identity.node)))
        #expect(try await fixture.stored(identity.node)?.state == .registered)
        new.leave()
        await new.ended()
    }

    @Test(arguments: [1, 2] as [UInt64])
    func anEqualOrLowerNumberPutsBothInQuarantine(presented: UInt64) async throws {
        let fixture = try await EnrolmentFixture()
        let (identity, certificate) = try await fixture.node()
        let first = try fixture.connect(certificate, number: 2)
        await fixture.events.wait(for: .connected(identity.node, 1))
        let second = try fixture.connect(certificate, number: presented)
        await second.ended()
        await first.ended()
        #expect(first.closeCode == .policyViolation && second.closeCode == .policyViolation)
        #expect(await !fixture.registry.isConnected(identity.node))
        #expect(fixture.events.all.last == .disconnected(identity.node))
        #expect(try await fixture.stored(identity.node)?.state == .quarantined)
        #expect(try await fixture.audit("QuarantineManagedInstance").count == 1)

        // Neither comes back, with any number.
        let third = try fixture.connect(certificate, number: 50)
        await third.ended()
        #expect(third.closeCode == .policyViolation)
        let shown = try await fixture.nodes.describe(.init(), fixture.context())
        #expect(shown.instanceInformationList.first?.pingStatus == .connectionLost)
        await #expect(throws: APIError.self) {
            try await fixture.nodes.update(.init(instanceID: identity.node.description), fixture.context(node: identity))
        }

        // The way out.
        _ = try await fixture.nodes.deregister(.init(instanceID: identity.node.description), fixture.context())
        #expect(try await fixture.nodes.describe(.init(), fixture.context()).instanceInformationList.isEmpty)
    }

    @Test func theNumberOutlivesTheController() async throws {
        let fixture = try await EnrolmentFixture()
        let (identity, certificate) = try await fixture.node()
        let peer = try fixture.connect(certificate, number: 41)
        await fixture.events.wait(for: .connected(identity.node, 1))
        peer.leave()
        await peer.ended()
        #expect(try await fixture.stored(identity.node)?.connectionNumbers.last == 41)
    }

    // MARK: Who counts

    @Test func admitsOnlyTheRegisteredKeyAndGeneration() async throws {
        let fixture = try await EnrolmentFixture()
        let (identity, _) = try await fixture.node()
        let seconds = fixture.clock.now.milliseconds / 1000
        func certificate(_ uris: [String], _ key: PrivateKey, hours: Int64 = 1) throws -> Certificate {
            try fixture.authority.issue(
                CertificateTemplate(
                    commonName: "x", uris: uris, notBefore: seconds - 7200, notAfter: seconds + hours * 3600, usage: .client),
                for: key.publicKey)
        }
        let host = try TestHost()
        let own = try await fixture.node(host)
        let other = NodeIdentity(node: own.identity.node, generation: 2)
        let refused: [(Certificate, NodeAdmission.Refusal)] = [
            (try certificate([], host.key), .notANodeCertificate),
            (try certificate([own.identity.uri, identity.uri], host.key), .notANodeCertificate),
            (try certificate([NodeIdentity(node: .random(), generation: 1).uri], host.key), .unknown(.random())),
            (try certificate([identity.uri], host.key), .otherKey(identity.node)),
            (try certificate([other.uri], host.key), .otherGeneration(own.identity.node, presented: 2, current: 1)),
            (try certificate([own.identity.uri], host.key, hours: -1), .expired(own.identity.node)),
        ]
        for (certificate, expected) in refused {
            let peer = try fixture.connect(certificate, number: 1)
            await peer.ended()
            #expect(peer.closeCode == .policyViolation)
            let now = fixture.clock.now
            let result = try await fixture.database.read { tx in try NodeAdmission.admit(certificate, at: now, in: tx) }
            guard case .failure(let refusal) = result else {
                Issue.record("admitted instead of \(expected)")
                continue
            }
            if case .unknown = expected {
                guard case .unknown = refusal else { Issue.record("\(refusal)"); continue }
            } else {
                #expect(refusal == expected)
            }
        }
        let nobody = try fixture.connect(nil, number: 1)
        await nobody.ended()
        #expect(nobody.closeCode == .policyViolation)
        #expect(await fixture.registry.connectedNodes().isEmpty)
    }

    @Test func deregisteringEndsTheConnectionAtOnce() async throws {
        let fixture = try await EnrolmentFixture()
        let (identity, certificate) = try await fixture.node()
        let peer = try fixture.connect(certificate, number: 1)
        await fixture.events.wait(for: .connected(identity.node, 1))
        _ = try await fixture.nodes.deregister(.init(instanceID: identity.node.description), fixture.context())
        await peer.ended()
        #expect(peer.closeCode == .policyViolation)
        #expect(fixture.events.all.contains(.deregistered(identity.node)))
        let again = try fixture.connect(certificate, number: 2)
        await again.ended()
        #expect(again.closeReason?.contains("deregistered") == true)
        #expect(await fixture.registry.connectedNodes().isEmpty)
    }

    // MARK: Time

    @Test func pingsAndEndsWithTheCertificate() async throws {
        let fixture = try await EnrolmentFixture()
        let (identity, certificate) = try await fixture.node()
        let peer = try fixture.connect(certificate, number: 1)
        await fixture.events.wait(for: .connected(identity.node, 1))
        #expect(await fixture.registry.look().isEmpty)
        fixture.clock.advance(seconds: 20)
        #expect(await fixture.registry.look().count == 1)
        // One ping under way is enough.
        fixture.clock.advance(seconds: 20)
        #expect(await fixture.registry.look().isEmpty)

        fixture.clock.advance(seconds: 24 * 3600)
        let orders = await fixture.registry.look()
        guard case .close(let ended, _, let reason)? = orders.first else {
            Issue.record("the connection outlives its certificate")
            return
        }
        #expect(reason == "the certificate has expired")
        await ended.close(.policyViolation, reason: reason)
        await peer.ended()
        #expect(await !fixture.registry.isConnected(identity.node))
    }

    @Test func lastPingsAreWrittenInBatches() async throws {
        let fixture = try await EnrolmentFixture()
        let (identity, _) = try await fixture.node()
        #expect(try await fixture.stored(identity.node)?.lastPingAt == nil)
        fixture.clock.advance(seconds: 5)
        _ = try await fixture.nodes.update(
            .init(agentVersion: "1.0.0.0", instanceID: identity.node.description), fixture.context(node: identity))
        #expect(try await fixture.stored(identity.node)?.lastPingAt == nil)
        let shown = try await fixture.nodes.describe(.init(), fixture.context())
        #expect(shown.instanceInformationList.first?.lastPingDateTime == fixture.clock.now)
        await fixture.registry.flushPings()
        #expect(try await fixture.stored(identity.node)?.lastPingAt == fixture.clock.now)
        #expect(await fixture.registry.recentPings().isEmpty)
    }

    @Test func aSlowAgentHoldsUpNobody() async throws {
        let fixture = try await EnrolmentFixture()
        let slow = try await fixture.node()
        let quick = try await fixture.node()
        let stuck = FakePeer(certificate: slow.certificate, takesMessages: false)
        stuck.say(
            .text(
                #"{"MessageSchemaVersion":"1.0","RequestId":"r","TokenValue":"","AgentVersion":"1","PlatformType":"linux","ConnectionNumber":1,"IdentityGeneration":1}"#
            ))
        fixture.serve(stuck)
        await fixture.events.wait(for: .connected(slow.identity.node, 1))
        let peer = try fixture.connect(quick.certificate, number: 1)
        await fixture.events.wait(for: .connected(quick.identity.node, 1))

        let job = try AgentMessage(.agentJob, createdDate: fixture.clock.now, payload: ["Content": "x"])
        var taken = 0
        while taken < 1000, await fixture.registry.send(job, to: slow.identity.node) { taken += 1 }
        #expect(taken <= AgentOutbox.maximumFrames + 1)
        #expect(await fixture.registry.send(job, to: quick.identity.node))
        #expect(try await peer.heard().messageID == job.messageID)
        await stuck.peer.close(.normal)
        await stuck.ended()
        peer.leave()
        await peer.ended()
    }
}
