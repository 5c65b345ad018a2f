/// An access request as operators see it, at `GET /v1/approvals/ID`; in lists without the parameters.
package struct Approval: Codable, Sendable, Equatable {
    package static let listPath = "/v1/approvals"
    package static let showPath = "/v1/approvals/show/"
    package static let grantPath = "/v1/approvals/grant/"
    package static let refusePath = "/v1/approvals/refuse/"
    package static let revokePath = "/v1/approvals/revoke/"

    /// Who is asked, and how many of them still have to agree.
    package struct Requirement: Codable, Sendable, Equatable {
        package var approvers: [String]
        package var count: Int
        package var missing: Int

        package init(approvers: [String], count: Int, missing: Int) {
            self.approvers = approvers
            self.count = count
            self.missing = missing
        }

        enum CodingKeys: String, CodingKey {
            case approvers = "Approvers"
            case count = "Count"
            case missing = "Missing"
        }
    }

    package var id: String
    package var status: String
    package var requester: String
    package var action: String
    package var document: String
    package var nodes: [String]
    package var parameters: [String: [String]]?
    package var reason: String
    package var requirements: [Requirement]
    /// Who has agreed.
    package var grantedBy: [String]
    package var minutes: Int
    package var endsSessions: Bool
    package var requestedAt: Timestamp
    /// Of what waits or is granted.
    package var endsAt: Timestamp?
    /// What has become of it, in a sentence.
    package var words: String

    package init(
        id: String, status: String, requester: String, action: String, document: String, nodes: [String],
        parameters: [String: [String]]?, reason: String, requirements: [Requirement], grantedBy: [String], minutes: Int,
        endsSessions: Bool, requestedAt: Timestamp, endsAt: Timestamp?, words: String
    ) {
        self.id = id
        self.status = status
        self.requester = requester
        self.action = action
        self.document = document
        self.nodes = nodes
        self.parameters = parameters
        self.reason = reason
        self.requirements = requirements
        self.grantedBy = grantedBy
        self.minutes = minutes
        self.endsSessions = endsSessions
        self.requestedAt = requestedAt
        self.endsAt = endsAt
        self.words = words
    }

    enum CodingKeys: String, CodingKey {
        case id = "AccessRequestId"
        case status = "Status"
        case requester = "Requester"
        case action = "Action"
        case document = "Document"
        case nodes = "Nodes"
        case parameters = "Parameters"
        case reason = "Reason"
        case requirements = "Requirements"
        case grantedBy = "GrantedBy"
        case minutes = "Minutes"
        case endsSessions = "EndsSessions"
        case requestedAt = "RequestedAt"
        case endsAt = "EndsAt"
        case words = "Words"
    }
}

package struct ApprovalList: Codable, Sendable, Equatable {
    package var approvals: [Approval]

    package init(approvals: [Approval]) {
        self.approvals = approvals
    }

    enum CodingKeys: String, CodingKey {
        case approvals = "AccessRequests"
    }
}

/// The body of a decision.
package struct ApprovalDecision: Codable, Sendable, Equatable {
    /// Of a refusal.
    package var reason: String?
    /// Of a grant: less than the policy allows.
    package var minutes: Int?

    package init(reason: String? = nil, minutes: Int? = nil) {
        self.reason = reason
        self.minutes = minutes
    }

    enum CodingKeys: String, CodingKey {
        case reason = "Reason"
        case minutes = "Minutes"
    }
}
