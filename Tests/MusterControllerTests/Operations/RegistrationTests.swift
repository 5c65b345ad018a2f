import FoundationEssentials
import MusterCrypto
import MusterWire
import Testing

@testable import MusterController

/// RegisterManagedInstance, RequestCertificateChallenge and RenewManagedInstanceCertificate.
@Suite(.timeLimit(.minutes(1))) struct RegistrationTests {
    func code(_ body: () async throws -> some Any) async -> String? {
        do {
            _ = try await body()
            return nil
        } catch {
            return (error as? APIError)?.code ?? String(describing: error)
        }
    }

    @Test func issuesACertificateForTheKeyAndNothingElse() async throws {
        let fixture = try await EnrolmentFixture()
        let host = try TestHost()
        let activation = try await fixture.activation(tags: [Tag(key: "role", value: "web")], name: "rack one")
        let answer = try await fixture.enrol(host, activation)
        let chain = try Certificate.chain(pem: answer.certificate)
        #expect(chain.count == 2 && chain[1] == fixture.authority.certificate)
        let leaf = chain[0]
        let seconds = fixture.clock.now.milliseconds / 1000
        #expect(leaf.commonName == answer.instanceID.description)
        #expect(leaf.uris == ["muster:node:\(answer.instanceID):1"])
        #expect(leaf.dnsNames.isEmpty && !leaf.isCertificateAuthority)
        #expect(leaf.notBefore == seconds - 300 && leaf.notAfter == seconds + 24 * 3600)
        #expect(try leaf.publicKey == host.key.publicKey)
        #expect(answer.storeEpoch == "epoch" && answer.generation == 1 && answer.serverTime == fixture.clock.now)

        let node = try #require(try await fixture.stored(answer.instanceID))
        #expect(node.name == "rack one" && node.iamRole == "role" && node.facts.computerName == "host")
        let tags = try await fixture.tags.list(
            .init(resourceType: "ManagedInstance", resourceID: answer.instanceID.description), fixture.context())
        #expect(tags.tagList == [Tag(key: "role", value: "web")])
        #expect(try await fixture.audit("RegisterManagedInstance").map(\.outcome) == ["success"])
    }

    @Test func aHundredAtOnceTakeOneSlot() async throws {
        let fixture = try await EnrolmentFixture()
        let activation = try await fixture.activation(limit: 1)
        let hosts = try (0..<100).map { _ in try TestHost() }
        let answers = await withTaskGroup(of: Result<NodeID, any Error>.self) { group in
            for host in hosts {
                group.addTask { await Result { () async throws in try await fixture.enrol(host, activation).instanceID } }
            }
            return await group.reduce(into: []) { $0.append($1) }
        }
        let nodes = answers.compactMap { try? $0.get() }
        #expect(nodes.count == 1)
        for case .failure(let error) in answers { #expect((error as? APIError)?.code == "InvalidActivation") }
        let shown = try await fixture.activations.describe(.init(), fixture.context()).activationList
        #expect(shown.map(\.registrationsCount) == [1])
        #expect(try await fixture.nodes.describe(.init(), fixture.context()).instanceInformationList.count == 1)
    }

    @Test func aHundredRepeatsOfOneHostAreOneNode() async throws {
        let fixture = try await EnrolmentFixture()
        let activation = try await fixture.activation(limit: 5)
        let host = try TestHost()
        let nodes = try await withThrowingTaskGroup(of: NodeID.self) { group in
            for _ in 0..<100 { group.addTask { try await fixture.enrol(host, activation).instanceID } }
            return try await group.reduce(into: Set<NodeID>()) { $0.insert($1) }
        }
        #expect(nodes.count == 1)
        #expect(try await fixture.activations.describe(.init(), fixture.context()).activationList.map(\.registrationsCount) == [1])
    }

    @Test func aLostAnswerCostsNothingEvenAfterTheEnd() async throws {
        let fixture = try await EnrolmentFixture()
        let activation = try await fixture.activation()
        let host = try TestHost()
        let first = try await fixture.enrol(host, activation)
        fixture.clock.advance(seconds: 48 * 3600)
        let second = try await fixture.enrol(host, activation)
        #expect(first.instanceID == second.instanceID && first.certificate != second.certificate)
        #expect(await code { try await fixture.enrol(try TestHost(), activation) } == "ActivationExpired")
    }

    @Test func refusesWhatDoesNotFit() async throws {
        let fixture = try await EnrolmentFixture()
        let activation = try await fixture.activation(limit: 10)
        let other = try await fixture.activation(limit: 10)
        let host = try TestHost()
        var input = try host.registration(activation)

        var wrong = activation
        wrong.activationCode = other.activationCode
        #expect(await code { try await fixture.enrol(host, wrong) } == "InvalidActivation")
        wrong.activationID = .random()
        #expect(await code { try await fixture.enrol(host, wrong) } == "InvalidActivation")
        input.activationID = String(repeating: "x", count: 36)
        #expect(await code { try await fixture.registrations.enrol(input, fixture.context()) } == "InvalidActivationId")

        for change in [
            { $0.publicKeyType = "Rsa" }, { $0.publicKey = "AAAA" }, { $0.certificateRequest = "AAAA" }, { $0.certificateRequest = nil },
        ] as [(inout RegisterManagedInstance.Input) -> Void] {
            var input = try host.registration(activation)
            change(&input)
            #expect(
                ["InvalidPublicKey", "ValidationException"].contains(
                    await code { try await fixture.registrations.enrol(input, fixture.context()) }))
        }
        // A request for another key: no possession of the one that is named.
        var mixed = try host.registration(activation)
        mixed.certificateRequest = try TestHost().registration(activation).certificateRequest
        #expect(await code { try await fixture.registrations.enrol(mixed, fixture.context()) } == "InvalidPublicKey")

        _ = try await fixture.enrol(host, activation)
        #expect(await code { try await fixture.enrol(host, other) } == "PublicKeyAlreadyRegistered")
        _ = try await fixture.activations.delete(.init(activationID: activation.activationID.description), fixture.context())
        #expect(await code { try await fixture.enrol(try TestHost(), activation) } == "InvalidActivation")
        #expect(await code { try await fixture.enrol(host, activation) } == "InvalidActivation")
    }

    /// The holder of a code that is worth nothing any more, and a host that repeats itself, write a bounded number of records.
    @Test func whoseRightIsGoneDoesNotFillTheTrail() async throws {
        let fixture = try await EnrolmentFixture()
        let activation = try await fixture.activation(limit: 2)
        let host = try TestHost()
        _ = try await fixture.enrol(host, activation)
        for _ in 0..<400 { _ = try? await fixture.enrol(host, activation) }
        #expect(try await fixture.audit("RegisterManagedInstance").count <= 202)
        fixture.clock.advance(seconds: 60)
        _ = try await fixture.activations.delete(.init(activationID: activation.activationID.description), fixture.context())
        let other = try TestHost()
        var unheard = 0
        for _ in 0..<400 {
            do { _ = try await fixture.enrol(other, activation) } catch {
                // Those are gathered with what strangers are refused.
                if let refusal = error as? UnprovenRefusal {
                    #expect(refusal.error.code == "InvalidActivation")
                    unheard += 1
                }
            }
        }
        #expect(unheard >= 370)
        #expect(try await fixture.audit("RegisterManagedInstance").count <= 225)
    }

    @Test func aDeregisteredNodeLeavesNothingBehind() async throws {
        let fixture = try await EnrolmentFixture()
        let activation = try await fixture.activation(limit: 10, name: "same name")
        let host = try TestHost()
        let node = try await fixture.enrol(host, activation).instanceID
        _ = try await fixture.tags.add(
            .init(resourceType: "ManagedInstance", resourceID: node.description, tags: [Tag(key: "secret", value: "1")]), fixture.context())
        _ = try await fixture.nodes.deregister(.init(instanceID: node.description), fixture.context())
        #expect(
            await code { try await fixture.nodes.deregister(.init(instanceID: node.description), fixture.context()) } == "InvalidInstanceId"
        )
        #expect(await code { try await fixture.enrol(host, activation) } == "PublicKeyAlreadyRegistered")
        let again = try await fixture.enrol(try TestHost(), activation).instanceID
        #expect(again != node)
        let tags = try await fixture.tags.list(.init(resourceType: "ManagedInstance", resourceID: again.description), fixture.context())
        #expect(tags.tagList.isEmpty)
    }

    @Test func guessesAreBoundedAndNeighboursAreNot() async throws {
        let fixture = try await EnrolmentFixture()
        let activation = try await fixture.activation(limit: 10)
        let neighbour = try await fixture.activation(limit: 10)
        var wrong = activation
        wrong.activationCode = String(repeating: "A", count: 24)
        let host = try TestHost()
        var codes: [String: Int] = [:]
        for _ in 0..<30 { codes[await code { try await fixture.enrol(host, wrong) } ?? "none", default: 0] += 1 }
        #expect(codes == ["InvalidActivation": 20, "ThrottlingException": 10])
        #expect(await code { try await fixture.enrol(host, activation) } == "ThrottlingException")
        _ = try await fixture.enrol(host, neighbour)
        _ = try await fixture.enrol(try TestHost(), activation, source: "192.0.2.77")
        fixture.clock.advance(seconds: 60)
        _ = try await fixture.enrol(try TestHost(), activation)
        #expect(try await fixture.audit("RegisterManagedInstance").filter { $0.outcome == "denied" }.count == 20)
    }

    @Test func guessesFromEverywhereDoNotWriteTheTrailFull() async throws {
        let fixture = try await EnrolmentFixture()
        var wrong = try await fixture.activation(limit: 10)
        wrong.activationCode = String(repeating: "A", count: 24)
        let host = try TestHost()
        var counted = 0
        for number in 0..<260 {
            do {
                _ = try await fixture.enrol(host, wrong, source: "2001:db8:0:\(String(number, radix: 16))::1")
            } catch is UnprovenRefusal {
                counted += 1
            } catch let error as APIError {
                #expect(error.code == "InvalidActivation")
            }
        }
        #expect(counted == 60)
        #expect(try await fixture.audit("RegisterManagedInstance").count == 200)
        // One host has a whole /64 to itself.
        var codes: [String: Int] = [:]
        for number in 0..<30 {
            codes[await code { try await fixture.enrol(host, wrong, source: "2001:db8:1::\(number)") } ?? "counted", default: 0] += 1
        }
        #expect(codes["ThrottlingException"] == 10)
    }

    // MARK: Renewal: RequestCertificateChallenge, RenewManagedInstanceCertificate

    func renewal(
        _ fixture: EnrolmentFixture, _ host: TestHost, _ node: NodeID, generation: Int = 1, signer: PrivateKey? = nil
    ) async throws -> RenewManagedInstanceCertificate.Input {
        // RequestCertificateChallenge, then a signature over its nonce.
        let nonce = try await fixture.registrations.challenge(.init(instanceID: node.description), fixture.context()).nonce
        let message = RenewManagedInstanceCertificate.proof(instanceID: node, generation: generation, nonce: nonce)
        return .init(
            instanceID: node.description, certificateRequest: Base64.encode(host.request.der), nonce: nonce,
            signature: Base64.encode(try (signer ?? host.key).sign(message)), generation: generation)
    }

    @Test func renewsAfterExpiryByASignatureThatCountsOnce() async throws {
        let fixture = try await EnrolmentFixture()
        let host = try TestHost()
        let node = try await fixture.node(host).identity.node
        fixture.clock.advance(seconds: 40 * 24 * 3600)
        let input = try await renewal(fixture, host, node)
        let answer = try await fixture.registrations.renew(input, fixture.context())
        let leaf = try Certificate.chain(pem: answer.certificate)[0]
        #expect(leaf.notAfter == fixture.clock.now.milliseconds / 1000 + 24 * 3600)
        #expect(leaf.uris == ["muster:node:\(node):1"])
        #expect(await code { try await fixture.registrations.renew(input, fixture.context()) } == "AccessDeniedException")
        #expect(try await fixture.audit("RenewManagedInstanceCertificate").map(\.outcome) == ["denied", "success"])
    }

    @Test func refusesEveryOtherProof() async throws {
        let fixture = try await EnrolmentFixture()
        let host = try TestHost()
        let node = try await fixture.node(host).identity.node
        let (other, _) = try await fixture.node()
        let stranger = try TestHost()

        let late = try await renewal(fixture, host, node)
        fixture.clock.advance(seconds: RenewalNonces.lifetimeSeconds)
        var inputs = [late]
        inputs.append(try await renewal(fixture, host, node, signer: stranger.key))
        inputs.append(try await renewal(fixture, stranger, node, signer: host.key))
        inputs.append(try await renewal(fixture, host, node, generation: 2))
        inputs.append(try await renewal(fixture, host, other.node))
        inputs.append(try await renewal(fixture, host, .random()))
        var changed = try await renewal(fixture, host, node)
        changed.nonce = try await renewal(fixture, host, other.node).nonce
        inputs.append(changed)
        changed.nonce = "AAAA"
        inputs.append(changed)
        changed.nonce = nil
        inputs.append(changed)
        for input in inputs {
            #expect(await code { try await fixture.registrations.renew(input, fixture.context()) } == "AccessDeniedException")
        }
        _ = try await fixture.nodes.deregister(.init(instanceID: node.description), fixture.context())
        let gone = try await renewal(fixture, host, node)
        #expect(await code { try await fixture.registrations.renew(gone, fixture.context()) } == "AccessDeniedException")
        #expect(try await fixture.audit("RenewManagedInstanceCertificate").allSatisfy { $0.outcome == "denied" })
    }

    @Test func renewsUnderItsOwnCertificateOnly() async throws {
        let fixture = try await EnrolmentFixture()
        let host = try TestHost()
        let identity = try await fixture.node(host).identity
        let (other, _) = try await fixture.node()
        let input = RenewManagedInstanceCertificate.Input(
            instanceID: identity.node.description, certificateRequest: Base64.encode(host.request.der), generation: 1)
        _ = try await fixture.registrations.renew(input, fixture.context(node: identity))
        #expect(await code { try await fixture.registrations.renew(input, fixture.context(node: other)) } == "AccessDeniedException")
        #expect(await code { try await fixture.registrations.renew(input, fixture.context()) } == "AccessDeniedException")
    }
}

extension Result where Failure == any Error {
    init(_ body: () async throws -> Success) async {
        do { self = .success(try await body()) } catch { self = .failure(error) }
    }
}
