import MusterCrypto
import MusterWire
import Testing

@testable import MusterController

@Suite struct OperationTableTests {
    @Test(arguments: ["", "ssm", ":", "ssm:", ":Send", "ssm:Send Command", "ssm:Send:Command", "ssm:*"])
    func aPermissionHasAServiceAndAnAction(_ text: String) {
        #expect(Permission(text) == nil)
    }

    @Test func theTableKnowsWhatEachOperationNeeds() throws {
        let directory = try TemporaryDirectory()
        let database = try SQLiteDatabase(path: directory.file("store.sqlite"))
        let identity = IdentityOperations(database: database, cipher: try AuthenticatedCipher(key: [UInt8](repeating: 1, count: 32)))
        let table = TestOperations.table(identity)
        let entry = try #require(table.entry("NodeEcho"))
        #expect(entry.permission == "ssm:NodeEcho")
        #expect(entry.route == .nodes)
        #expect(table.entry("nodeecho") == nil)
        #expect(table.entry("GetCallerIdentity", of: .systemsManager) == nil)
        #expect(table.entry("Echo", of: .securityToken) == nil)
        #expect(table.entry("GetCallerIdentity", of: .securityToken)?.permission == "sts:GetCallerIdentity")
        #expect(table.names == ["AssumeRole", "Echo", "GetCallerIdentity", "GetSessionToken", "JoinEcho", "NodeEcho"])
    }

    /// An answer for which nobody was asked is withheld, and a body that no policy could allow is not even looked at.
    @Test func anOperationHasToAsk() async throws {
        let context = OperationContext(
            caller: TestAccess.caller(), requestID: "r", now: .now(), region: "x", account: "000000000001", access: AccessCheck())
        let rule = AccessRule<Int>.inside
        await #expect(throws: APIError.self) {
            try await rule.guarding(context) {
                1
            } handler: {
                $0
            }
        }
        #expect(
            try await AccessRule<Int>.certificate.guarding(context) {
                1
            } handler: {
                $0
            } == 1)
    }
}
