/// What the policies say to one request, and why. [value]
package struct PolicyDecision: Sendable, Equatable {
    package enum Outcome: Sendable, Equatable {
        case allowed
        /// A statement forbids it. No other statement can change that.
        case explicitDeny
        /// No statement allows it.
        case implicitDeny
        /// Allowed as soon as others have agreed.
        case approvalNeeded(ApprovalRequirement)
    }

    package let request: AccessRequest
    package let outcome: Outcome
    /// What decided; nil if nothing allows it.
    package let statement: StatementReference?
    /// Nothing in the policies of a temporary credential allows it, although the caller's own do.
    package let isOutsideBoundary: Bool
    /// Every statement and what became of it. Filled by `PolicySet.explain` only: deciding for ten thousand nodes must not write a book.
    package let trace: [StatementTrace]
    /// What the caller can do something about: the hour, the reason.
    package var unmet: String?

    package var isAllowed: Bool { outcome == .allowed }

    /// The clause behind "… is not authorized to perform: A on resource: R", in IAM's words.
    package var reason: String {
        switch outcome {
        case .allowed: statement.map { "allowed by \($0)" } ?? "allowed"
        case .explicitDeny:
            "with an explicit deny in an identity-based policy" + (statement.map { ": \($0)" } ?? "") + (unmet.map { " (\($0))" } ?? "")
        case .implicitDeny:
            "because no \(isOutsideBoundary ? "session" : "identity-based") policy allows the \(request.action) action"
                + (unmet.map { " (\($0))" } ?? "")
        case .approvalNeeded(let requirement): "because it needs \(requirement)" + (statement.map { " (\($0))" } ?? "")
        }
    }
}

/// Which statement: "policy office-hours (group ops), statement NoWeekends".
package struct StatementReference: Sendable, Hashable, Codable, CustomStringConvertible {
    /// "user alice", "group ops"
    package let holder: String
    package let policy: String
    /// Its Sid, or its number counted from 1.
    package let statement: String

    package var description: String {
        "policy \(policy)" + (holder.isEmpty ? "" : " (\(holder))") + ", statement \(statement)"
    }
}

/// One statement before one request.
package struct StatementTrace: Sendable, Hashable, Codable, CustomStringConvertible {
    package let reference: StatementReference
    package let effect: PolicyDocument.Statement.Effect
    package let matches: Bool
    /// Each part in the order of the check, up to the first that does not match: "action matches", "condition StringEquals
    /// aws:ResourceTag/env: is prod, wanted staging".
    package let findings: [String]

    package var description: String {
        "\(reference): \(effect.rawValue) \(matches ? "applies" : "does not apply"): \(findings.joined(separator: ", "))"
    }
}

/// What the policies say to a call on several resources. All have to be allowed.
package enum AccessVerdict: Sendable, Equatable {
    case allowed
    case denied(PolicyDecision)
    /// All are allowed, some only with approval: every requirement has to be met. The first decision that needs one says why.
    case approvalNeeded([ApprovalRequirement], PolicyDecision)
}
