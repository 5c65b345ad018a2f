/// When a step of a 2.2 document applies.
///
/// `{"StringEquals": ["platformType", "Linux"]}` or `{"StringEquals": ["{{ parameter }}", "literal"]}`; there is no other
/// operator. https://docs.aws.amazon.com/systems-manager/latest/userguide/documents-schemas-features.html
package enum Precondition: Sendable, Hashable {
    case platform(Platform)
    /// Compared exactly once both have been resolved.
    case equal(String, String)

    package enum Outcome: Sendable, Hashable {
        case met
        case unmet(reason: String)
        case malformed(reason: String)
    }

    package func evaluate(template: Template, platform: Platform) -> Outcome {
        switch self {
        case .platform(let wanted):
            if wanted == platform { return .met }
            return .unmet(reason: "Step skipped: it is for \(wanted) and this node runs \(platform).")
        case .equal(let left, let right):
            guard case .string(let a) = template.resolve(.string(left)), case .string(let b) = template.resolve(.string(right)) else {
                return .malformed(
                    reason: "Step failed: its precondition compares something other than text; StringEquals takes String parameters.")
            }
            if a == b { return .met }
            return .unmet(reason: "Step skipped: its precondition (\(left) equals \(right)) is not met.")
        }
    }
}

extension Precondition {
    init(_ value: DocumentValue, parameters: [String: ParameterDefinition], at path: String) throws(DocumentError) {
        guard let operators = value.object, operators.count == 1, let (name, operands) = operators.first else {
            throw DocumentError(.content, at: path, "A precondition is an object with the one member StringEquals.")
        }
        guard name == "StringEquals" else {
            throw DocumentError(.content, at: path, "Unknown operator '\(name)'; the only one is StringEquals.")
        }
        guard let texts = operands.strings, texts.count == 2 else {
            throw DocumentError(.content, at: path, "StringEquals takes a list of exactly two strings.")
        }
        let (left, right) = (texts[0], texts[1])
        guard left != right else {
            throw DocumentError(.content, at: path, "StringEquals compares '\(left)' with itself.")
        }
        for text in texts where Template.hasStoreReference(text) {
            throw DocumentError(.content, at: path, "'\(text)' refers to Parameter Store, which a precondition may not.")
        }
        let declared: (String) -> Bool = { text in
            Template.references(in: text).contains { parameters[$0] != nil }
        }
        if left == Self.platformVariable || right == Self.platformVariable {
            let other = left == Self.platformVariable ? right : left
            guard !declared(other) else {
                throw DocumentError(.content, at: path, "platformType may be compared with a literal only, not with a parameter.")
            }
            guard let platform = Platform(other) else {
                throw DocumentError(.content, at: path, "Unknown platform '\(other)': use Linux, MacOS or Windows.")
            }
            self = .platform(platform)
        } else {
            guard declared(left) || declared(right) else {
                throw DocumentError(
                    .content, at: path, "At least one operand must be platformType or refer to a parameter of the document.")
            }
            self = .equal(left, right)
        }
    }

    private static let platformVariable = "platformType"
}
