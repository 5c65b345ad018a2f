package import MusterWire

/// Whose policies count, as an access key or temporary credentials prove it. [value]
///
/// Users and groups have ids besides their names: who is made anew under an old name inherits nothing that was kept for the former one.
package struct Principal: Sendable, Hashable, Codable {
    /// A group whose policies alone can allow something for the time of the credentials. What forbids something to the user goes on to.
    package struct Role: Sendable, Hashable, Codable {
        package let group: String
        package let groupID: String
        /// RoleSessionName.
        package let session: String

        package init(group: String, groupID: String, session: String) {
            self.group = group
            self.groupID = groupID
            self.session = session
        }
    }

    package let user: String
    package let userID: String
    package let role: Role?
    /// The user's own key that all this goes back to. Without it nothing of this is worth anything.
    package let accessKeyID: String
    /// When temporary credentials were issued.
    package let issuedAt: Timestamp?
    /// Policies given with AssumeRole, as JSON: each has to allow as well.
    package let boundary: [String]

    package init(user: String, userID: String, role: Role? = nil, accessKeyID: String, issuedAt: Timestamp? = nil, boundary: [String] = [])
    {
        self.user = user
        self.userID = userID
        self.role = role
        self.accessKeyID = accessKeyID
        self.issuedAt = issuedAt
        self.boundary = boundary
    }

    /// As it stands in answers and in the audit trail.
    package func arn(account: String) -> String {
        guard let role else { return CallerName.user(user).arn(account: account) }
        return "arn:aws:sts::\(account):assumed-role/\(role.group)/\(role.session)"
    }

    /// What `aws:PrincipalArn` is compared with: the role's own, without the session's name.
    package func policyARN(account: String) -> String {
        guard let role else { return CallerName.user(user).arn(account: account) }
        return CallerName.role(role.group).arn(account: account)
    }

    /// UserId of GetCallerIdentity and `aws:userid`.
    package var id: String {
        role.map { "\(CallerID.role(ofGroup: $0.groupID)):\($0.session)" } ?? userID
    }
}
