import MusterWire
import Testing

@testable import MusterController

@Suite(.timeLimit(.minutes(1))) struct TagTests {
    func code(_ body: () async throws -> Void) async -> String? {
        do {
            try await body()
            return nil
        } catch { return (error as? APIError)?.code }
    }

    @Test func addsReplacesAndRemoves() async throws {
        let fixture = try await EnrolmentFixture()
        let node = try await fixture.node(tags: [Tag(key: "role", value: "web")]).identity.node.description
        func tags() async throws -> [Tag] {
            try await fixture.tags.list(.init(resourceType: "ManagedInstance", resourceID: node), fixture.context()).tagList
        }
        func add(_ tags: [Tag]) async throws {
            _ = try await fixture.tags.add(.init(resourceType: "ManagedInstance", resourceID: node, tags: tags), fixture.context())
        }
        try await add([Tag(key: "role", value: "db"), Tag(key: "Rank", value: "")])
        #expect(try await tags() == [Tag(key: "Rank", value: ""), Tag(key: "role", value: "db")])
        // Policies know keys without regard to case: a twin would be a second value of the same key.
        #expect(await code { try await add([Tag(key: "Role", value: "web")]) } == "ValidationException")
        #expect(await code { try await add([Tag(key: "env", value: "prod"), Tag(key: "Env", value: "dev")]) } == "ValidationException")
        _ = try await fixture.tags.remove(
            .init(resourceType: "ManagedInstance", resourceID: node, tagKeys: ["role", "absent"]), fixture.context())
        #expect(try await tags() == [Tag(key: "Rank", value: "")])

        try await add((0..<49).map { Tag(key: "k\($0)", value: "v") })
        #expect(try await tags().count == 50)
        try await add([Tag(key: "k0", value: "new")])
        #expect(await code { try await add([Tag(key: "one more", value: "")]) } == "TooManyTagsError")
        #expect(try await tags().count == 50)
        #expect(await code { try await add([Tag(key: "AWS:x", value: "")]) } == "ValidationException")
        #expect(await code { try await add([Tag(key: "x", value: "1"), Tag(key: "x", value: "2")]) } == "ValidationException")
        #expect(try await fixture.audit("AddTagsToResource").count == 3)
        #expect(try await fixture.audit("RemoveTagsFromResource").count == 1)
    }

    @Test func builtInDocumentsHaveNoTagsAndTakeNone() async throws {
        let fixture = try await EnrolmentFixture()
        let name = "AWS-RunShellScript"
        #expect(try await fixture.tags.list(.init(resourceType: "Document", resourceID: name), fixture.context()).tagList.isEmpty)
        #expect(
            await code {
                _ = try await fixture.tags.add(
                    .init(resourceType: "Document", resourceID: name, tags: [Tag(key: "a", value: "b")]), fixture.context())
            } == "ValidationException")
        #expect(
            await code {
                _ = try await fixture.tags.remove(.init(resourceType: "Document", resourceID: name, tagKeys: ["a"]), fixture.context())
            } == "ValidationException")
        #expect(try await fixture.audit("AddTagsToResource").isEmpty)
    }

    @Test(arguments: [
        ("ManagedInstance", "mi-0123456789abcdef0"), ("ManagedInstance", "i-0123456789abcdef0"), ("ManagedInstance", "../x"),
        ("ManagedInstance", "0f7c1c3e-7d33-4b0c-8a5e-9a1c0b8f8c11"), ("Document", "No-Such"), ("MaintenanceWindow", "mw-0123456789abcdef0"),
    ])
    func otherResourcesAreRefused(type: String, id: String) async throws {
        let fixture = try await EnrolmentFixture()
        #expect(
            await code { _ = try await fixture.tags.list(.init(resourceType: type, resourceID: id), fixture.context()) }
                == "InvalidResourceId")
        #expect(
            await code {
                _ = try await fixture.tags.add(
                    .init(resourceType: type, resourceID: id, tags: [Tag(key: "a", value: "b")]), fixture.context())
            } == "InvalidResourceId")
        #expect(
            await code {
                _ = try await fixture.tags.remove(.init(resourceType: type, resourceID: id, tagKeys: ["a"]), fixture.context())
            } == "InvalidResourceId")
        #expect(try await fixture.audit("AddTagsToResource").isEmpty)
    }
}
