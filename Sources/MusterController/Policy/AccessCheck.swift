package import MusterWire
internal import NIOConcurrencyHelpers

/// That something is allowed. Stores that begin something take one, and only `AccessCheck` makes one.
package struct Permit: Sendable {
    package let access: GrantedAccess

    fileprivate init(_ access: GrantedAccess) { self.access = access }
}

/// Who was allowed what, with all that was decided from and does not change: enough to decide it again at another time. [value]
package struct GrantedAccess: Sendable, Hashable, Codable {
    package let principal: Principal
    package let action: String
    package let targets: [AccessTarget]
    package let account: String
    /// What the caller signed for: `aws:RequestedRegion`.
    package let region: String
    package let sourceAddress: String
    package let userAgent: String
    /// The access request that others have granted, where it was needed.
    package var approval: String?

    /// With its targets where they are. What older versions kept names the region that the caller had signed for, which was never more than
    /// that, and a controller's region can be changed.
    func moved(to region: String) -> GrantedAccess {
        var access = GrantedAccess(
            principal: principal, action: action, targets: targets.map { $0.moved(to: region) }, account: account, region: self.region,
            sourceAddress: sourceAddress, userAgent: userAgent)
        access.approval = approval
        return access
    }
}

/// What was refused, by which statement if one decided.
package struct AccessDenial: Error, Sendable {
    package let decision: PolicyDecision
    package let arn: String
    /// Others can allow it.
    package var need: ApprovalNeed?
    /// What has become of that.
    package var approval: String?
    package var advice: String?
    /// What it was about is told to nobody but the trail.
    package var hidesResource = false

    package init(decision: PolicyDecision, arn: String, need: ApprovalNeed? = nil) {
        self.decision = decision
        self.arn = arn
        self.need = need
    }

    package var apiError: APIError {
        .accessDenied(
            user: arn, action: decision.request.action, resource: hidesResource ? "*" : decision.request.resource,
            reason: decision.reason + (advice.map { ". \($0)" } ?? ""))
    }

    /// What makes it the same as another one of the same key and operation.
    package var kind: String { ([apiError.code] + (decision.statement.map { ["\($0)"] } ?? [])).joined(separator: " ") }

    /// For the audit trail.
    package var details: [String: String] {
        var details = ["errorCode": apiError.code, "errorMessage": apiError.message, "action": decision.request.action]
        details["statement"] = decision.statement?.description
        details["accessRequestId"] = approval
        return details
    }
}

/// The one place where it is decided whether a call may be. One for each call; the policies are those of the moment it is asked.
package final class AccessCheck: Sendable {
    /// Where the policies come from.
    package enum Policies: Sendable {
        case stored(PolicyReader)
        case fixed(PolicySet)
    }

    private struct Question: Sendable {
        let caller: Caller
        let action: String
        let account: String
        let region: String
        let requestedRegion: String
        let now: Timestamp
        let policies: Policies
        let database: any SQLDatabase

        /// What there is for the action.
        func set(_ access: GrantedAccess, in tx: any SQLTransaction) throws -> PolicySet {
            let set =
                switch policies {
                case .stored(let reader): try reader.set(of: access.principal, in: tx)
                case .fixed(let set): set
                }
            return set.concerning(access.action)
        }
    }

    private let question: Question?
    private let asked = NIOLockedValueBox(false)

    /// Refuses everything.
    package init() { question = nil }

    package init(
        _ caller: Caller, action: String, account: String, region: String, requestedRegion: String? = nil, now: Timestamp,
        policies: Policies, database: any SQLDatabase
    ) {
        question = Question(
            caller: caller, action: action, account: account, region: region, requestedRegion: requestedRegion ?? region, now: now,
            policies: policies, database: database)
    }

    /// Whether the handler has done what `AccessRule.inside` asks of it.
    package var wasAsked: Bool { asked.withLockedValue { $0 } }

    /// An answer that was given before is given again: then it was allowed, to the same key.
    package func isRepeat() { asked.withLockedValue { $0 = true } }

    // MARK: Asking

    /// Throws `AccessDenial` unless every target is allowed.
    @discardableResult
    package func authorize(_ targets: [AccessTarget], in tx: any SQLTransaction) throws -> Permit {
        asked.withLockedValue { $0 = true }
        let (question, access) = try granted(targets)
        try Self.refuse(judge(access, question, in: tx), question.caller)
        return Permit(access)
    }

    /// The same for what others may have to agree to. A grant that there is gets used, in this transaction.
    package func authorize(
        _ targets: [AccessTarget], for subject: ApprovalSubject, reason: String, in tx: any SQLTransaction
    ) throws -> Permit {
        asked.withLockedValue { $0 = true }
        let (question, asking) = try granted(targets)
        var access = asking
        switch try judge(access, question, in: tx) {
        case .allowed: return Permit(access)
        case .denied(let decision): throw AccessDenial(decision: decision, arn: question.caller.arn)
        case .approvalNeeded(let requirements, let decision):
            let need = ApprovalNeed(
                requirements: requirements, subject: subject, reason: reason, principal: access.principal, account: access.account)
            guard var request = try ApprovalStore.answering(need, now: question.now, in: tx), request.use(now: question.now) else {
                throw AccessDenial(decision: decision, arn: question.caller.arn, need: need)
            }
            try ApprovalStore.update(request, now: question.now, in: tx)
            // What it allows has an end, which somebody has to look out for.
            try MetaStore.advance(.accessRevision, in: tx)
            access.approval = request.id
            return Permit(access)
        }
    }

    /// Whether the whole would need approval, and by whom; nil if it is simply allowed.
    package func requirements(
        _ targets: [AccessTarget], action: String, in tx: any SQLTransaction
    ) throws -> [ApprovalRequirement]? {
        let (question, asking) = try granted(targets)
        let access = GrantedAccess(
            principal: asking.principal, action: action, targets: targets, account: asking.account, region: asking.region,
            sourceAddress: asking.sourceAddress, userAgent: asking.userAgent)
        switch try judge(access, question, in: tx) {
        case .allowed: return nil
        case .denied(let decision): throw AccessDenial(decision: decision, arn: question.caller.arn)
        case .approvalNeeded(let requirements, _): return requirements
        }
    }

    /// For a question beside the one that is decided.
    package func isAllowed(_ targets: [AccessTarget], action: String, in tx: any SQLTransaction) throws -> Bool {
        do {
            return try requirements(targets, action: action, in: tx) == nil
        } catch is AccessDenial {
            return false
        }
    }

    /// Once more for what was allowed before, as when the answer to it was lost.
    package func authorizeAgain(_ access: GrantedAccess?, or targets: [AccessTarget], in tx: any SQLTransaction) throws {
        let home = question?.region ?? ""
        let (question, now) = try granted(access?.targets.map { $0.moved(to: home) } ?? targets)
        asked.withLockedValue { $0 = true }
        let verdict = try judge(now, question, in: tx)
        if case .approvalNeeded(let requirements, _) = verdict, let id = access?.approval,
            let request = try ApprovalStore.request(id, in: tx),
            request.requester.userID == now.principal.userID, request.isUsable(at: question.now),
            requirements.allSatisfy(request.requirements.contains)
        {
            return
        }
        try Self.refuse(verdict, question.caller)
    }

    private func judge(_ access: GrantedAccess, _ question: Question, in tx: any SQLTransaction) throws -> AccessVerdict {
        let set = try question.set(access, in: tx)
        return set.judge(try Self.requests(access, tags: set.resourceTags, now: question.now, in: tx))
    }

    package func authorize(_ targets: [AccessTarget]) async throws {
        let (question, _) = try granted(targets)
        try await question.database.read { tx in _ = try self.authorize(targets, in: tx) }
    }

    /// Refuses what no policy could allow, whatever it is about: before a body is looked at.
    package func begin() async throws {
        let (question, access) = try granted([.anything])
        try await question.database.read { tx in
            guard try !question.set(access, in: tx).couldAllow(access.action) else { return }
            try Self.refuse(self.judge(access, question, in: tx), question.caller)
        }
    }

    /// For what everybody may: only a statement that forbids it counts.
    package func authorizeUnlessForbidden(_ targets: [AccessTarget]) async throws {
        let (question, access) = try granted(targets)
        try await question.database.read { tx in
            let set = try question.set(access, in: tx)
            let requests = try Self.requests(access, tags: set.resourceTags, now: question.now, in: tx)
            for decision in requests.map({ set.decide($0) }) where decision.outcome == .explicitDeny {
                throw AccessDenial(decision: decision, arn: question.caller.arn)
            }
        }
    }

    private func granted(_ targets: [AccessTarget]) throws -> (Question, GrantedAccess) {
        guard let question, let principal = question.caller.principal else {
            throw APIError.accessDenied("This call needs an operator's access key.")
        }
        return (
            question,
            GrantedAccess(
                principal: principal, action: question.action, targets: targets, account: question.account,
                region: question.requestedRegion,
                sourceAddress: question.caller.sourceAddress, userAgent: String(question.caller.userAgent.prefix(256)))
        )
    }

    private static func refuse(_ verdict: AccessVerdict, _ caller: Caller) throws {
        switch verdict {
        case .allowed: return
        case .denied(let decision), .approvalNeeded(_, let decision): throw AccessDenial(decision: decision, arn: caller.arn)
        }
    }

    // MARK: Asking again

    /// Whether what was allowed once still is: by the policies, the tags and the hour of now, to a key that still counts.
    package static func stillAllowed(
        _ access: GrantedAccess, region: String, now: Timestamp, policies: PolicyReader, in tx: any SQLTransaction
    ) throws -> Revocation? {
        let access = access.moved(to: region)
        guard try OperatorKeyStore.isAlive(access.principal, in: tx) else { return .keyGone }
        let set = try policies.set(of: access.principal, in: tx).concerning(access.action)
        switch set.judge(try requests(access, tags: set.resourceTags, now: now, in: tx)) {
        case .allowed: return nil
        case .denied(let decision): return .denied(decision)
        case .approvalNeeded(let requirements, let decision):
            guard let id = access.approval, let request = try ApprovalStore.request(id, in: tx),
                requirements.allSatisfy(request.requirements.contains)
            else { return .denied(decision) }
            switch request.state {
            case .granted(_, let until):
                return until <= now && request.endsSessions ? .approvalOver("its approval (\(id)) ended at \(until.iso8601)") : nil
            case .revoked(let user): return .approvalOver("its approval (\(id)) was revoked by \(user)")
            case .pending, .refused, .usedUp, .expired: return .denied(decision)
            }
        }
    }

    /// When something ends with its approval, if it does.
    package static func approvalEnd(_ access: GrantedAccess, in tx: any SQLTransaction) throws -> Timestamp? {
        guard let id = access.approval, let request = try ApprovalStore.request(id, in: tx), request.endsSessions else { return nil }
        return request.end
    }

    /// Why something is no longer allowed.
    package enum Revocation: Sendable, Equatable {
        case keyGone
        case denied(PolicyDecision)
        case approvalOver(String)

        package var words: String {
            switch self {
            case .keyGone: "the access key that started it is no longer valid"
            case .denied(let decision): "\(decision.request.action) is no longer allowed " + decision.reason
            case .approvalOver(let words): words
            }
        }
    }

    // MARK: The question in full

    /// - Parameter names: keys of tags, in lower case, that make a difference; nil if all are wanted.
    static func requests(
        _ access: GrantedAccess, tags names: Set<String>?, now: Timestamp, in tx: any SQLTransaction
    ) throws -> [AccessRequest] {
        let common = try keys(access, now: now, in: tx)
        let tags = try NodeTags(access.targets.compactMap(\.node), names: names, in: tx)
        return try access.targets.map { target in
            var keys = common.merging(target.keys)
            var own = target.node.map { tags[$0] } ?? [:]
            if let tagged = target.tagged, names?.isEmpty != true { own = try TagStore.tags(of: tagged.id, type: tagged.type, in: tx) }
            for (name, value) in own {
                for family in ConditionKey.resourceFamilies { keys[family + name] = (keys[family + name] ?? []) + [value] }
            }
            return AccessRequest(action: access.action, resource: target.resource, keys: keys)
        }
    }

    /// What every request carries. https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html
    private static func keys(_ access: GrantedAccess, now: Timestamp, in tx: any SQLTransaction) throws -> ConditionKeys {
        let principal = access.principal
        var keys: [String: [String]] = [
            "aws:CurrentTime": [now.iso8601],
            "aws:EpochTime": [String(now.milliseconds / 1000)],
            "aws:username": [principal.user],
            "aws:userid": [principal.id],
            "aws:PrincipalArn": [principal.policyARN(account: access.account)],
            "aws:SecureTransport": ["true"],
            "aws:RequestedRegion": [access.region],
        ]
        if !access.sourceAddress.isEmpty { keys["aws:SourceIp"] = [access.sourceAddress] }
        if !access.userAgent.isEmpty { keys["aws:UserAgent"] = [access.userAgent] }
        if let issuedAt = principal.issuedAt { keys["aws:TokenIssueTime"] = [issuedAt.iso8601] }
        for (name, value) in try TagStore.tags(of: principal.user, type: UserStore.tagType, in: tx) {
            keys["aws:PrincipalTag/\(name)"] = [value]
        }
        return ConditionKeys(keys)
    }
}

/// Tags of some nodes. Of many they are read at once, and only those that make a difference: a call on ten thousand nodes must not ask
/// ten thousand times.
private struct NodeTags {
    private static let few = 1_000
    private var tags: [String: [String: String]] = [:]

    init(_ nodes: [NodeID], names: Set<String>?, in tx: any SQLTransaction) throws {
        if names?.isEmpty != true, nodes.count <= Self.few {
            for node in nodes {
                tags[node.rawValue] = try TagStore.decidingTags(of: node, in: tx)
            }
        } else {
            tags = try TagStore.all(of: TagStore.managedInstance, keys: names, in: tx)
                .merging(TagStore.all(of: TagStore.formerInstance, keys: names, in: tx)) { present, _ in present }
        }
    }

    subscript(node: NodeID) -> [String: String] { tags[node.rawValue] ?? [:] }
}
