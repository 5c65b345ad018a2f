/// A question to the policies that changes nothing: `POST /v1/policies/simulate`.
package struct SimulationOrder: Codable, Sendable, Equatable {
    package static let path = "/v1/policies/simulate"

    /// Whose policies; or the text of one that nobody has.
    package var user: String?
    /// A group of the user, who asks as its role.
    package var role: String?
    package var policy: String?
    package var action: String
    package var resource: String
    /// Keys of conditions, in place of what the controller would fill in.
    package var context: [String: [String]]

    package init(user: String?, role: String? = nil, policy: String?, action: String, resource: String, context: [String: [String]]) {
        self.user = user
        self.role = role
        self.policy = policy
        self.action = action
        self.resource = resource
        self.context = context
    }

    enum CodingKeys: String, CodingKey {
        case user = "User"
        case role = "Role"
        case policy = "Policy"
        case action = "Action"
        case resource = "Resource"
        case context = "Context"
    }
}

package struct SimulationAnswer: Codable, Sendable, Equatable {
    /// allowed, explicitDeny, implicitDeny or approvalNeeded.
    package var decision: String
    package var reason: String
    /// Every statement, and what became of it.
    package var statements: [String]

    package init(decision: String, reason: String, statements: [String]) {
        self.decision = decision
        self.reason = reason
        self.statements = statements
    }

    enum CodingKeys: String, CodingKey {
        case decision = "Decision"
        case reason = "Reason"
        case statements = "Statements"
    }
}
