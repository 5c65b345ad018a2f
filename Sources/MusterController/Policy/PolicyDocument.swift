/// One policy, decoded and checked. [value]
///
/// The language is IAM's for identity-based policies, and what it does not know is refused when a policy is saved, never ignored:
/// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html
/// Ours in it: the operators `muster:TimeWindow` and `muster:NotTimeWindow`, the keys `muster:…`, and `RequireApproval`.
package struct PolicyDocument: Sendable, Equatable {
    package let id: String?
    package let statements: [Statement]

    /// White space does not count, as in IAM.
    package static let maximumCharacters = 6_144
    package static let maximumBytes = 65_536

    init(id: String? = nil, statements: [Statement]) {
        self.id = id
        self.statements = statements
    }

    /// `actions` are the names of all that can be asked for (`ssm:SendCommand`); an action that matches none of them is refused. Nil
    /// where a policy is read back from the store: what was right when it was saved stays in force.
    /// Time zones are read from the host when a policy is read, so that deciding needs nothing from outside.
    package init(json: [UInt8], actions: Set<String>? = nil, zones: TimeZoneFolder = .system) throws(PolicyError) {
        let decoder = PolicyDecoder(actions: actions, zones: zones)
        self = try decoder.decode(json)
    }

    /// Whether a statement allows only with approval. Of no use in the policy of a temporary credential, which gives nothing.
    package var requiresApproval: Bool { statements.contains { $0.approval != nil } }

    /// What is left of it for one action, in lower case.
    func concerning(_ action: String) -> PolicyDocument {
        PolicyDocument(id: id, statements: statements.filter { $0.concerns(action) })
    }

    /// Allow all of everything.
    static let everything = PolicyDocument(statements: [
        Statement(
            name: "1", effect: .allow, approval: nil, actions: .only([.everything]), resources: .only([.everything]), conditions: [])
    ])
}

extension PolicyDocument {
    package struct Statement: Sendable, Equatable {
        package enum Effect: String, Sendable, Codable {
            case allow = "Allow"
            case deny = "Deny"
        }

        /// `Action` and `NotAction`, `Resource` and `NotResource`.
        enum Scope<Item: Sendable & Equatable>: Sendable, Equatable {
            case only([Item])
            case except([Item])

            func covers(_ test: (Item) -> Bool) -> Bool {
                switch self {
                case .only(let items): items.contains(where: test)
                case .except(let items): !items.contains(where: test)
                }
            }
        }

        /// Its Sid, or its number counted from 1.
        package let name: String
        package let effect: Effect
        package let approval: ApprovalRequirement?
        /// In lower case.
        let actions: Scope<PolicyPattern>
        let resources: Scope<ResourcePattern>
        let conditions: [ConditionClause]

        func applies(to question: PolicyQuestion) -> Bool {
            concerns(question.action) && resourceMatches(question) && conditions.allSatisfy { $0.holds(for: question.keys) }
        }

        /// Hour and reason, in words, where it is these that a statement denies, or all that is missing for it to allow; nil for another one.
        func circumstances(_ question: PolicyQuestion) -> [String]? {
            guard concerns(question.action), resourceMatches(question) else { return nil }
            if effect == .deny {
                guard applies(to: question) else { return nil }
                return conditions.compactMap { $0.circumstance(for: question.keys) }
            }
            let missing = conditions.filter { !$0.holds(for: question.keys) }
            let words = missing.compactMap { $0.circumstance(for: question.keys) }
            return words.count == missing.count ? words : nil
        }

        /// The same, in words.
        func examine(_ question: PolicyQuestion) -> (matches: Bool, findings: [String]) {
            let request = question.request
            guard concerns(question.action) else { return (false, ["action \(request.action) does not match"]) }
            guard resourceMatches(question) else { return (false, ["action matches", "resource \(request.resource) does not match"]) }
            var findings = ["action matches", "resource matches"]
            for condition in conditions {
                findings.append(condition.finding(for: request.keys))
                guard condition.holds(for: request.keys) else { return (false, findings) }
            }
            return (true, findings)
        }

        /// - Parameter action: in lower case. An action has no variables: whether it matches depends on nothing else.
        func concerns(_ action: String) -> Bool {
            actions.covers { $0.matches(action) }
        }

        private func resourceMatches(_ question: PolicyQuestion) -> Bool {
            resources.covers { $0.matches(question.resource, of: question.service, keys: question.keys) }
        }

        /// What it looks at in a request besides action and resource, in IAM's spelling.
        var keysUsed: [String] {
            let inResources: [String] =
                switch resources {
                case .only(let patterns), .except(let patterns): patterns.flatMap(\.variables)
                }
            return inResources + conditions.flatMap(\.keysUsed)
        }
    }
}
