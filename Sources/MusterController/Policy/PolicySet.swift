/// A policy as a principal has it.
package struct AttachedPolicy: Sendable, Equatable {
    package let name: String
    /// "user alice", "group ops"
    package let holder: String
    package let document: PolicyDocument

    package init(name: String, holder: String, document: PolicyDocument) {
        self.name = name
        self.holder = holder
        self.document = document
    }

    /// What it forbids; nil if that is nothing.
    var denials: AttachedPolicy? {
        let denials = document.statements.filter { $0.effect == .deny }
        guard !denials.isEmpty else { return nil }
        return AttachedPolicy(name: name, holder: holder, document: PolicyDocument(id: document.id, statements: denials))
    }
}

/// All policies of a principal: the one place where anything is allowed. [value]
///
///     a statement that denies matches            explicit deny, whatever else there is
///     one that allows matches                    allowed, if every boundary allows it too
///     only ones with RequireApproval match       approval needed, within the same boundaries
///     none matches                               implicit deny
///
/// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html
package struct PolicySet: Sendable, Equatable {
    package let policies: [AttachedPolicy]
    package let boundary: [PolicyDocument]

    /// The policies in `boundary` are those of a temporary credential: every one has to allow as well, without approval.
    package init(_ policies: [AttachedPolicy], boundary: [PolicyDocument] = []) {
        self.policies = policies
        self.boundary = boundary
    }

    package static let administrator = PolicySet([
        AttachedPolicy(name: "administrator", holder: "", document: .everything)
    ])

    package func decide(_ request: AccessRequest) -> PolicyDecision {
        var ballot = Ballot()
        let question = PolicyQuestion(request)
        judge(in: &ballot) { statement, _ in statement.applies(to: question) }
        return ballot.decision(on: request)
    }

    /// The same decision, with a trace of every statement.
    package func explain(_ request: AccessRequest) -> PolicyDecision {
        var ballot = Ballot()
        var traces: [StatementTrace] = []
        let question = PolicyQuestion(request)
        judge(in: &ballot) { statement, reference in
            let examination = statement.examine(question)
            traces.append(
                StatementTrace(
                    reference: reference, effect: statement.effect, matches: examination.matches, findings: examination.findings))
            return examination.matches
        }
        return ballot.decision(on: request, trace: traces)
    }

    /// What is left for one action: of ten thousand requests each would find again that the other statements are about something else.
    package func concerning(_ action: String) -> PolicySet {
        let action = asciiLowercased(action)
        return PolicySet(
            policies.map { AttachedPolicy(name: $0.name, holder: $0.holder, document: $0.document.concerning(action)) }
                .filter { !$0.document.statements.isEmpty },
            // One of which nothing is left still allows nothing.
            boundary: boundary.map { $0.concerning(action) })
    }

    /// Keys of tags of the resource that any statement looks at, in lower case.
    package var resourceTags: Set<String> {
        let documents = policies.map(\.document) + boundary
        return Set(documents.flatMap(\.statements).flatMap(\.keysUsed).compactMap(ConditionKey.resourceTag))
    }

    /// One call on several resources. The first that is denied decides; an explicit deny before others.
    package func judge(_ requests: [AccessRequest]) -> AccessVerdict {
        var denied: PolicyDecision?
        var requirements: [ApprovalRequirement] = []
        var asked: PolicyDecision?
        for request in requests {
            var decision = decide(request)
            if denied == nil || decision.outcome == .explicitDeny { decision.unmet = unmet(decision) }
            switch decision.outcome {
            case .allowed: break
            case .explicitDeny: return .denied(decision)
            case .implicitDeny: denied = denied ?? decision
            case .approvalNeeded(let requirement):
                if !requirements.contains(requirement) { requirements.append(requirement) }
                asked = asked ?? decision
            }
        }
        if let denied { return .denied(denied) }
        if let asked { return .approvalNeeded(requirements, asked) }
        return .allowed
    }

    /// Why it is denied, if it would be allowed at another hour or for a reason. Conditions on tags are not spoken of: who fails at those is to learn
    /// nothing about the node.
    private func unmet(_ decision: PolicyDecision) -> String? {
        let effect: PolicyDocument.Statement.Effect
        switch decision.outcome {
        case .allowed, .approvalNeeded: return nil
        case .explicitDeny: effect = .deny
        case .implicitDeny: effect = .allow
        }
        let question = PolicyQuestion(decision.request)
        for policy in policies {
            for statement in policy.document.statements where statement.effect == effect {
                let reference = StatementReference(holder: policy.holder, policy: policy.name, statement: statement.name)
                // Of those that deny, the one that is named.
                if effect == .deny, reference != decision.statement { continue }
                guard let words = statement.circumstances(question), !words.isEmpty else { continue }
                return words.joined(separator: ", and ")
            }
        }
        return nil
    }

    /// What the statements that match have said so far.
    private struct Ballot {
        var denied: StatementReference?
        var allowed: StatementReference?
        var approval: (requirement: ApprovalRequirement, statement: StatementReference)?
        var isOutsideBoundary = false

        mutating func count(_ statement: PolicyDocument.Statement, _ reference: StatementReference) {
            switch (statement.effect, statement.approval) {
            case (.deny, _): denied = denied ?? reference
            case (.allow, nil): allowed = allowed ?? reference
            case (.allow, let requirement?):
                if approval.map({ requirement.isPreferred(to: $0.requirement) }) ?? true { approval = (requirement, reference) }
            }
        }

        func decision(on request: AccessRequest, trace: [StatementTrace] = []) -> PolicyDecision {
            let (outcome, statement): (PolicyDecision.Outcome, StatementReference?) =
                if let denied {
                    (.explicitDeny, denied)
                } else if allowed == nil && approval == nil || isOutsideBoundary {
                    (.implicitDeny, nil)
                } else if let allowed {
                    (.allowed, allowed)
                } else if let approval {
                    (.approvalNeeded(approval.requirement), approval.statement)
                } else {
                    (.implicitDeny, nil)
                }
            let isOutside = outcome == .implicitDeny && isOutsideBoundary && (allowed != nil || approval != nil)
            return PolicyDecision(request: request, outcome: outcome, statement: statement, isOutsideBoundary: isOutside, trace: trace)
        }
    }

    private func judge(in ballot: inout Ballot, _ applies: (PolicyDocument.Statement, StatementReference) -> Bool) {
        for policy in policies {
            for statement in policy.document.statements {
                let reference = StatementReference(holder: policy.holder, policy: policy.name, statement: statement.name)
                if applies(statement, reference) { ballot.count(statement, reference) }
            }
        }
        for (index, document) in boundary.enumerated() {
            var own = Ballot()
            for statement in document.statements {
                let reference = StatementReference(holder: "session", policy: "\(index + 1)", statement: statement.name)
                if applies(statement, reference) { own.count(statement, reference) }
            }
            ballot.denied = ballot.denied ?? own.denied
            if own.allowed == nil { ballot.isOutsideBoundary = true }
        }
    }
}
