package import MusterWire

/// The filters of DescribeInstanceInformation. [value]
///
/// All filters have to match, and of one filter any value. The keys are those of
/// https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_InstanceInformationStringFilter.html
/// in both spellings that clients use (`PlatformType` and `PlatformTypes`).
package struct NodeFilter: Sendable, Equatable {
    package static let resourceType = "ManagedInstance"
    package static let sourceType = "AWS::SSM::ManagedInstance"

    package enum Condition: Sendable, Equatable {
        case nodes(Set<NodeID>)
        case activations(Set<String>)
        case agentVersions(Set<String>)
        case iamRoles(Set<String>)
        case pingStatuses(Set<PingStatus>)
        case platformTypes(Set<String>)
        case resourceTypes(Set<String>)
        case sources(Set<String>)
        case sourceTypes(Set<String>)
        /// Associations are not served, so no node has a status of one.
        case associationStatuses(Set<String>)
        case tag(key: String, values: Set<String>)
        case tagKeys(Set<String>)

        package var isTag: Bool {
            switch self {
            case .tag, .tagKeys: true
            default: false
            }
        }
    }

    package let conditions: [Condition]

    package init(_ filters: [(key: String, values: [String])]) throws(APIError) {
        var conditions: [Condition] = []
        for filter in filters { conditions.append(try Self.condition(filter.key, filter.values)) }
        if conditions.contains(where: \.isTag), !conditions.allSatisfy(\.isTag) {
            throw .validation("Tag filters cannot be combined with other filters.")
        }
        self.conditions = conditions
    }

    private static func condition(_ key: String, _ values: [String]) throws(APIError) -> Condition {
        switch key {
        case "InstanceIds":
            var nodes: Set<NodeID> = []
            for value in values {
                guard let node = NodeID(value) else { throw .invalidInstanceID("\(shown(value)) is not the id of a managed node.") }
                nodes.insert(node)
            }
            return .nodes(nodes)
        case "ActivationIds":
            for value in values where ActivationID(value) == nil {
                throw .invalidInstanceInformationFilterValue("\(shown(value)) is not the id of an activation.")
            }
            return .activations(Set(values))
        case "AgentVersion": return .agentVersions(Set(values))
        case "IamRole": return .iamRoles(Set(values))
        case "PingStatus":
            var statuses: Set<PingStatus> = []
            for value in values {
                guard let status = PingStatus(rawValue: value) else { throw bad(value, key, "Online, ConnectionLost, Inactive") }
                statuses.insert(status)
            }
            return .pingStatuses(statuses)
        case "PlatformType", "PlatformTypes":
            try check(values, key, ["Windows", "Linux", "MacOS"])
            return .platformTypes(Set(values))
        case "ResourceType":
            try check(values, key, ["EC2Instance", resourceType])
            return .resourceTypes(Set(values))
        case "SourceIds": return .sources(Set(values))
        case "SourceTypes":
            try check(values, key, ["AWS::EC2::Instance", "AWS::IoT::Thing", sourceType])
            return .sourceTypes(Set(values))
        case "AssociationStatus": return .associationStatuses(Set(values))
        case "tag-key": return .tagKeys(Set(values))
        default:
            guard key.hasPrefix("tag:"), key.utf8.count > 4 else {
                throw .invalidFilterKey("\(shown(key)) is not a filter key of DescribeInstanceInformation.")
            }
            return .tag(key: String(key.dropFirst(4)), values: Set(values))
        }
    }

    private static func check(_ values: [String], _ key: String, _ known: [String]) throws(APIError) {
        for value in values where !known.contains(value) { throw bad(value, key, known.joined(separator: ", ")) }
    }

    private static func bad(_ value: String, _ key: String, _ known: String) -> APIError {
        .invalidInstanceInformationFilterValue("\(shown(value)) is not a value of \(key); it has \(known).")
    }

    private static func shown(_ text: String) -> String { "'\(text.prefix(128))'" }

    /// The keys whose values `matches` wants to see.
    package var tagKeys: Set<String> {
        conditions.reduce(into: []) { keys, condition in
            switch condition {
            case .tag(let key, _): keys.insert(key)
            case .tagKeys(let some): keys.formUnion(some)
            default: break
            }
        }
    }

    /// The nodes asked for by id, when they are.
    package var nodes: Set<NodeID>? {
        var found: Set<NodeID>?
        for case .nodes(let nodes) in conditions { found = found?.intersection(nodes) ?? nodes }
        return found
    }

    package func matches(_ node: Node, status: PingStatus, tags: [String: String]) -> Bool {
        conditions.allSatisfy { condition in
            switch condition {
            case .nodes(let nodes): nodes.contains(node.id)
            case .activations(let ids): ids.contains(node.activation.description)
            case .agentVersions(let versions): versions.contains(node.facts.agentVersion ?? "")
            case .iamRoles(let roles): roles.contains(node.iamRole)
            case .pingStatuses(let statuses): statuses.contains(status)
            case .platformTypes(let types): types.contains(node.facts.platformType ?? "")
            case .resourceTypes(let types): types.contains(Self.resourceType)
            case .sources(let sources): sources.contains(node.id.description)
            case .sourceTypes(let types): types.contains(Self.sourceType)
            case .associationStatuses: false
            case .tag(let key, let values): tags[key].map(values.contains) ?? false
            case .tagKeys(let keys): !keys.isDisjoint(with: tags.keys)
            }
        }
    }
}
