import MusterWire

/// Nodes as DescribeInstanceInformation and DescribeInstanceProperties show them, with what the registry knows at one moment. [value]
struct NodeListing: Sendable {
    private let connected: [NodeID: Int]
    private let pings: [NodeID: Timestamp]

    init(_ registry: AgentRegistry) async {
        connected = await registry.connectedNodes()
        pings = await registry.recentPings()
    }

    /// The control channel says whether a node is there. Nothing is sent to a node in quarantine, so it is not.
    func status(_ node: Node) -> PingStatus {
        node.state == .registered && connected[node.id] == node.generation ? .online : .connectionLost
    }

    /// What both of them tell.
    func shape(_ node: Node) -> InstanceInformation {
        InstanceInformation(
            instanceID: node.id, pingStatus: status(node),
            lastPingDateTime: [node.lastPingAt, pings[node.id], node.registeredAt].compactMap { $0 }.max(),
            agentVersion: node.facts.agentVersion, platformType: node.facts.platformType, platformName: node.facts.platformName,
            platformVersion: node.facts.platformVersion, activationID: node.activation, iamRole: node.iamRole,
            registrationDate: node.registeredAt, resourceType: NodeFilter.resourceType, name: node.name, ipAddress: node.facts.ipAddress,
            computerName: node.facts.computerName, sourceID: node.id.description, sourceType: NodeFilter.sourceType)
    }

    /// The tags with these keys, by node.
    static func tags(_ keys: Set<String>, in tx: any SQLTransaction) throws -> [String: [String: String]] {
        var tagged: [String: [String: String]] = [:]
        for key in keys {
            for (node, value) in try TagStore.values(of: key, type: TagStore.managedInstance, in: tx) {
                tagged[node, default: [:]][key] = value
            }
        }
        return tagged
    }

    // MARK: One node, by the id that a caller has given

    static func id(_ text: String) throws(APIError) -> NodeID {
        guard text.hasPrefix("mi-"), let id = NodeID(text) else {
            throw .invalidInstanceID("'\(text.prefix(128))' is not the id of a managed node.")
        }
        return id
    }

    static func present(_ id: NodeID, in tx: any SQLTransaction) throws -> Node {
        guard let node = try NodeStore.node(id, in: tx), node.state != .deregistered else {
            throw APIError.invalidInstanceID("Managed node \(id) is not registered.")
        }
        return node
    }
}
