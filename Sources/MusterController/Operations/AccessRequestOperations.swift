package import MusterCrypto
internal import MusterDocuments
internal import MusterWire

/// StartAccessRequest and GetAccessToken: asking first, instead of being denied first.
///
/// The request is for shells: StartSession with the document that it takes when none is named.
package struct AccessRequestOperations: Sendable {
    private static let mostNodes = 50
    private static let tokenSeconds: Int64 = 3_600

    private let database: any SQLDatabase
    private let cipher: AuthenticatedCipher

    package init(database: any SQLDatabase, cipher: AuthenticatedCipher) {
        self.database = database
        self.cipher = cipher
    }

    package func register(in table: inout OperationTable) {
        table.register(
            StartAccessRequest.self, permission: "ssm:StartAccessRequest", route: .operators, access: .inside, changes: true, start)
        table.register(
            GetAccessToken.self, permission: "ssm:GetAccessToken", route: .operators, access: .anything, changes: true, token)
    }

    /// What is allowed anyway is granted at once; what no policy could allow is denied like the session itself.
    @Sendable func start(_ input: StartAccessRequest.Input, _ context: OperationContext) async throws -> StartAccessRequest.Output {
        let reason = try input.reason.required("reason")
        let targets = try input.targets.required("targets")
        guard let principal = context.caller.principal else { throw APIError.accessDenied("This call needs a user's access key.") }
        return try await database.write { tx in
            let nodes = try TargetResolver.resolve(targets, account: context.account, in: tx).map(\.node)
            try context.access.authorize(nodes.isEmpty ? [.anything] : nodes.map { .node($0, context) }, in: tx)
            guard (1...Self.mostNodes).contains(nodes.count) else {
                throw APIError(
                    code: nodes.isEmpty ? "ResourceNotFoundException" : "ValidationException",
                    message: nodes.isEmpty ? "No node matches the targets." : "An access request is for at most \(Self.mostNodes) nodes.")
            }
            let order = try SessionOrder(document: BuiltInSessionDocument.preferences, parameters: [:], in: tx)
            let wanted = try nodes.flatMap { node in
                SessionAccess.targets(
                    order, on: node, runAs: try order.runAsUser(on: node, for: principal, in: tx), reason: reason, context)
            }
            let requirements = try context.access.requirements(wanted, action: ApprovalSubject.startSession, in: tx)
            let need = ApprovalNeed(
                requirements: requirements ?? [], subject: try SessionAccess.subject(order, on: nodes, parameters: [:], context),
                reason: reason, principal: principal, account: context.account)
            if let open = try ApprovalStore.answering(need, now: context.now, in: tx),
                [.pending, .approved].contains(open.status(at: context.now))
            {
                return StartAccessRequest.Output(accessRequestID: open.id)
            }
            if let missing = need.missing { throw APIError.validation("The access request is not opened: \(missing).") }
            guard try ApprovalStore.openCount(of: principal.userID, now: context.now, in: tx) < ApprovalStore.mostOpen else {
                throw APIError(
                    code: "ServiceQuotaExceededException", message: "\(ApprovalStore.mostOpen) access requests of yours wait already.")
            }
            let id = ApprovalStore.makeID()
            let request =
                requirements == nil ? ApprovalRequest(allowed: id, need, now: context.now) : ApprovalRequest(id: id, need, now: context.now)
            try ApprovalQuestion.insert(
                request, need, context.caller, as: StartAccessRequest.name, requestID: context.requestID, region: context.region,
                now: context.now, in: tx)
            return StartAccessRequest.Output(accessRequestID: id)
        }
    }

    /// Credentials for nothing but the sessions that were granted, and no longer than the grant.
    @Sendable func token(_ input: GetAccessToken.Input, _ context: OperationContext) async throws -> GetAccessToken.Output {
        let id = try input.accessRequestID.required("accessRequestId")
        guard let principal = context.caller.principal else { throw APIError.accessDenied("This call needs a user's access key.") }
        return try await database.write { [cipher] tx in
            // Whose it is not, to him it does not exist.
            guard let request = try ApprovalStore.request(id, in: tx), request.requester.userID == principal.userID,
                request.subject.action == ApprovalSubject.startSession
            else {
                throw APIError(code: "ResourceNotFoundException", message: "There is no access request \(id) of yours.")
            }
            let status = request.status(at: context.now)
            guard case .granted(_, let until) = request.state(at: context.now) else {
                return GetAccessToken.Output(status: status == .usedUp ? ApprovalRequest.Status.expired.rawValue : status.rawValue)
            }
            let bounded = Principal(
                user: principal.user, userID: principal.userID, role: principal.role, accessKeyID: principal.accessKeyID,
                issuedAt: context.now, boundary: principal.boundary + [Self.boundary(request, principal)])
            let seconds = min(Self.tokenSeconds, max(1, (until.milliseconds - context.now.milliseconds) / 1000))
            let issued = try TemporaryCredentialStore.issue(
                to: bounded, seconds: Int(seconds), now: context.now, cipher: cipher, in: tx)
            try AuditLog.append(
                context.audit(
                    GetAccessToken.name, resource: id,
                    details: ["accessKeyId": issued.credentials.accessKeyID, "durationSeconds": String(seconds)]), in: tx)
            return GetAccessToken.Output(
                credentials: AccessCredentials(
                    accessKeyID: issued.credentials.accessKeyID, secretAccessKey: issued.credentials.secretAccessKey,
                    sessionToken: issued.credentials.sessionToken ?? "", expirationTime: issued.expiresAt),
                status: status.rawValue)
        }
    }

    private static func boundary(_ request: ApprovalRequest, _ principal: Principal) -> String {
        func allow(_ actions: [String], _ resources: [String]) -> DocumentValue {
            .object([
                "Effect": .string("Allow"), "Action": .array(actions.map(DocumentValue.string)),
                "Resource": .array(resources.map(DocumentValue.string)),
            ])
        }
        return DocumentValue.object([
            "Version": .string("2012-10-17"),
            "Statement": .array([
                allow([ApprovalSubject.startSession], request.subject.nodes + [request.subject.document]),
                allow(["ssm:ResumeSession", "ssm:TerminateSession"], ["arn:aws:ssm:*:*:session/\(principal.user)-*"]),
            ]),
        ]).json
    }
}
