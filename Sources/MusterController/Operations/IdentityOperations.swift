import MusterWire

/// GetCallerIdentity of STS: tools ask it before anything else, to see whether their key works.
package struct IdentityOperations: Sendable {
    package init() {}

    package func register(in table: inout OperationTable) {
        table.register(
            GetCallerIdentity.self, permission: "sts:GetCallerIdentity", route: .operators, changes: false, allowedUnlessForbidden: true,
            identity)
    }

    /// The user's name takes the place of the id that IAM gives its users.
    @Sendable func identity(_ input: GetCallerIdentity.Input, _ context: OperationContext) async throws -> GetCallerIdentity.Output {
        GetCallerIdentity.Output(account: context.account, arn: context.caller.arn, userID: context.caller.userName)
    }
}
