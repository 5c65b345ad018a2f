import MusterController
import MusterWire
import Testing

@Suite struct OperationTableTests {
    @Test(arguments: ["", "ssm", ":", "ssm:", ":Send", "ssm:Send Command", "ssm:Send:Command", "ssm:*"])
    func aPermissionHasAServiceAndAnAction(_ text: String) {
        #expect(Permission(text) == nil)
    }

    /// There is no registration without a permission, and an empty one ends the program before it serves anyone.
    @Test func anOperationWithoutPermissionStopsTheProgram() async {
        await #expect(processExitsWith: .failure) {
            var table = OperationTable()
            table.register(TestOperations.Echo.self, permission: "", route: .operators, changes: false) { _, _ in .init(text: "", retry: nil) }
        }
    }

    @Test func anOperationIsRegisteredOnce() async {
        await #expect(processExitsWith: .failure) {
            var table = TestOperations.table()
            table.register(TestOperations.Echo.self, permission: "ssm:Echo", route: .operators, changes: false) { _, _ in .init(text: "", retry: nil) }
        }
    }

    @Test func theTableKnowsWhatEachOperationNeeds() throws {
        let entry = try #require(TestOperations.table().entry("NodeEcho"))
        #expect(entry.permission == "ssm:NodeEcho")
        #expect(entry.route == .nodes)
        #expect(TestOperations.table().entry("nodeecho") == nil)
        #expect(TestOperations.table().entry("GetCallerIdentity", service: "ssm") == nil)
        #expect(TestOperations.table().entry("Echo", service: "sts") == nil)
        #expect(TestOperations.table().entry("GetCallerIdentity", service: "sts")?.permission == "sts:GetCallerIdentity")
        #expect(TestOperations.table().names == ["Echo", "GetCallerIdentity", "JoinEcho", "NodeEcho"])
    }
}
