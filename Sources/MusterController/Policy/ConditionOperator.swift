internal import MusterConfiguration

/// `ForAnyValue:StringLikeIfExists` and the like. [value]
///
/// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html
struct ConditionOperator: Sendable, Hashable {
    enum Base: String, Sendable, CaseIterable {
        case stringEquals = "StringEquals"
        case stringNotEquals = "StringNotEquals"
        case stringEqualsIgnoreCase = "StringEqualsIgnoreCase"
        case stringNotEqualsIgnoreCase = "StringNotEqualsIgnoreCase"
        case stringLike = "StringLike"
        case stringNotLike = "StringNotLike"
        case numericEquals = "NumericEquals"
        case numericNotEquals = "NumericNotEquals"
        case numericLessThan = "NumericLessThan"
        case numericLessThanEquals = "NumericLessThanEquals"
        case numericGreaterThan = "NumericGreaterThan"
        case numericGreaterThanEquals = "NumericGreaterThanEquals"
        case dateEquals = "DateEquals"
        case dateNotEquals = "DateNotEquals"
        case dateLessThan = "DateLessThan"
        case dateLessThanEquals = "DateLessThanEquals"
        case dateGreaterThan = "DateGreaterThan"
        case dateGreaterThanEquals = "DateGreaterThanEquals"
        case bool = "Bool"
        case ipAddress = "IpAddress"
        case notIPAddress = "NotIpAddress"
        case arnEquals = "ArnEquals"
        case arnNotEquals = "ArnNotEquals"
        case arnLike = "ArnLike"
        case arnNotLike = "ArnNotLike"
        case null = "Null"
        case timeWindow = "muster:TimeWindow"
        case notTimeWindow = "muster:NotTimeWindow"
    }

    /// For keys with several values.
    enum Quantifier: String, Sendable, CaseIterable {
        case any = "ForAnyValue:"
        case all = "ForAllValues:"
    }

    let base: Base
    let quantifier: Quantifier?
    let ifExists: Bool

    private static let suffix = "IfExists"

    init(_ name: String, at path: String) throws(PolicyError) {
        var rest = Substring(name)
        let quantifier = Quantifier.allCases.first { rest.hasPrefix($0.rawValue) }
        rest = rest.dropFirst(quantifier?.rawValue.count ?? 0)
        let ifExists = rest.hasSuffix(Self.suffix)
        if ifExists { rest = rest.dropLast(Self.suffix.count) }
        guard let base = Base(rawValue: String(rest)) else {
            let nearest = nearestName(to: String(rest), among: Base.allCases.map(\.rawValue))
            let suggestion = nearest.map { (quantifier?.rawValue ?? "") + $0 + (ifExists ? Self.suffix : "") }
            throw PolicyError(
                at: path,
                "There is no operator '\(name.prefix(100))'"
                    + (suggestion.map { "; did you mean '\($0)'?" }
                        ?? "; known are \(Base.allCases.map(\.rawValue).joined(separator: ", ")), "
                        + "with IfExists behind or ForAnyValue: or ForAllValues: before."))
        }
        guard base != .null || quantifier == nil && !ifExists else {
            throw PolicyError(
                at: path, "Null asks whether a key exists at all; it takes no \(ifExists ? Self.suffix : "ForAnyValue: or ForAllValues:").")
        }
        self.base = base
        self.quantifier = quantifier
        self.ifExists = ifExists
    }

    /// Holds if no value matches.
    var isNegated: Bool {
        switch base {
        case .stringNotEquals, .stringNotEqualsIgnoreCase, .stringNotLike, .numericNotEquals, .dateNotEquals, .notIPAddress, .arnNotEquals,
            .arnNotLike, .notTimeWindow:
            true
        default: false
        }
    }

    /// Whether a key of this kind can be compared so.
    func accepts(_ key: ConditionKey) -> Bool {
        switch base {
        case .stringEquals, .stringNotEquals, .stringEqualsIgnoreCase, .stringNotEqualsIgnoreCase, .stringLike, .stringNotLike:
            [.text, .tag, .arn].contains(key.kind)
        case .numericEquals, .numericNotEquals, .numericLessThan, .numericLessThanEquals, .numericGreaterThan, .numericGreaterThanEquals:
            [.number, .tag].contains(key.kind) || key.name == "aws:EpochTime"
        case .dateEquals, .dateNotEquals, .dateLessThan, .dateLessThanEquals, .dateGreaterThan, .dateGreaterThanEquals:
            [.date, .tag].contains(key.kind)
        case .bool: [.flag, .tag].contains(key.kind)
        case .ipAddress, .notIPAddress: key.kind == .address
        case .arnEquals, .arnNotEquals, .arnLike, .arnNotLike: [.arn, .tag].contains(key.kind)
        case .null: true
        case .timeWindow, .notTimeWindow: key.kind == .date
        }
    }
}

extension ConditionOperator: CustomStringConvertible {
    var description: String { (quantifier?.rawValue ?? "") + base.rawValue + (ifExists ? Self.suffix : "") }
}
