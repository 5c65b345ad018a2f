/// Why a text cannot be a policy.
package struct PolicyError: Error, Sendable, Hashable, CustomStringConvertible {
    /// Where in the policy, for example `Statement[0].Condition.StringEquals`; empty for the whole.
    package let path: String
    package let reason: String

    package init(at path: String = "", _ reason: String) {
        self.path = path
        self.reason = reason
    }

    package var description: String { path.isEmpty ? reason : "\(path): \(reason)" }

    /// The IAM error that an operator sees for this.
    package static let code = "MalformedPolicyDocument"
}
