import Testing

@testable import MusterController

@Suite struct PolicyTests {
    @Test func theAdministratorMayDoEverything() {
        #expect(Policy.administrator.allows("ssm:SendCommand"))
        #expect(Policy.administrator.allows("muster:Anything"))
    }

    @Test func nothingIsAllowedUnlessItIsSaid() {
        #expect(Policy(statements: []).decide("ssm:SendCommand") == .notAllowed)
        let policy = Policy(statements: [.init(.allow, actions: ["ssm:List*", "ssm:getcommandinvocation"])])
        #expect(policy.allows("ssm:ListCommands"))
        #expect(policy.allows("ssm:GetCommandInvocation"))
        #expect(!policy.allows("ssm:GetCommandInvocations"))
        #expect(!policy.allows("ssm:SendCommand"))
    }

    @Test func aDenyWinsWhereverItStands() {
        let deny = Policy.Statement(.deny, actions: ["ssm:Send*"])
        let allow = Policy.Statement(.allow, actions: ["*"])
        #expect(Policy(statements: [deny, allow]).decide("ssm:SendCommand") == .forbidden)
        #expect(Policy(statements: [allow, deny]).decide("ssm:SendCommand") == .forbidden)
        #expect(Policy(statements: [allow, deny]).allows("ssm:ListCommands"))
    }
}
