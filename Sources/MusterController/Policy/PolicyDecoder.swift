internal import MusterConfiguration
internal import MusterDocuments

/// Turns JSON into a `PolicyDocument` that is right in every respect, or says what is wrong with it and where.
struct PolicyDecoder {
    let actions: Set<String>?
    let zones: TimeZoneFolder

    private static let versions = ["2012-10-17", "2008-10-17"]
    private static let maximumStatements = 200
    private static let approvable: Set<String> = ["ssm:startsession", "ssm:sendcommand"]

    func decode(_ json: [UInt8]) throws(PolicyError) -> PolicyDocument {
        guard json.count <= PolicyDocument.maximumBytes else {
            throw PolicyError("The policy is \(json.count) bytes; it may be \(PolicyDocument.maximumBytes).")
        }
        let characters = json.count { ![0x20, 0x0A, 0x0D, 0x09].contains($0) && $0 & 0xC0 != 0x80 }
        guard characters <= PolicyDocument.maximumCharacters else {
            throw PolicyError(
                "The policy has \(characters) characters without white space; the most is \(PolicyDocument.maximumCharacters). Split it."
            )
        }
        let value: DocumentValue
        do {
            value = try DocumentValue(json: json)
        } catch {
            throw PolicyError(error.reason)
        }
        guard let members = value.object else { throw PolicyError("A policy is a JSON object, and this is \(value.kind).") }
        try refuseUnknown(members, besides: ["Version", "Id", "Statement"], at: "")
        // IAM's default, and its difference: no variables.
        let version = try string(members["Version"], at: "Version") ?? "2008-10-17"
        guard Self.versions.contains(version) else {
            throw PolicyError(at: "Version", "Must be \"2012-10-17\", or \"2008-10-17\" without variables.")
        }
        guard let content = members["Statement"] else { throw PolicyError(at: "Statement", "Missing; a policy is its statements.") }
        let list = content.array ?? [content]
        guard !list.isEmpty else { throw PolicyError(at: "Statement", "The list is empty; a policy is its statements.") }
        guard list.count <= Self.maximumStatements else {
            throw PolicyError(at: "Statement", "There are \(list.count) statements; there may be \(Self.maximumStatements).")
        }
        var statements: [PolicyDocument.Statement] = []
        var names: Set<String> = []
        for (index, item) in list.enumerated() {
            let path = content.array == nil ? "Statement" : "Statement[\(index)]"
            let statement = try self.statement(item, number: index + 1, hasVariables: version == Self.versions[0], at: path)
            guard names.insert(statement.name).inserted else {
                throw PolicyError(at: "\(path).Sid", "Another statement is called '\(statement.name)' already.")
            }
            statements.append(statement)
        }
        return PolicyDocument(id: try string(members["Id"], at: "Id"), statements: statements)
    }

    private func statement(
        _ value: DocumentValue, number: Int, hasVariables: Bool, at path: String
    ) throws(PolicyError) -> PolicyDocument.Statement {
        guard let members = value.object else { throw PolicyError(at: path, "Must be an object, and is \(value.kind).") }
        for name in ["Principal", "NotPrincipal"] where members[name] != nil {
            throw PolicyError(
                at: "\(path).\(name)", "Whom a policy is for is decided by attaching it to a user or a group; remove this member.")
        }
        try refuseUnknown(
            members,
            besides: ["Sid", "Effect", "Action", "NotAction", "Resource", "NotResource", "Condition", "RequireApproval"], at: path)
        var name = try string(members["Sid"], at: "\(path).Sid") ?? ""
        guard name.utf8.count <= 64, name.utf8.allSatisfy({ (0x30...0x39).contains($0) || (0x61...0x7A).contains($0 | 0x20) }) else {
            throw PolicyError(at: "\(path).Sid", "Must be at most 64 letters and digits.")
        }
        if name.isEmpty { name = "\(number)" }
        guard let effect = try string(members["Effect"], at: "\(path).Effect").flatMap(PolicyDocument.Statement.Effect.init(rawValue:))
        else {
            throw PolicyError(at: "\(path).Effect", "Must be \"Allow\" or \"Deny\".")
        }
        let actions = try scope(members, "Action", at: path, self.action)
        let resources = try scope(members, "Resource", at: path) { (text, path) throws(PolicyError) in
            try ResourcePattern(text, variables: hasVariables, at: path)
        }
        var conditions: [ConditionClause] = []
        if let given = members["Condition"] {
            conditions = try self.conditions(given, hasVariables: hasVariables, at: "\(path).Condition")
        }
        var approval: ApprovalRequirement?
        if let given = members["RequireApproval"] {
            guard effect == .allow else {
                throw PolicyError(at: "\(path).RequireApproval", "A denial cannot be approved; move this to a statement that allows.")
            }
            // What else there is has no grant that could be bound to it.
            let named = members["Action"].flatMap { $0.strings ?? $0.string.map { [$0] } } ?? []
            guard !named.isEmpty, named.allSatisfy({ Self.approvable.contains(asciiLowercased($0)) }) else {
                throw PolicyError(
                    at: "\(path).RequireApproval", "Approvals are for ssm:StartSession and ssm:SendCommand: name one or both as Action.")
            }
            approval = try ApprovalRequirement(given, at: "\(path).RequireApproval")
        }
        return PolicyDocument.Statement(
            name: name, effect: effect, approval: approval, actions: actions, resources: resources, conditions: conditions)
    }

    /// A member, or its opposite with `Not` before; one of them, not both.
    private func scope<Item>(
        _ members: [String: DocumentValue], _ name: String, at path: String, _ item: (String, String) throws(PolicyError) -> Item
    ) throws(PolicyError) -> PolicyDocument.Statement.Scope<Item> {
        let opposite = "Not\(name)"
        switch (members[name], members[opposite]) {
        case (let value?, nil): return .only(try list(value, at: "\(path).\(name)", item))
        case (nil, let value?): return .except(try list(value, at: "\(path).\(opposite)", item))
        case (nil, nil): throw PolicyError(at: path, "\(name) is missing (or \(opposite)).")
        case (_?, _?): throw PolicyError(at: path, "\(name) and \(opposite) exclude each other.")
        }
    }

    private func list<Item>(
        _ value: DocumentValue, at path: String, _ item: (String, String) throws(PolicyError) -> Item
    ) throws(PolicyError) -> [Item] {
        if let text = value.string { return [try item(text, path)] }
        guard let texts = value.strings, !texts.isEmpty else { throw PolicyError(at: path, "Must be a string or a list of strings.") }
        var items: [Item] = []
        for (index, text) in texts.enumerated() { items.append(try item(text, "\(path)[\(index)]")) }
        return items
    }

    private func action(_ text: String, at path: String) throws(PolicyError) -> PolicyPattern {
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        guard text == "*" || parts.count == 2 && parts.allSatisfy({ !$0.isEmpty }),
            text.utf8.allSatisfy({ $0.isLetterOrDigit || [0x3A, 0x2A, 0x3F, 0x2D].contains($0) })
        else {
            throw PolicyError(at: path, "'\(text.prefix(100))' is no action. Write service:Name, as ssm:StartSession, ssm:Describe* or *.")
        }
        let pattern = try PolicyPattern(asciiLowercased(text), PolicyPattern.Reading(), at: path)
        if let actions, !actions.contains(where: { pattern.matches(asciiLowercased($0)) }) {
            let nearest = nearestName(to: text, among: actions)
            throw PolicyError(
                at: path, "'\(text.prefix(100))' is nothing that is served here" + (nearest.map { "; did you mean '\($0)'?" } ?? "."))
        }
        return pattern
    }

    // MARK: Conditions

    private func conditions(_ value: DocumentValue, hasVariables: Bool, at path: String) throws(PolicyError) -> [ConditionClause] {
        guard let operators = value.object else { throw PolicyError(at: path, "Must be an object, and is \(value.kind).") }
        var clauses: [ConditionClause] = []
        for (name, block) in operators.sorted(by: { $0.key < $1.key }) {
            let comparison = try ConditionOperator(name, at: path)
            let path = "\(path).\(name)"
            guard let keys = block.object, !keys.isEmpty else { throw PolicyError(at: path, "Must be an object with at least one key.") }
            for (keyName, given) in keys.sorted(by: { $0.key < $1.key }) {
                let key = try ConditionKey.named(keyName, at: path)
                let path = "\(path).\(keyName.prefix(160))"
                try check(comparison, key, at: path)
                let texts = try texts(given, at: path)
                var values: [ConditionClause.Value] = []
                for (index, text) in texts.enumerated() {
                    values.append(
                        try conditionValue(
                            text, for: comparison, hasVariables: hasVariables, at: given.array == nil ? path : "\(path)[\(index)]"))
                }
                clauses.append(ConditionClause(comparison: comparison, key: key, values: values, written: texts))
            }
        }
        return clauses
    }

    private func check(_ comparison: ConditionOperator, _ key: ConditionKey, at path: String) throws(PolicyError) {
        guard comparison.accepts(key) else {
            let fitting = ConditionOperator.Base.allCases.filter {
                $0 != .null && (try? ConditionOperator($0.rawValue, at: ""))?.accepts(key) == true
            }
            throw PolicyError(
                at: path, "\(comparison.base.rawValue) cannot compare \(key.name); use \(fitting.map(\.rawValue).joined(separator: ", ")).")
        }
        guard !key.isMultivalued || comparison.quantifier != nil || comparison.base == .null else {
            throw PolicyError(
                at: path,
                "\(key.name) can have several values: put ForAnyValue: or ForAllValues: before \(comparison.base.rawValue)."
            )
        }
    }

    /// Numbers and booleans are often written as such.
    private func texts(_ value: DocumentValue, at path: String) throws(PolicyError) -> [String] {
        let list = value.array ?? [value]
        guard !list.isEmpty else { throw PolicyError(at: path, "The list of values is empty, so this would never hold.") }
        var texts: [String] = []
        for item in list {
            switch item {
            case .string(let text): texts.append(text)
            case .bool(let flag): texts.append(flag ? "true" : "false")
            case .integer(let number): texts.append("\(number)")
            case .number(let number): texts.append("\(number)")
            default: throw PolicyError(at: path, "Must be a string, a number, a boolean or a list of them, and has \(item.kind).")
            }
        }
        return texts
    }

    private func conditionValue(
        _ text: String, for comparison: ConditionOperator, hasVariables: Bool, at path: String
    ) throws(PolicyError) -> ConditionClause.Value {
        func needed<Value>(_ value: Value?, _ what: String) throws(PolicyError) -> Value {
            guard let value else {
                throw PolicyError(
                    at: path, "'\(text.prefix(100))' is not \(what)" + (text.contains("${") ? "; variables are for strings and ARNs." : ".")
                )
            }
            return value
        }
        switch comparison.base {
        case .stringEquals, .stringNotEquals, .stringEqualsIgnoreCase, .stringNotEqualsIgnoreCase:
            return .text(try PolicyPattern(text, PolicyPattern.Reading(wildcards: false, variables: hasVariables), at: path))
        case .stringLike, .stringNotLike: return .text(try PolicyPattern(text, PolicyPattern.Reading(variables: hasVariables), at: path))
        case .numericEquals, .numericNotEquals, .numericLessThan, .numericLessThanEquals, .numericGreaterThan, .numericGreaterThanEquals:
            return .number(try needed(ConditionClause.number(text), "a number"))
        case .dateEquals, .dateNotEquals, .dateLessThan, .dateLessThanEquals, .dateGreaterThan, .dateGreaterThanEquals:
            return .date(try needed(ConditionClause.date(text), "a date like 2026-11-28T09:00:00Z, nor seconds since 1970"))
        case .bool, .null: return .flag(try needed(ConditionClause.flag(text), "true or false"))
        case .ipAddress, .notIPAddress: return .addresses(try needed(AddressRange(text), "an address or a network like 203.0.113.0/24"))
        case .arnEquals, .arnNotEquals, .arnLike, .arnNotLike:
            return .arn(try ResourcePattern(text, variables: hasVariables, at: path))
        case .timeWindow, .notTimeWindow: return .window(try TimeWindow(text, zones: zones, at: path))
        }
    }
}

extension PolicyDecoder {
    private func string(_ value: DocumentValue?, at path: String) throws(PolicyError) -> String? {
        guard let value else { return nil }
        guard let text = value.string else { throw PolicyError(at: path, "Must be a string, and is \(value.kind).") }
        return text
    }

    private func refuseUnknown(_ members: [String: DocumentValue], besides known: [String], at path: String) throws(PolicyError) {
        try refuseUnknownMembers(members, besides: known, at: path)
    }
}

func refuseUnknownMembers(_ members: [String: DocumentValue], besides known: [String], at path: String) throws(PolicyError) {
    for name in members.keys.sorted() where !known.contains(name) {
        throw PolicyError(
            at: path,
            "There is no member '\(name.prefix(100))'"
                + (nearestName(to: name, among: known).map { "; did you mean '\($0)'?" } ?? "; known are \(known.joined(separator: ", ")).")
        )
    }
}

extension UInt8 {
    fileprivate var isLetterOrDigit: Bool { (0x30...0x39).contains(self) || (0x61...0x7A).contains(self | 0x20) }
}
