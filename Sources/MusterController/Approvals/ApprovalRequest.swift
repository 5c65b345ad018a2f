package import MusterWire

/// Something that others have to agree to, from the question to its end. [value]
///
///     pending ──m of n grant──► granted ──its end──► expired           a session may be started any number of times until the end,
///        │                         ├──used──► usedUp                   a command once
///        ├──one refuses──► refused └──revoke──► revoked
///        └──a day──► expired
///
/// Nobody decides about his own, whatever credentials he comes with; one person counts once, also where two groups name him.
package struct ApprovalRequest: Sendable, Equatable, Codable {
    package struct Requester: Sendable, Equatable, Codable {
        package let user: String
        package let userID: String
        package let arn: String
    }

    /// Who decides, as they are when they decide.
    package struct Approver: Sendable, Equatable {
        package let user: String
        package let userID: String
        package let groups: [String]

        package init(user: String, userID: String, groups: [String]) {
            self.user = user
            self.userID = userID
            self.groups = groups
        }
    }

    package struct Vote: Sendable, Equatable, Codable {
        package let user: String
        package let userID: String
        package let at: Timestamp
        /// The requirements, by place, that this one may speak for.
        package let covers: [Int]
    }

    package enum State: Sendable, Equatable, Codable {
        case pending(until: Timestamp)
        case granted(at: Timestamp, until: Timestamp)
        /// Until then the same question has the same answer.
        case refused(by: String, reason: String, until: Timestamp)
        case revoked(by: String)
        case usedUp
        case expired
    }

    package enum Refusal: Error, Sendable, Equatable {
        case own
        case notAnApprover
        case over(String)
        case tooLong(maximum: Int)
    }

    package static let pendingSeconds: Int64 = 86_400
    package static let refusedSeconds: Int64 = 900

    package let id: String
    package let requester: Requester
    package let subject: ApprovalSubject
    /// All of them have to be met.
    package let requirements: [ApprovalRequirement]
    package let reason: String
    package let requestedAt: Timestamp
    package private(set) var votes: [Vote] = []
    package private(set) var minutes: Int
    package private(set) var state: State

    package init(id: String, _ need: ApprovalNeed, now: Timestamp) {
        self.id = id
        requester = Requester(
            user: need.principal.user, userID: need.principal.userID, arn: need.principal.arn(account: need.account))
        subject = need.subject
        requirements = need.requirements
        reason = need.reason
        requestedAt = now
        minutes = need.requirements.map(\.maximumMinutes).min() ?? ApprovalRequirement.defaultMinutes
        state = .pending(until: now.adding(seconds: Self.pendingSeconds))
    }

    /// Nobody has to agree.
    package init(allowed id: String, _ need: ApprovalNeed, now: Timestamp) {
        self.init(id: id, need, now: now)
        state = .granted(at: now, until: now.adding(seconds: Int64(minutes) * 60))
    }

    package var endsSessions: Bool { requirements.contains { $0.endsSessions } }

    /// A command is started once; an approved shell may be opened again.
    private var isForOneUse: Bool { subject.action != ApprovalSubject.startSession }

    // MARK: Deciding

    /// The same from the same approver changes nothing. `minutes` may shorten what the policy allows.
    package mutating func grant(by approver: Approver, minutes wanted: Int? = nil, now: Timestamp) throws(Refusal) {
        let covers = try standing(of: approver, now: now)
        if votes.contains(where: { $0.userID == approver.userID }) { return }
        guard case .pending = state(at: now) else { throw .over(status(at: now).rawValue) }
        if let wanted {
            guard (1...minutes).contains(wanted) else { throw .tooLong(maximum: minutes) }
            minutes = wanted
        }
        votes.append(Vote(user: approver.user, userID: approver.userID, at: now, covers: covers))
        guard missing.allSatisfy({ $0 == 0 }) else { return }
        state = .granted(at: now, until: now.adding(seconds: Int64(minutes) * 60))
    }

    package mutating func refuse(by approver: Approver, reason: String, now: Timestamp) throws(Refusal) {
        _ = try standing(of: approver, now: now)
        if case .refused(approver.user, _, _) = state { return }
        guard case .pending = state(at: now) else { throw .over(status(at: now).rawValue) }
        state = .refused(by: approver.user, reason: reason, until: now.adding(seconds: Self.refusedSeconds))
    }

    /// Takes a grant, or a question, back. Less is nobody's privilege: whoever may call it may.
    package mutating func revoke(by user: String, now: Timestamp) throws(Refusal) {
        switch state(at: now) {
        case .pending, .granted: state = .revoked(by: user)
        case .revoked: break
        case .refused, .usedUp, .expired: throw .over(status(at: now).rawValue)
        }
    }

    private func standing(of approver: Approver, now: Timestamp) throws(Refusal) -> [Int] {
        guard approver.userID != requester.userID, approver.user != requester.user else { throw .own }
        let covers = requirements.indices.filter { index in
            requirements[index].approvers.contains { named in
                switch named {
                case .user(let name): name == approver.user
                case .group(let name): approver.groups.contains(name)
                }
            }
        }
        guard !covers.isEmpty else { throw .notAnApprover }
        return covers
    }

    /// How many more each requirement needs.
    package var missing: [Int] {
        requirements.enumerated().map { index, requirement in
            max(0, requirement.count - votes.count { $0.covers.contains(index) })
        }
    }

    // MARK: Using

    /// Whether this one is for what is asked now, under what the policies demand now. What was agreed to was agreed to for its reason: another one is
    /// another request. Who gives none says nothing else.
    package func answers(_ need: ApprovalNeed) -> Bool {
        requester.userID == need.principal.userID && subject.covers(need.subject) && need.requirements.allSatisfy(requirements.contains)
            && (need.reason.isEmpty || need.reason == reason)
    }

    package func isUsable(at now: Timestamp) -> Bool {
        if case .granted = state(at: now) { true } else { false }
    }

    /// False if there is nothing to use.
    package mutating func use(now: Timestamp) -> Bool {
        guard isUsable(at: now) else { return false }
        if isForOneUse { state = .usedUp }
        return true
    }

    /// Until when a grant lasts, if there is one.
    package var end: Timestamp? {
        if case .granted(_, let until) = state { until } else { nil }
    }

    /// What has passed is passed, whether anybody has written it down or not.
    package func state(at now: Timestamp) -> State {
        switch state {
        case .pending(let until) where until <= now, .granted(_, let until) where until <= now: .expired
        default: state
        }
    }

    // MARK: Words

    /// `AccessRequestStatus` of SSM, and one more.
    package enum Status: String, Sendable, CaseIterable {
        case pending = "Pending"
        case approved = "Approved"
        case rejected = "Rejected"
        case revoked = "Revoked"
        case expired = "Expired"
        case usedUp = "UsedUp"
    }

    package func status(at now: Timestamp) -> Status {
        switch state(at: now) {
        case .pending: .pending
        case .granted: .approved
        case .refused: .rejected
        case .revoked: .revoked
        case .usedUp: .usedUp
        case .expired: .expired
        }
    }

    /// What the caller hears when it calls before, or after.
    package func words(at now: Timestamp) -> String {
        switch state(at: now) {
        case .pending:
            let waiting = zip(requirements, missing).filter { $1 > 0 }.map { requirement, number in
                "\(number) more of \(requirement.approvers.map(\.description).joined(separator: ", "))"
            }
            return "Access request \(id) waits for the approval of \(waiting.joined(separator: " and of ")); "
                + "repeat this call once it is granted."
        case .granted(_, let until): return "Access request \(id) is granted until \(until.iso8601)."
        case .refused(let by, let reason, _): return "Access request \(id) was refused by \(by)\(reason.isEmpty ? "." : ": \(reason)")"
        case .revoked(let by): return "Access request \(id) was revoked by \(by)."
        case .usedUp: return "Access request \(id) has been used."
        case .expired: return "Access request \(id) has expired."
        }
    }
}

extension ApprovalRequest.Refusal {
    package var apiError: APIError {
        switch self {
        case .own: .accessDenied("Nobody decides about an access request of his own.")
        case .notAnApprover: .accessDenied("The policy that asked for this approval does not name you, nor a group of yours.")
        case .over(let status): APIError(code: "ConflictException", message: "This access request is \(status) already.", status: 409)
        case .tooLong(let maximum): .validation("A grant of this request may last from 1 to \(maximum) minutes.")
        }
    }
}
