import MusterCrypto
import MusterWire
import Testing

@testable import MusterController

@Suite(.timeLimit(.minutes(1))) struct ActivationTests {
    @Test func onlyTheDigestOfTheCodeIsStored() async throws {
        let fixture = try await EnrolmentFixture()
        let key = RetryKey(accessKeyID: "KEY", invocationID: "i", operation: "CreateActivation", bodyDigest: "d")
        let answer = try await fixture.activations.create(.init(iamRole: "r"), fixture.context(retry: key))
        #expect(answer.activationCode.count == 24)
        #expect(answer.activationCode.utf8.allSatisfy { ($0 >= 48 && $0 <= 57) || ($0 >= 65 && $0 <= 90) || ($0 >= 97 && $0 <= 122) })
        let dump = try await fixture.database.read { tx in
            let activations = try tx.query("SELECT code_digest, tags FROM activations").map { try $0.text("code_digest") }
            let answers = try tx.query("SELECT answer FROM idempotent_answers").map { try $0.text("answer") }
            let audit = try tx.query("SELECT record FROM audit_events").map { try $0.text("record") }
            return (activations, answers, audit)
        }
        #expect(dump.0 == [Hex.encode(SHA256.hash(answer.activationCode))])
        #expect(dump.1.count == 1 && dump.2.count == 1)
        for text in dump.1 + dump.2 { #expect(!text.contains(answer.activationCode)) }
    }

    @Test func aRepeatIsAnsweredAndNotDoneAgain() async throws {
        let fixture = try await EnrolmentFixture()
        let key = RetryKey(accessKeyID: "KEY", invocationID: "i", operation: "CreateActivation", bodyDigest: "d")
        let first = try await fixture.activations.create(.init(iamRole: "r"), fixture.context(retry: key))
        let second = try await fixture.activations.create(.init(iamRole: "r"), fixture.context(retry: key))
        #expect(first == second)
        let other = RetryKey(accessKeyID: "KEY", invocationID: "i", operation: "CreateActivation", bodyDigest: "e")
        #expect(try await fixture.activations.create(.init(iamRole: "r"), fixture.context(retry: other)) != first)
        #expect(try await fixture.activations.describe(.init(), fixture.context()).activationList.count == 2)
        #expect(try await fixture.audit("CreateActivation").count == 2)
        fixture.clock.advance(seconds: IdempotencyStore.lifetimeSeconds + 1)
        #expect(try await fixture.activations.create(.init(iamRole: "r"), fixture.context(retry: key)) != first)
    }

    @Test func defaultsAndBounds() async throws {
        let fixture = try await EnrolmentFixture()
        let now = fixture.clock.now
        _ = try await fixture.activations.create(.init(iamRole: "r"), fixture.context())
        let shown = try #require(try await fixture.activations.describe(.init(), fixture.context()).activationList.first)
        #expect(shown.registrationLimit == 1 && shown.registrationsCount == 0 && !shown.expired)
        #expect(shown.expirationDate == now.adding(seconds: 24 * 3600) && shown.createdDate == now)
        _ = try await fixture.activations.create(.init(iamRole: "r", expirationDate: now.adding(seconds: 30 * 86_400)), fixture.context())
        for end in [now, now.adding(seconds: -1), now.adding(seconds: 30 * 86_400 + 1)] {
            await #expect(throws: APIError.self) {
                try await fixture.activations.create(.init(iamRole: "r", expirationDate: end), fixture.context())
            }
        }
        let tags = (0...50).map { Tag(key: "k\($0)", value: "") }
        await #expect(throws: APIError.self) { try await fixture.activations.create(.init(iamRole: "r", tags: tags), fixture.context()) }
        await #expect(throws: APIError.self) {
            try await fixture.activations.create(.init(iamRole: "r", tags: [Tag(key: "aws:x", value: "")]), fixture.context())
        }
        await #expect(throws: APIError.self) {
            try await fixture.activations.create(
                .init(iamRole: "r", registrationMetadata: [RegistrationMetadataItem(key: "a", value: "b")]), fixture.context())
        }
        #expect(try await fixture.activations.describe(.init(), fixture.context()).activationList.count == 2)
        fixture.clock.advance(seconds: 24 * 3600)
        #expect(try await fixture.activations.describe(.init(), fixture.context()).activationList.filter(\.expired).count == 1)
    }

    @Test func describesByFilterAndPage() async throws {
        let fixture = try await EnrolmentFixture()
        var ids: Set<ActivationID> = []
        for index in 0..<7 {
            let made = try await fixture.activations.create(
                .init(iamRole: index < 5 ? "web" : "db", defaultInstanceName: "n\(index)"), fixture.context())
            if index < 5 { ids.insert(made.activationID) }
        }
        let filters = [DescribeActivationsFilter(filterKey: "IamRole", filterValues: ["web"])]
        var found: [ActivationID] = []
        var token: String?
        var tokens: Set<String> = []
        repeat {
            let page = try await fixture.activations.describe(
                .init(filters: filters, maxResults: 2, nextToken: token), fixture.context())
            #expect(page.activationList.count <= 2)
            found += page.activationList.map(\.activationID)
            token = page.nextToken
            if let token { #expect(tokens.insert(token).inserted) }
        } while token != nil
        #expect(found.count == 5 && Set(found) == ids)
        // A token holds for its own filters only.
        let stolen = try #require(tokens.first)
        await #expect(throws: APIError.invalidNextToken()) {
            try await fixture.activations.describe(.init(nextToken: stolen), fixture.context())
        }
        let one = try await fixture.activations.describe(
            .init(filters: [.init(filterKey: "ActivationIds", filterValues: [found[0].description])]), fixture.context())
        #expect(one.activationList.map(\.activationID) == [found[0]])
    }

    @Test func deletes() async throws {
        let fixture = try await EnrolmentFixture()
        let made = try await fixture.activation()
        func delete(_ id: String) async -> String? {
            do {
                _ = try await fixture.activations.delete(.init(activationID: id), fixture.context())
                return nil
            } catch { return (error as? APIError)?.code }
        }
        #expect(await delete("nonsense") == "InvalidActivationId")
        #expect(await delete(ActivationID.random().description) == "InvalidActivation")
        #expect(await delete(made.activationID.description) == nil)
        #expect(await delete(made.activationID.description) == "InvalidActivation")
        #expect(try await fixture.activations.describe(.init(), fixture.context()).activationList.isEmpty)
        #expect(try await fixture.audit("DeleteActivation").count == 1)
    }
}
