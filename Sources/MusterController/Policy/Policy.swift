/// Who may do what. [value]
///
/// Every operation is registered with a permission (`ssm:SendCommand`), and the operation table asks the policy before
/// the handler runs. The words are those of IAM policies, so that policies can be moved over:
/// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html
package struct Policy: Sendable, Equatable {
    package enum Effect: String, Sendable {
        case allow = "Allow"
        case deny = "Deny"
    }

    package struct Statement: Sendable, Equatable {
        package let effect: Effect
        /// `*`, or `service:Name`, or a beginning of one followed by `*`.
        package let actions: [String]

        package init(_ effect: Effect, actions: [String]) {
            self.effect = effect
            self.actions = actions
        }
    }

    package enum Decision: Sendable, Equatable {
        case allowed
        /// A statement forbids it. No other statement can change that.
        case forbidden
        /// No statement allows it.
        case notAllowed
    }

    package let statements: [Statement]

    package init(statements: [Statement]) {
        self.statements = statements
    }

    /// Every operator key is an administrator's for now.
    package static let administrator = Policy(statements: [Statement(.allow, actions: ["*"])])

    package func decide(_ permission: String) -> Decision {
        var decision = Decision.notAllowed
        for statement in statements where statement.actions.contains(where: { Self.covers($0, permission) }) {
            if statement.effect == .deny { return .forbidden }
            decision = .allowed
        }
        return decision
    }

    package func allows(_ permission: String) -> Bool {
        decide(permission) == .allowed
    }

    /// Action names are compared without regard to case, as IAM does.
    private static func covers(_ pattern: String, _ permission: String) -> Bool {
        let pattern = pattern.lowercased()
        let permission = permission.lowercased()
        if pattern.hasSuffix("*") { return permission.hasPrefix(pattern.dropLast()) }
        return pattern == permission
    }
}
