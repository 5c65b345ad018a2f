import MusterController
import MusterWire
import Testing

@Suite struct OperationTableTests {
    @Test(arguments: ["", "ssm", ":", "ssm:", ":Send", "ssm:Send Command", "ssm:Send:Command", "ssm:*"])
    func aPermissionHasAServiceAndAnAction(_ text: String) {
        #expect(Permission(text) == nil)
    }

    @Test func theTableKnowsWhatEachOperationNeeds() throws {
        let entry = try #require(TestOperations.table().entry("NodeEcho"))
        #expect(entry.permission == "ssm:NodeEcho")
        #expect(entry.route == .nodes)
        #expect(TestOperations.table().entry("nodeecho") == nil)
        #expect(TestOperations.table().entry("GetCallerIdentity", of: .systemsManager) == nil)
        #expect(TestOperations.table().entry("Echo", of: .securityToken) == nil)
        #expect(TestOperations.table().entry("GetCallerIdentity", of: .securityToken)?.permission == "sts:GetCallerIdentity")
        #expect(TestOperations.table().names == ["Echo", "GetCallerIdentity", "JoinEcho", "NodeEcho"])
    }
}
