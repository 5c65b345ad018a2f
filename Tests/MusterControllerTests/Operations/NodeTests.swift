import MusterWire
import Testing

@testable import MusterController

/// DescribeInstanceInformation, GetConnectionStatus, DeregisterManagedInstance and UpdateInstanceInformation.
@Suite(.timeLimit(.minutes(1))) struct NodeTests {
    typealias Filter = InstanceInformationStringFilter

    func ids(_ fixture: EnrolmentFixture, _ filters: [Filter]) async throws -> Set<NodeID> {
        let page = try await fixture.nodes.describe(.init(filters: filters), fixture.context())
        #expect(page.nextToken == nil)
        return Set(page.instanceInformationList.map(\.instanceID))
    }

    @Test func filters() async throws {
        let fixture = try await EnrolmentFixture()
        let web = try await fixture.node(tags: [Tag(key: "role", value: "web")], name: "w")
        let db = try await fixture.node(tags: [Tag(key: "role", value: "db"), Tag(key: "env", value: "lab")])
        let peer = try fixture.connect(web.certificate, number: 1)
        await fixture.events.wait(for: .connected(web.identity.node, 1))
        let (w, d) = (web.identity.node, db.identity.node)
        let activation = try #require(try await fixture.stored(w)).activation.description

        let expected: [([Filter], Set<NodeID>)] = [
            ([], [w, d]),
            ([.init(key: "InstanceIds", values: [w.description])], [w]),
            ([.init(key: "InstanceIds", values: [w.description, d.description, NodeID.random().description])], [w, d]),
            ([.init(key: "PingStatus", values: ["Online"])], [w]),
            ([.init(key: "PingStatus", values: ["ConnectionLost"])], [d]),
            ([.init(key: "PingStatus", values: ["Online", "ConnectionLost"])], [w, d]),
            ([.init(key: "PingStatus", values: ["Inactive"])], []),
            ([.init(key: "ActivationIds", values: [activation])], [w]),
            ([.init(key: "AgentVersion", values: ["1.0.0.0"])], [w, d]),
            ([.init(key: "IamRole", values: ["role"]), .init(key: "PingStatus", values: ["Online"])], [w]),
            ([.init(key: "PlatformType", values: ["Linux"])], [w, d]),
            ([.init(key: "PlatformTypes", values: ["Windows"])], []),
            ([.init(key: "ResourceType", values: ["ManagedInstance"])], [w, d]),
            ([.init(key: "ResourceType", values: ["EC2Instance"])], []),
            ([.init(key: "SourceIds", values: [d.description])], [d]),
            ([.init(key: "SourceTypes", values: ["AWS::SSM::ManagedInstance"])], [w, d]),
            ([.init(key: "AssociationStatus", values: ["Success"])], []),
            ([.init(key: "tag:role", values: ["web"])], [w]),
            ([.init(key: "tag:role", values: ["web", "db"])], [w, d]),
            ([.init(key: "tag:role", values: ["WEB"])], []),
            ([.init(key: "tag:Role", values: ["web"])], []),
            ([.init(key: "tag-key", values: ["env", "nothing"])], [d]),
            ([.init(key: "tag:role", values: ["web", "db"]), .init(key: "tag-key", values: ["env"])], [d]),
        ]
        for (filters, nodes) in expected { #expect(try await ids(fixture, filters) == nodes, "\(filters)") }

        let refused: [([Filter], String)] = [
            ([.init(key: "Colour", values: ["red"])], "InvalidFilterKey"),
            ([.init(key: "tag:", values: ["red"])], "InvalidFilterKey"),
            ([.init(key: "InstanceIds", values: ["../../etc"])], "InvalidInstanceId"),
            ([.init(key: "PingStatus", values: ["online"])], "InvalidInstanceInformationFilterValue"),
            ([.init(key: "PlatformTypes", values: ["Plan 9"])], "InvalidInstanceInformationFilterValue"),
            ([.init(key: "ActivationIds", values: ["x"])], "InvalidInstanceInformationFilterValue"),
            ([.init(key: "tag:role", values: ["web"]), .init(key: "PingStatus", values: ["Online"])], "ValidationException"),
        ]
        for (filters, code) in refused {
            do {
                _ = try await ids(fixture, filters)
                Issue.record("\(filters) is accepted")
            } catch let error as APIError { #expect(error.code == code) }
        }

        let old = try await fixture.nodes.describe(
            .init(instanceInformationFilterList: [.init(key: "InstanceIds", valueSet: [d.description])]), fixture.context())
        #expect(old.instanceInformationList.map(\.instanceID) == [d])
        await #expect(throws: APIError.self) {
            try await fixture.nodes.describe(
                .init(
                    instanceInformationFilterList: [.init(key: "IamRole", valueSet: ["role"])],
                    filters: [.init(key: "IamRole", values: ["role"])]), fixture.context())
        }
        peer.leave()
        await peer.ended()
    }

    @Test func pages() async throws {
        let fixture = try await EnrolmentFixture()
        let activation = try await fixture.activation(limit: 23)
        var nodes: Set<NodeID> = []
        for _ in 0..<23 { nodes.insert(try await fixture.enrol(try TestHost(), activation).instanceID) }
        var found: [NodeID] = []
        var token: String?
        var pages = 0
        repeat {
            let page = try await fixture.nodes.describe(.init(maxResults: 5, nextToken: token), fixture.context())
            found += page.instanceInformationList.map(\.instanceID)
            pages += 1
            #expect(page.nextToken != token || token == nil)
            token = page.nextToken
        } while token != nil
        #expect(pages == 5 && found.count == 23 && Set(found) == nodes && found == found.sorted())
        await #expect(throws: APIError.invalidNextToken()) {
            try await fixture.nodes.describe(.init(nextToken: "bm9uc2Vuc2U"), fixture.context())
        }
    }

    @Test func showsWhatIsKnown() async throws {
        let fixture = try await EnrolmentFixture()
        let (identity, certificate) = try await fixture.node(name: "rack one")
        let peer = try fixture.connect(certificate, number: 1)
        await fixture.events.wait(for: .connected(identity.node, 1))
        _ = try await fixture.nodes.update(
            .init(
                agentName: "muster-agent", agentVersion: "1.0.0.0", computerName: "web-1", ipAddress: "192.0.2.5",
                instanceID: identity.node.description, platformVersion: "13.1"),
            fixture.context(node: identity))
        let shown = try #require(try await fixture.nodes.describe(.init(), fixture.context()).instanceInformationList.first)
        #expect(shown.pingStatus == .online && shown.isLatestVersion == true && shown.name == "rack one")
        #expect(shown.computerName == "web-1" && shown.ipAddress == "192.0.2.5" && shown.platformVersion == "13.1")
        #expect(shown.platformName == "Debian GNU/Linux" && shown.platformType == "Linux" && shown.resourceType == "ManagedInstance")
        let status = try await fixture.nodes.connectionStatus(.init(target: identity.node.description), fixture.context())
        #expect(status.status == .connected)
        peer.leave()
        await peer.ended()
        #expect(
            try await fixture.nodes.connectionStatus(.init(target: identity.node.description), fixture.context()).status == .notConnected)
        #expect(try await fixture.nodes.connectionStatus(.init(target: "anything"), fixture.context()).status == .notConnected)
    }

    @Test func aHeartbeatSpeaksForItsCertificateOnly() async throws {
        let fixture = try await EnrolmentFixture()
        let (identity, _) = try await fixture.node()
        let (victim, _) = try await fixture.node()
        await #expect(throws: APIError.self) {
            try await fixture.nodes.update(
                .init(computerName: "stolen", instanceID: victim.node.description), fixture.context(node: identity))
        }
        #expect(try await fixture.stored(victim.node)?.facts.computerName == "host")
        let audit = try await fixture.audit("UpdateInstanceInformation")
        #expect(audit.map(\.outcome) == ["denied"] && audit.first?.resource == identity.node.description)
        await #expect(throws: APIError.self) {
            try await fixture.nodes.update(.init(instanceID: victim.node.description), fixture.context())
        }
    }

    @Test func onlyNewsIsAChange() async throws {
        let fixture = try await EnrolmentFixture()
        let (identity, _) = try await fixture.node()
        let input = UpdateInstanceInformation.Input(
            agentVersion: "2.0.0.0", computerName: "host", instanceID: identity.node.description)
        for _ in 0..<3 { _ = try await fixture.nodes.update(input, fixture.context(node: identity)) }
        #expect(try await fixture.audit("UpdateInstanceInformation").count == 1)
        #expect(try await fixture.stored(identity.node)?.facts.agentVersion == "2.0.0.0")
        _ = try await fixture.nodes.deregister(.init(instanceID: identity.node.description), fixture.context())
        await #expect(throws: APIError.self) { try await fixture.nodes.update(input, fixture.context(node: identity)) }
    }
}
