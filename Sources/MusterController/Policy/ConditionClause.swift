internal import MusterWire

/// One line of a `Condition`: operator, key, values. [value]
///
/// Values are alternatives; the negated operators hold if none of them matches. A key that the request does not have matches nothing:
/// so the plain operators do not hold, the negated ones do, and with `IfExists` all do. `ForAllValues:` holds for an absent key,
/// `ForAnyValue:` does not.
/// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html#Conditions_IfExists
/// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-single-vs-multi-valued-context-keys.html
struct ConditionClause: Sendable, Equatable {
    enum Value: Sendable, Equatable {
        case text(PolicyPattern)
        case number(Double)
        case date(Timestamp)
        case flag(Bool)
        case addresses(AddressRange)
        case arn(ResourcePattern)
        case window(TimeWindow)
    }

    let comparison: ConditionOperator
    let key: ConditionKey
    let values: [Value]
    /// As they were written, for explanations.
    let written: [String]

    func holds(for keys: ConditionKeys) -> Bool {
        let given = keys[key.name] ?? []
        if comparison.base == .null { return values.contains(.flag(given.isEmpty)) }
        if given.isEmpty {
            if comparison.ifExists { return true }
            return switch comparison.quantifier {
            case .all: true
            case .any: false
            case nil: comparison.isNegated
            }
        }
        func passes(_ value: String) -> Bool { matches(value, keys) != comparison.isNegated }
        return switch comparison.quantifier {
        case .all: given.allSatisfy(passes)
        case .any: given.contains(where: passes)
        case nil: comparison.isNegated ? given.allSatisfy(passes) : given.contains(where: passes)
        }
    }

    /// Its key, and those of variables in its values.
    var keysUsed: [String] {
        [key.name]
            + values.flatMap { value -> [String] in
                switch value {
                case .text(let pattern): pattern.variables
                case .arn(let pattern): pattern.variables
                case .number, .date, .flag, .addresses, .window: []
                }
            }
    }

    /// "condition StringEquals aws:ResourceTag/env: is prod, wanted staging"
    func finding(for keys: ConditionKeys) -> String {
        let given = keys[key.name].map { "is \($0.map { String($0.prefix(200)) }.joined(separator: ", "))" } ?? "is not in the request"
        let wanted = written.joined(separator: " or ")
        let verdict = holds(for: keys) ? "holds" : comparison.isNegated ? "may not match \(wanted)" : "wanted \(wanted)"
        return "condition \(comparison) \(key.name): \(given), \(verdict)"
    }

    /// What is the case, if the clause is about the hour or the reason.
    func circumstance(for keys: ConditionKeys) -> String? {
        let given = keys[key.name] ?? []
        let wanted = written.joined(separator: " or ")
        switch (comparison.base, key.name) {
        case (.timeWindow, _), (.notTimeWindow, _):
            return given.contains { matches($0, keys) } ? "it is within the hours \(wanted)" : "it is outside of the hours \(wanted)"
        case (_, "muster:Reason") where given.isEmpty: return "no reason was given: --reason of a session, --comment of a command"
        case (.null, "muster:Reason"): return "a reason was given"
        case (_, "muster:Reason"): return "the reason does not fit: \(comparison) \(wanted)"
        default: return nil
        }
    }

    private func matches(_ given: String, _ keys: ConditionKeys) -> Bool {
        switch comparison.base {
        case .stringEquals, .stringNotEquals, .stringLike, .stringNotLike:
            values.contains { if case .text(let pattern) = $0 { pattern.matches(given, keys: keys) } else { false } }
        case .stringEqualsIgnoreCase, .stringNotEqualsIgnoreCase:
            values.contains {
                guard case .text(let pattern) = $0, let wanted = pattern.plainText(keys: keys) else { return false }
                return wanted.lowercased().utf8.elementsEqual(given.lowercased().utf8)
            }
        case .numericEquals, .numericNotEquals: compares(Self.number(given), ==)
        case .numericLessThan: compares(Self.number(given), <)
        case .numericLessThanEquals: compares(Self.number(given), <=)
        case .numericGreaterThan: compares(Self.number(given), >)
        case .numericGreaterThanEquals: compares(Self.number(given), >=)
        case .dateEquals, .dateNotEquals: compares(Self.date(given), ==)
        case .dateLessThan: compares(Self.date(given), <)
        case .dateLessThanEquals: compares(Self.date(given), <=)
        case .dateGreaterThan: compares(Self.date(given), >)
        case .dateGreaterThanEquals: compares(Self.date(given), >=)
        case .bool: Self.flag(given).map { values.contains(.flag($0)) } ?? false
        case .ipAddress, .notIPAddress:
            AddressRange(given).map { address in
                values.contains { if case .addresses(let range) = $0 { range.contains(address) } else { false } }
            } ?? false
        case .arnEquals, .arnNotEquals, .arnLike, .arnNotLike:
            values.contains { if case .arn(let pattern) = $0 { pattern.matches(ResourceName(given), keys: keys) } else { false } }
        case .timeWindow, .notTimeWindow:
            Self.date(given).map { time in
                values.contains { if case .window(let window) = $0 { window.contains(time) } else { false } }
            } ?? false
        case .null: false
        }
    }

    private func compares(_ given: Double?, _ test: (Double, Double) -> Bool) -> Bool {
        guard let given else { return false }
        return values.contains { if case .number(let wanted) = $0 { test(given, wanted) } else { false } }
    }

    private func compares(_ given: Timestamp?, _ test: (Timestamp, Timestamp) -> Bool) -> Bool {
        guard let given else { return false }
        return values.contains { if case .date(let wanted) = $0 { test(given, wanted) } else { false } }
    }
}

extension ConditionClause {
    /// ISO 8601, or seconds since 1970.
    static func date(_ text: String) -> Timestamp? {
        if let time = Timestamp(iso8601: text) { return time }
        guard let seconds = number(text), seconds.magnitude <= 253_402_300_799 else { return nil }
        return Timestamp(milliseconds: Int64((seconds * 1000).rounded()))
    }

    /// Digits, a sign, a point: no infinities, no hexadecimals.
    static func number(_ text: String) -> Double? {
        guard text.utf8.allSatisfy({ (0x30...0x39).contains($0) || [0x2B, 0x2D, 0x2E].contains($0) }) else { return nil }
        return Double(text)
    }

    static func flag(_ text: String) -> Bool? {
        switch asciiLowercased(text) {
        case "true": true
        case "false": false
        default: nil
        }
    }
}
