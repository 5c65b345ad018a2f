/// Which resources a statement is about: `*`, or an ARN with wildcards, compared part by part. [value]
///
///     arn : aws : ssm : eu-central-1 : 000000000001 : managed-instance/mi-…
///
/// A `*` stays within its part, except at the end, where it stands for all that follows: `arn:aws:ssm:*` is everything of SSM.
/// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_resource.html
struct ResourcePattern: Sendable, Hashable {
    /// Six of them, or fewer that end with `*`; none is everything.
    private let parts: [PolicyPattern]

    fileprivate static let partCount = 6

    static let everything = ResourcePattern(parts: [])

    private init(parts: [PolicyPattern]) {
        self.parts = parts
    }

    init(_ text: String, variables: Bool, at path: String) throws(PolicyError) {
        let pattern = try PolicyPattern(text, PolicyPattern.Reading(variables: variables), at: path)
        if pattern == .everything {
            self = .everything
            return
        }
        let parts = pattern.splitAtColons(Self.partCount)
        guard parts[0].parts == [.literal(Array("arn".utf8))], parts.count == Self.partCount || parts.last?.parts.last == .any else {
            throw PolicyError(
                at: path,
                "'\(text.prefix(200))' is not the ARN of anything. Write *, or six parts as in arn:aws:ssm:*:*:managed-instance/* (nodes), "
                    + "arn:aws:ssm:*:*:document/NAME or arn:aws:ssm:*:*:session/${aws:username}-*.")
        }
        self.parts = parts
    }

    /// The keys that it takes values from.
    var variables: [String] { parts.flatMap(\.variables) }

    /// - Parameter service: of the operation that is asked about.
    func matches(_ resource: ResourceName, of service: String? = nil, keys: ConditionKeys) -> Bool {
        if parts.isEmpty { return true }
        // An operation without a resource of its own is one on all of its service's.
        if resource.isEverything {
            guard parts.dropFirst(3).allSatisfy({ $0 == .everything }) else { return false }
            return service.map { parts.count < 3 || parts[2].matches($0, keys: keys) } ?? true
        }
        let given = resource.parts
        guard given.count == Self.partCount else { return false }
        for (index, part) in parts.enumerated() {
            if index == parts.count - 1 { return part.matches(resource.rest(from: index), keys: keys) }
            if part.matches(given[index], keys: keys) { continue }
            // AWS's own documents have no account in policies for AWS. No user's document can have such a name.
            if index == Self.accountIndex, part.parts.isEmpty, Self.isBuiltIn(given[Self.partCount - 1]) { continue }
            return false
        }
        return true
    }

    private static let accountIndex = 4

    private static func isBuiltIn(_ resource: String) -> Bool {
        let name = asciiLowercased(resource)
        return ["aws", "amazon"].contains { name.hasPrefix("document/\($0)") }
    }
}

/// What patterns are compared with, taken apart once for all of them. [value]
struct ResourceName: Sendable {
    let isEverything: Bool
    /// Six, or fewer of what is no ARN.
    fileprivate let parts: [String]

    init(_ text: String) {
        isEverything = text == "*"
        parts = text.split(separator: ":", maxSplits: ResourcePattern.partCount - 1, omittingEmptySubsequences: false).map(String.init)
    }

    fileprivate func rest(from index: Int) -> String {
        index == parts.count - 1 ? parts[index] : parts[index...].joined(separator: ":")
    }
}

extension PolicyPattern {
    /// At most `count` patterns; the colons of variables' names and values are none of these.
    fileprivate func splitAtColons(_ count: Int) -> [PolicyPattern] {
        var result: [[Part]] = [[]]
        for part in parts {
            guard case .literal(let bytes) = part else {
                result[result.count - 1].append(part)
                continue
            }
            let pieces = bytes.split(separator: UInt8(ascii: ":"), maxSplits: count - result.count, omittingEmptySubsequences: false)
            for (index, piece) in pieces.enumerated() {
                if index > 0 { result.append([]) }
                if !piece.isEmpty { result[result.count - 1].append(.literal(Array(piece))) }
            }
        }
        return result.map(PolicyPattern.init(parts:))
    }
}
