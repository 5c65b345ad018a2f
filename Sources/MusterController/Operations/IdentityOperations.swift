package import MusterCrypto
package import MusterWire

/// GetCallerIdentity, AssumeRole, GetSessionToken of STS (API version 2011-06-15).
/// https://docs.aws.amazon.com/STS/latest/APIReference/
package struct IdentityOperations: Sendable {
    private static let assumedSeconds = (900...43_200, usual: 3_600)
    private static let sessionSeconds = (900...129_600, usual: 43_200)

    private let database: any SQLDatabase
    private let cipher: AuthenticatedCipher

    package init(database: any SQLDatabase, cipher: AuthenticatedCipher) {
        self.database = database
        self.cipher = cipher
    }

    package func register(in table: inout OperationTable) {
        table.register(
            QueryOperation(GetCallerIdentity.name, []), of: .securityToken, permission: "sts:GetCallerIdentity",
            access: .unlessForbidden { _, _ in [.anything] }, changes: false, identity)
        table.register(
            QueryOperation(
                "AssumeRole",
                [
                    .text("RoleArn", .length(20...2048)), .text("RoleSessionName", .length(2...64)),
                    .text("Policy", .length(1...131_072), required: false), .number("DurationSeconds", Self.assumedSeconds.0),
                ]),
            of: .securityToken, permission: "sts:AssumeRole",
            access: .unlessForbidden { call, _ in [AccessTarget(try call.text("RoleArn"))] },
            changes: true, assumeRole)
        table.register(
            QueryOperation("GetSessionToken", [.number("DurationSeconds", Self.sessionSeconds.0)]), of: .securityToken,
            permission: "sts:GetSessionToken", access: .unlessForbidden { _, _ in [.anything] }, changes: true, sessionToken)
    }

    @Sendable func identity(_ call: QueryCall, _ context: OperationContext) async throws -> QueryValue {
        .members([
            "Account": .text(context.account), "Arn": .text(context.caller.arn),
            "UserId": .text(context.caller.principal?.id ?? context.caller.userName),
        ])
    }

    /// A group is a role that its members, and nobody else, may assume. Membership is what a trust policy is elsewhere, so no policy has to
    /// allow it; one can forbid it. Not from a role: who answers for the credentials has to show the user's own.
    @Sendable func assumeRole(_ call: QueryCall, _ context: OperationContext) async throws -> QueryValue {
        let principal = try Self.principal(context)
        let arn = try call.text("RoleArn")
        let session = try call.text("RoleSessionName")
        guard CallerName.isValid(session) else {
            throw APIError.validation("RoleSessionName has letters, digits and _.@- here.")
        }
        let boundary = try call["Policy"].map { text in
            guard try !CallerChanges.check(text).requiresApproval else {
                throw APIError.malformedPolicy("A session policy gives nothing, so it cannot give it with approval.")
            }
            return [text]
        }
        let seconds = call.number("DurationSeconds") ?? Self.assumedSeconds.usual
        let (role, issued) = try await database.write { [cipher] tx in
            guard principal.boundary.isEmpty else {
                throw APIError.accessDenied(
                    user: context.caller.arn, action: "sts:AssumeRole", resource: arn,
                    reason: "because these credentials were given for something narrower than a role")
            }
            guard principal.role == nil, let role = try Self.role(arn, session, of: principal, context, in: tx) else {
                throw APIError.accessDenied(
                    user: context.caller.arn, action: "sts:AssumeRole", resource: arn,
                    reason: principal.role == nil
                        ? "because there is no group of this name that the caller is a member of" : "because a role assumes no other role")
            }
            let assumed = Principal(
                user: principal.user, userID: principal.userID, role: role, accessKeyID: principal.accessKeyID, issuedAt: context.now,
                boundary: boundary ?? [])
            let issued = try TemporaryCredentialStore.issue(to: assumed, seconds: seconds, now: context.now, cipher: cipher, in: tx)
            var details = [
                "userName": principal.user, "roleSessionName": session, "durationSeconds": String(seconds),
                "accessKeyId": issued.credentials.accessKeyID,
            ]
            if let text = boundary?.first { details["policyDigest"] = Hex.encode(SHA256.hash(Array(text.utf8))) }
            try AuditLog.append(context.audit("AssumeRole", resource: arn, details: details), in: tx)
            return (assumed, issued)
        }
        return .members([
            "Credentials": Self.shape(issued),
            "AssumedRoleUser": .members(["AssumedRoleId": .text(role.id), "Arn": .text(role.arn(account: context.account))]),
        ])
    }

    private static func role(
        _ arn: String, _ session: String, of principal: Principal, _ context: OperationContext, in tx: any SQLTransaction
    ) throws -> Principal.Role? {
        for group in try GroupStore.groups(of: principal.user, in: tx)
        where CallerName.role(group.name).arn(account: context.account) == arn {
            return Principal.Role(group: group.name, groupID: group.id, session: session)
        }
        return nil
    }

    /// The user's own rights for a while, so that the key itself can stay at home.
    @Sendable func sessionToken(_ call: QueryCall, _ context: OperationContext) async throws -> QueryValue {
        let principal = try Self.principal(context)
        guard principal.issuedAt == nil else {
            throw APIError.accessDenied("Cannot call GetSessionToken with session credentials")
        }
        let seconds = call.number("DurationSeconds") ?? Self.sessionSeconds.usual
        let issued = try await database.write { [cipher] tx in
            let temporary = Principal(
                user: principal.user, userID: principal.userID, accessKeyID: principal.accessKeyID, issuedAt: context.now)
            let issued = try TemporaryCredentialStore.issue(to: temporary, seconds: seconds, now: context.now, cipher: cipher, in: tx)
            try AuditLog.append(
                context.audit(
                    "GetSessionToken", resource: context.caller.arn,
                    details: ["durationSeconds": String(seconds), "accessKeyId": issued.credentials.accessKeyID]), in: tx)
            return issued
        }
        return .members(["Credentials": Self.shape(issued)])
    }

    private static func principal(_ context: OperationContext) throws -> Principal {
        guard let principal = context.caller.principal else { throw APIError.accessDenied("This call needs a user's access key.") }
        return principal
    }

    private static func shape(_ issued: TemporaryCredentialStore.Issued) -> QueryValue {
        .members([
            "AccessKeyId": .text(issued.credentials.accessKeyID), "SecretAccessKey": .text(issued.credentials.secretAccessKey),
            "SessionToken": .text(issued.credentials.sessionToken ?? ""), "Expiration": .time(issued.expiresAt),
        ])
    }
}
