/// What a statement's `RequireApproval` demands before it allows. [value]
package struct ApprovalRequirement: Sendable, Hashable, Codable {
    /// Who may approve: a user by name, or the members of a group, whoever they are when they decide.
    package enum Approver: Sendable, Hashable, Codable {
        case user(String)
        case group(String)
    }

    package enum Ticket: Sendable, Hashable, Codable {
        case notNeeded
        case any
        /// The whole ticket matches this pattern.
        case matching(String)
    }

    package let approvers: [Approver]
    /// How many different ones of them.
    package let count: Int
    package let needsReason: Bool
    package let ticket: Ticket
    /// How long a grant can be used.
    package let maximumMinutes: Int
    /// Whether sessions that the grant let in end with it.
    package let endsSessions: Bool

    package init(
        approvers: [Approver], count: Int = 1, needsReason: Bool = false, ticket: Ticket = .notNeeded,
        maximumMinutes: Int = Self.defaultMinutes, endsSessions: Bool = true
    ) {
        self.approvers = approvers
        self.count = count
        self.needsReason = needsReason
        self.ticket = ticket
        self.maximumMinutes = maximumMinutes
        self.endsSessions = endsSessions
    }

    package static let defaultMinutes = 60
    package static let minutes = 1...10_080
    package static let counts = 1...10
    package static let maximumApprovers = 50

    /// Which of two that would both do is asked for: the easier one, and in the end any fixed order, so that the order of
    /// statements does not matter.
    func isPreferred(to other: ApprovalRequirement) -> Bool {
        if count != other.count { return count < other.count }
        if maximumMinutes != other.maximumMinutes { return maximumMinutes > other.maximumMinutes }
        return "\(self)" < "\(other)"
    }
}

extension ApprovalRequirement.Approver: CustomStringConvertible {
    package var description: String {
        switch self {
        case .user(let name): name
        case .group(let name): "group/\(name)"
        }
    }
}

extension ApprovalRequirement: CustomStringConvertible {
    package var description: String {
        var text = "the approval of \(count) of \(approvers.map(\.description).joined(separator: ", "))"
        if needsReason { text += ", a reason" }
        switch ticket {
        case .notNeeded: break
        case .any: text += ", a ticket"
        case .matching(let pattern): text += ", a ticket like \(pattern)"
        }
        return text
    }
}
