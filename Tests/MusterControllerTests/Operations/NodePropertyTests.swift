import Logging
import MusterWire
import Testing

@testable import MusterController

@Suite(.timeLimit(.minutes(1))) struct NodePropertyTests {
    func operations(_ fixture: EnrolmentFixture) -> NodePropertyOperations {
        NodePropertyOperations(
            database: fixture.database, registry: fixture.registry, pageTokenKey: [UInt8](repeating: 7, count: 32),
            logger: Logger(label: "test"))
    }

    @Test(arguments: [
        ("3.2.9", "3.2.10", true), ("3.2.10", "3.2.9", false), ("3", "3.0.0", false), ("3.0.0", "3", false), ("3", "3.1", true),
        ("", "1", true),
        ("x", "0", false), ("99999999999999999999999.1", "1", true),
    ])
    func versions(a: String, b: String, precedes: Bool) {
        #expect(PropertyFilter.precedes(a, b) == precedes)
    }

    @Test func pagesAndFilters() async throws {
        let fixture = try await EnrolmentFixture()
        let operations = operations(fixture)
        let activation = try await fixture.activation(limit: 12, tags: [Tag(key: "role", value: "web")], name: "rack")
        var nodes: Set<NodeID> = []
        for _ in 0..<12 { nodes.insert(try await fixture.enrol(try TestHost(), activation).instanceID) }
        let filters = [
            InstancePropertyStringFilter(key: "tag:role", values: ["w"], operator: "BeginWith"),
            .init(key: "Name", values: ["x"], operator: "NotEqual"),
        ]
        var found: [NodeID] = []
        var token: String?
        repeat {
            let page = try await operations.describe(
                .init(filtersWithOperator: filters, maxResults: 5, nextToken: token), fixture.context())
            found += page.instanceProperties.map(\.instanceID)
            token = page.nextToken
        } while token != nil
        #expect(found.count == 12 && Set(found) == nodes && found == found.sorted { $0.rawValue < $1.rawValue })
        // A token is bound to its filters.
        let first = try await operations.describe(.init(maxResults: 5), fixture.context())
        await #expect(throws: APIError.invalidNextToken()) {
            try await operations.describe(.init(filtersWithOperator: filters, maxResults: 5, nextToken: first.nextToken), fixture.context())
        }
    }

    @Test func aRoleIsChangedAndAudited() async throws {
        let fixture = try await EnrolmentFixture()
        let operations = operations(fixture)
        let node = try await fixture.node().identity.node
        _ = try await operations.updateRole(.init(instanceID: node.description, iamRole: "auditors"), fixture.context())
        #expect(try await fixture.stored(node)?.iamRole == "auditors")
        #expect(try await fixture.audit("UpdateManagedInstanceRole").map(\.resource) == [node.description])
        _ = try await fixture.nodes.deregister(.init(instanceID: node.description), fixture.context())
        for id in [node.description, NodeID.random().description] {
            do {
                _ = try await operations.updateRole(.init(instanceID: id, iamRole: "x"), fixture.context())
                Issue.record("\(id) has a role")
            } catch let error as APIError { #expect(error.code == "InvalidInstanceId") }
        }
        #expect(try await fixture.audit("UpdateManagedInstanceRole").count == 1)
    }
}
