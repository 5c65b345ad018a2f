package import Logging
import MusterWire

/// DescribeInstanceProperties and UpdateManagedInstanceRole.
package struct NodePropertyOperations: Sendable {
    private static let defaultPage = 50

    private let database: any SQLDatabase
    private let registry: AgentRegistry
    private let paging: Paging
    private let logger: Logger

    package init(database: any SQLDatabase, registry: AgentRegistry, pageTokenKey: [UInt8], logger: Logger) {
        self.database = database
        self.registry = registry
        self.paging = Paging(key: pageTokenKey)
        self.logger = logger
    }

    package func register(in table: inout OperationTable) {
        table.register(
            DescribeInstanceProperties.self, permission: "ssm:DescribeInstanceProperties", route: .operators, changes: false, describe)
        table.register(
            UpdateManagedInstanceRole.self, permission: "ssm:UpdateManagedInstanceRole", route: .operators, changes: true, updateRole)
    }

    @Sendable func describe(
        _ input: DescribeInstanceProperties.Input, _ context: OperationContext
    ) async throws -> DescribeInstanceProperties.Output {
        let filters = try Self.filters(input)
        let filter = try PropertyFilter(filters)
        let bound = filters.map { [$0.key, $0.operator ?? ""] + $0.values }
        let position = try paging.position(input.nextToken, operation: DescribeInstanceProperties.name, filters: bound)
        let connected = await registry.connectedNodes()
        let pings = await registry.recentPings()
        let (page, next) = try await database.read { tx in
            var tagged: [String: [String: String]] = [:]
            for key in filter.tagKeys {
                for (node, value) in try TagStore.values(of: key, type: TagStore.managedInstance, in: tx) {
                    tagged[node, default: [:]][key] = value
                }
            }
            return try Paging.fill(
                from: position, limit: input.maxResults ?? Self.defaultPage, key: { (node: Node) in node.id.description },
                fetch: { position, count in try NodeStore.page(after: position, limit: count, in: tx) },
                matches: { node in
                    let id = node.id.description
                    let tags = filter.needsAllTags ? try TagStore.tags(of: id, type: TagStore.managedInstance, in: tx) : tagged[id] ?? [:]
                    return filter.matches(node, status: NodeOperations.status(node, connected), tags: tags)
                })
        }
        return DescribeInstanceProperties.Output(
            instanceProperties: page.map { Self.shape($0, status: NodeOperations.status($0, connected), ping: pings[$0.id]) },
            nextToken: try paging.token(after: next, operation: DescribeInstanceProperties.name, filters: bound))
    }

    private static func filters(_ input: DescribeInstanceProperties.Input) throws -> [(key: String, operator: String?, values: [String])] {
        let old = input.instancePropertyFilterList ?? []
        let new = input.filtersWithOperator ?? []
        guard old.isEmpty || new.isEmpty else {
            throw APIError.validation("FiltersWithOperator and InstancePropertyFilterList cannot be given together.")
        }
        return try old.map { (try $0.key.required("key"), nil, try $0.valueSet.required("valueSet")) }
            + new.map { (try $0.key.required("key"), $0.operator, try $0.values.required("values")) }
    }

    private static func shape(_ node: Node, status: PingStatus, ping: Timestamp?) -> InstanceProperty {
        InstanceProperty(
            name: node.name, instanceID: node.id, ipAddress: node.facts.ipAddress, pingStatus: status,
            lastPingDateTime: [node.lastPingAt, ping, node.registeredAt].compactMap { $0 }.max(),
            agentVersion: node.facts.agentVersion, platformType: node.facts.platformType, platformName: node.facts.platformName,
            platformVersion: node.facts.platformVersion, activationID: node.activation, iamRole: node.iamRole,
            registrationDate: node.registeredAt, resourceType: NodeFilter.resourceType, computerName: node.facts.computerName,
            sourceID: node.id.description, sourceType: NodeFilter.sourceType)
    }

    /// A role is a name that is kept and shown, as in CreateActivation: there is no IAM that could know it.
    @Sendable func updateRole(
        _ input: UpdateManagedInstanceRole.Input, _ context: OperationContext
    ) async throws -> UpdateManagedInstanceRole.Output {
        let text = try input.instanceID.required("instanceId")
        let role = try input.iamRole.required("iamRole")
        guard text.hasPrefix("mi-"), let id = NodeID(text) else {
            throw APIError.invalidInstanceID("'\(text.prefix(128))' is not the id of a managed node.")
        }
        try await database.write { tx in
            guard let node = try NodeStore.node(id, in: tx), node.state != .deregistered else {
                throw APIError.invalidInstanceID("Managed node \(id) is not registered.")
            }
            try NodeStore.setRole(role, of: id, in: tx)
            try AuditLog.append(
                context.audit(
                    UpdateManagedInstanceRole.name, resource: id.description, details: ["iamRole": role, "formerIamRole": node.iamRole]),
                in: tx)
        }
        logger.info("node's role changed", metadata: ["node": "\(id)", "by": "\(context.caller.arn)"])
        return UpdateManagedInstanceRole.Output()
    }
}
