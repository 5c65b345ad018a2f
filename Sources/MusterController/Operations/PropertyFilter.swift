import MusterDocuments
package import MusterWire

/// The filters of DescribeInstanceProperties: all have to match, and of one filter any value (with NotEqual: no value). [value]
///
/// The older style has a list of keys and knows equality only; the newer one has operators. LessThan and GreaterThan are for
/// versions, which are compared number by number.
package struct PropertyFilter: Sendable, Equatable {
    package struct Condition: Sendable, Equatable {
        let key: String
        let `operator`: InstancePropertyOperator
        let values: [String]
    }

    package let conditions: [Condition]

    package init(_ filters: [(key: String, operator: String?, values: [String])]) throws(APIError) {
        var conditions: [Condition] = []
        for filter in filters { conditions.append(try Self.condition(filter.key, filter.operator, filter.values)) }
        self.conditions = conditions
    }

    private static let versions: Set<String> = ["AgentVersion", "PlatformVersion"]
    private static let plain: Set<String> = [
        "AgentVersion", "PlatformVersion", "PlatformName", "ComputerName", "Name", "IPAddress", "IamRole", "SourceIds", "AssociationStatus",
    ]
    private static let choices: [String: [String]] = [
        "PingStatus": PingStatus.allCases.map(\.rawValue),
        "PlatformTypes": ["Windows", "Linux", "MacOS"],
        "ResourceType": ["EC2Instance", NodeFilter.resourceType],
        "SourceTypes": ["AWS::EC2::Instance", "AWS::IoT::Thing", NodeFilter.sourceType],
    ]

    private static func condition(_ given: String, _ word: String?, _ values: [String]) throws(APIError) -> Condition {
        let key = given == "PlatformType" ? "PlatformTypes" : given
        let comparison = word.flatMap(InstancePropertyOperator.init(rawValue:)) ?? .equal
        let isTag = key == "tag-key" || (key.hasPrefix("tag:") && key.utf8.count > 4)
        guard isTag || plain.contains(key) || choices[key] != nil || ["InstanceIds", "ActivationIds", "DocumentName"].contains(key) else {
            throw .invalidFilterKey("'\(given.prefix(128))' is not a filter key of DescribeInstanceProperties.")
        }
        if comparison == .lessThan || comparison == .greaterThan {
            guard versions.contains(key) else {
                throw .invalidInstancePropertyFilterValue(
                    "\(comparison.rawValue) compares versions (AgentVersion, PlatformVersion); '\(key.prefix(128))' is none.")
            }
            guard values.count == 1 else {
                throw .invalidInstancePropertyFilterValue("\(comparison.rawValue) takes one value; \(values.count) were given.")
            }
        } else if comparison != .beginWith {
            try check(key, values)
        }
        return Condition(key: key, operator: comparison, values: values)
    }

    /// A whole value that cannot exist is a mistake of the caller; the beginning of one need not be anything.
    private static func check(_ key: String, _ values: [String]) throws(APIError) {
        for value in values {
            let shown = "'\(value.prefix(128))'"
            switch key {
            case "InstanceIds" where NodeID(value) == nil:
                throw .invalidInstanceID("\(shown) is not the id of a managed node.")
            case "ActivationIds" where ActivationID(value) == nil:
                throw .invalidActivationID("\(shown) is not the id of an activation.")
            case "DocumentName" where BuiltInDocuments.named(value) == nil:
                throw .invalidDocument("Document with name \(value.prefix(128)) does not exist.")
            default:
                if let known = choices[key], !known.contains(value) {
                    throw .invalidInstancePropertyFilterValue("\(shown) is not a value of \(key); it has \(known.joined(separator: ", ")).")
                }
            }
        }
    }

    /// The tag keys whose values `matches` wants to see.
    package var tagKeys: Set<String> {
        conditions.reduce(into: []) { keys, condition in
            if condition.key.hasPrefix("tag:") { keys.insert(String(condition.key.dropFirst(4))) }
            if condition.key == "tag-key", condition.operator != .beginWith { keys.formUnion(condition.values) }
        }
    }

    /// Whether all of a node's tags have to be known, because any key may match.
    package var needsAllTags: Bool {
        conditions.contains { $0.key == "tag-key" && $0.operator == .beginWith }
    }

    package func matches(_ node: Node, status: PingStatus, tags: [String: String]) -> Bool {
        conditions.allSatisfy { condition in
            let found = Self.values(of: condition.key, node, status, tags)
            switch condition.operator {
            case .equal: return found.contains(where: condition.values.contains)
            case .notEqual: return !found.contains(where: condition.values.contains)
            case .beginWith: return found.contains { value in condition.values.contains { value.hasPrefix($0) } }
            case .lessThan: return found.contains { value in condition.values.allSatisfy { Self.precedes(value, $0) } }
            case .greaterThan: return found.contains { value in condition.values.allSatisfy { Self.precedes($0, value) } }
            }
        }
    }

    private static func values(of key: String, _ node: Node, _ status: PingStatus, _ tags: [String: String]) -> [String] {
        switch key {
        case "InstanceIds", "SourceIds": [node.id.description]
        case "ActivationIds": [node.activation.description]
        case "PingStatus": [status.rawValue]
        case "ResourceType": [NodeFilter.resourceType]
        case "SourceTypes": [NodeFilter.sourceType]
        case "IamRole": [node.iamRole]
        case "Name": node.name.map { [$0] } ?? []
        case "AgentVersion": node.facts.agentVersion.map { [$0] } ?? []
        case "PlatformTypes": node.facts.platformType.map { [$0] } ?? []
        case "PlatformName": node.facts.platformName.map { [$0] } ?? []
        case "PlatformVersion": node.facts.platformVersion.map { [$0] } ?? []
        case "ComputerName": node.facts.computerName.map { [$0] } ?? []
        case "IPAddress": node.facts.ipAddress.map { [$0] } ?? []
        case "tag-key": Array(tags.keys)
        // DocumentName and AssociationStatus are about associations, which no node has yet.
        default: key.hasPrefix("tag:") ? tags[String(key.dropFirst(4))].map { [$0] } ?? [] : []
        }
    }

    /// `3.2.10` comes after `3.2.9`. What is not a number counts as 0, and missing parts do too.
    static func precedes(_ a: String, _ b: String) -> Bool {
        let left = numbers(a), right = numbers(b)
        for index in 0..<max(left.count, right.count) {
            let (x, y) = (index < left.count ? left[index] : 0, index < right.count ? right[index] : 0)
            if x != y { return x < y }
        }
        return false
    }

    private static func numbers(_ version: String) -> [UInt64] {
        version.prefix(256).split(separator: ".", omittingEmptySubsequences: false).map { UInt64($0) ?? 0 }
    }
}
