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
            DescribeInstanceProperties.self, permission: "ssm:DescribeInstanceProperties", route: .operators, access: .anything,
            changes: false, describe)
        table.register(
            UpdateManagedInstanceRole.self, permission: "ssm:UpdateManagedInstanceRole", route: .operators,
            access: .on { input, context in [.node(named: input.instanceID, context)] }, changes: true, updateRole)
    }

    @Sendable func describe(
        _ input: DescribeInstanceProperties.Input, _ context: OperationContext
    ) async throws -> DescribeInstanceProperties.Output {
        let filters = try Self.filters(input)
        let filter = try PropertyFilter(filters)
        let bound = filters.map { [$0.key, $0.operator ?? ""] + $0.values }
        let position = try paging.position(input.nextToken, operation: DescribeInstanceProperties.name, filters: bound)
        let listing = await NodeListing(registry)
        let (page, next) = try await database.read { tx in
            let tagged = try NodeListing.tags(filter.tagKeys, in: tx)
            return try Paging.fill(
                from: position, limit: input.maxResults ?? Self.defaultPage, key: { (node: Node) in node.id.description },
                fetch: { position, count in try NodeStore.page(after: position, limit: count, in: tx) },
                matches: { node in
                    let id = node.id.description
                    let tags = filter.needsAllTags ? try TagStore.tags(of: id, type: TagStore.managedInstance, in: tx) : tagged[id] ?? [:]
                    return filter.matches(node, status: listing.status(node), tags: tags)
                })
        }
        return DescribeInstanceProperties.Output(
            instanceProperties: page.map(listing.shape),
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

    /// A role is a name that is kept and shown, as in CreateActivation: there is no IAM that could know it.
    @Sendable func updateRole(
        _ input: UpdateManagedInstanceRole.Input, _ context: OperationContext
    ) async throws -> UpdateManagedInstanceRole.Output {
        let text = try input.instanceID.required("instanceId")
        let role = try input.iamRole.required("iamRole")
        let id = try NodeListing.id(text)
        try await database.write { tx in
            let node = try NodeListing.present(id, in: tx)
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
