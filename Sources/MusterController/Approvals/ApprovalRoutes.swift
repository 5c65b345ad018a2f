internal import HTTPTypes
internal import MusterWire

/// What approvers see and say. [routes]
///
/// Whoever decides has to be allowed to, as for everything, and has to be named by the policy that asked.
package struct ApprovalRoutes: Sendable {
    private static let bodyBytes = 4_096
    private static let listed = 200

    private let database: any SQLDatabase

    package init(database: any SQLDatabase) {
        self.database = database
    }

    package func register(in table: inout RouteTable) {
        table.register(
            "GetApproval", .get, Approval.showPath, permission: "muster:GetApproval", route: .operators, access: .anything, show)
        table.register(
            "ListApprovals", .get, Approval.listPath, permission: "muster:ListApprovals", route: .operators, access: .anything, list)
        table.register(
            "GrantApproval", .post, Approval.grantPath, permission: "muster:GrantApproval", route: .operators, access: .anything,
            changes: true, bodyBytes: Self.bodyBytes
        ) { call, context in
            try await decide("GrantApproval", call, context) { request, decision, approver in
                guard decision.reason == nil else { throw APIError.validation("A grant has no Reason.") }
                try request.grant(by: approver, minutes: decision.minutes, now: context.now)
                return ["minutes": String(request.minutes), "status": request.status(at: context.now).rawValue]
            }
        }
        table.register(
            "RefuseApproval", .post, Approval.refusePath, permission: "muster:RefuseApproval", route: .operators, access: .anything,
            changes: true, bodyBytes: Self.bodyBytes
        ) { call, context in
            try await decide("RefuseApproval", call, context) { request, decision, approver in
                let reason = decision.reason ?? ""
                guard decision.minutes == nil, reason.unicodeScalars.count <= 256 else {
                    throw APIError.validation("A refusal has a Reason of at most 256 characters, and no Minutes.")
                }
                try request.refuse(by: approver, reason: reason, now: context.now)
                return ["reason": reason]
            }
        }
        table.register(
            "RevokeApproval", .post, Approval.revokePath, permission: "muster:RevokeApproval", route: .operators, access: .anything,
            changes: true, bodyBytes: Self.bodyBytes
        ) { call, context in
            try await decide("RevokeApproval", call, context) { request, decision, approver in
                guard decision == ApprovalDecision() else { throw APIError.validation("To revoke takes no members.") }
                try request.revoke(by: approver.user, now: context.now)
                return [:]
            }
        }
    }

    @Sendable private func list(_ call: RouteCall, _ context: OperationContext) async throws -> RouteAnswer {
        guard call.parts == [""] else { throw Self.unknown("") }
        let all = call.query["all"] == "true"
        let requests = try await database.read { tx in
            try ApprovalStore.all(onlyOpen: !all, limit: Self.listed, now: context.now, in: tx)
        }
        return try RouteAnswer(json: ApprovalList(approvals: requests.map { $0.shape(at: context.now, parameters: false) }))
    }

    @Sendable private func show(_ call: RouteCall, _ context: OperationContext) async throws -> RouteAnswer {
        let id = call.parts.joined()
        guard let request = try await database.read({ tx in try ApprovalStore.request(id, in: tx) }) else { throw Self.unknown(id) }
        return try RouteAnswer(json: request.shape(at: context.now, parameters: true))
    }

    /// The decision, its event and the rights it changes are one transaction.
    private func decide(
        _ name: String, _ call: RouteCall, _ context: OperationContext,
        _ body: @escaping @Sendable (inout ApprovalRequest, ApprovalDecision, ApprovalRequest.Approver) throws -> [String: String]
    ) async throws -> RouteAnswer {
        let id = call.parts.joined()
        let decision: ApprovalDecision
        do {
            decision = call.body.isEmpty ? ApprovalDecision() : try JSONCoding.decode(ApprovalDecision.self, from: call.body)
        } catch {
            throw APIError.serialization(JSONCoding.explain(error))
        }
        guard let principal = context.caller.principal else { throw APIError.accessDenied("This call needs an operator's access key.") }
        let request = try await database.write { tx in
            guard var request = try ApprovalStore.request(id, in: tx) else { throw Self.unknown(id) }
            // Groups as they are now; in a role as well it is the person who decides.
            let approver = ApprovalRequest.Approver(
                user: principal.user, userID: principal.userID, groups: try GroupStore.groups(of: principal.user, in: tx).map(\.name))
            let former = request
            var details: [String: String]
            do {
                details = try body(&request, decision, approver)
            } catch let refusal as ApprovalRequest.Refusal {
                throw refusal.apiError
            }
            guard request != former else { return request }
            details["requester"] = request.requester.arn
            details["action"] = request.subject.action
            try ApprovalStore.update(request, now: context.now, in: tx)
            try MetaStore.advance(.accessRevision, in: tx)
            try AuditLog.append(context.audit(name, resource: id, details: details), in: tx)
            return request
        }
        return try RouteAnswer(json: request.shape(at: context.now, parameters: true))
    }

    private static func unknown(_ id: String) -> APIError {
        APIError(
            code: "ResourceNotFoundException", message: "There is no access request '\(id.prefix(40))'. `muster approvals` lists them.",
            status: 404)
    }
}

extension ApprovalRequest {
    func shape(at now: Timestamp, parameters: Bool) -> Approval {
        let endsAt: Timestamp? =
            switch state(at: now) {
            case .pending(let until), .granted(_, let until): until
            default: nil
            }
        return Approval(
            id: id, status: status(at: now).rawValue, requester: requester.user, action: subject.action, document: subject.document,
            nodes: subject.nodes, parameters: parameters ? subject.parameters : nil, reason: reason,
            requirements: zip(requirements, missing).map { requirement, missing in
                .init(approvers: requirement.approvers.map(\.description), count: requirement.count, missing: missing)
            },
            grantedBy: votes.map(\.user), minutes: minutes, endsSessions: endsSessions, requestedAt: requestedAt, endsAt: endsAt,
            words: words(at: now))
    }
}
