package import Logging
import MusterWire
import NIOConcurrencyHelpers

/// DescribeInstanceInformation, GetConnectionStatus, DeregisterManagedInstance, and UpdateInstanceInformation from the nodes.
package struct NodeOperations: Sendable {
    private let database: any SQLDatabase
    private let registry: AgentRegistry
    private let events: any AgentEvents
    private let paging: Paging
    private let latestAgentVersion: String
    private let logger: Logger
    /// What one node may change of itself: as many at once as an upgrade does, and then one every few seconds.
    private let changes = NIOLockedValueBox(AttemptLimiter())

    package init(
        database: any SQLDatabase, registry: AgentRegistry, events: any AgentEvents, pageTokenKey: [UInt8],
        latestAgentVersion: String = ReleaseVersion.current, logger: Logger
    ) {
        self.database = database
        self.registry = registry
        self.events = events
        self.paging = Paging(key: pageTokenKey)
        self.latestAgentVersion = latestAgentVersion
        self.logger = logger
    }

    package func register(in table: inout OperationTable) {
        table.register(
            DescribeInstanceInformation.self, permission: "ssm:DescribeInstanceInformation", route: .operators, access: .anything,
            changes: false, describe)
        table.register(
            GetConnectionStatus.self, permission: "ssm:GetConnectionStatus", route: .operators,
            access: .on { input, context in [.node(named: input.target, context)] }, changes: false, connectionStatus)
        table.register(
            DeregisterManagedInstance.self, permission: "ssm:DeregisterManagedInstance", route: .operators,
            access: .on { input, context in [.node(named: input.instanceID, context)] }, changes: true, deregister)
        table.register(
            UpdateInstanceInformation.self, permission: "ssm:UpdateInstanceInformation", route: .nodes, access: .certificate, changes: true,
            update)
    }

    // MARK: Describe

    @Sendable func describe(
        _ input: DescribeInstanceInformation.Input, _ context: OperationContext
    ) async throws -> DescribeInstanceInformation.Output {
        let filters = try Self.filters(input)
        let filter = try NodeFilter(filters)
        let bound = filters.map { [$0.key] + $0.values }
        let position = try paging.position(input.nextToken, operation: DescribeInstanceInformation.name, filters: bound)
        let limit = input.maxResults ?? 50
        let listing = await NodeListing(registry)
        let (page, next, tags) = try await database.read { tx in
            let tagged = try NodeListing.tags(filter.tagKeys, in: tx)
            let (page, next) = try Paging.fill(
                from: position, limit: limit, key: { (node: Node) in node.id.description },
                fetch: { position, count in
                    guard let nodes = filter.nodes else { return try NodeStore.page(after: position, limit: count, in: tx) }
                    let wanted = nodes.filter { $0.description > position }.sorted().prefix(count)
                    return try wanted.compactMap { id in
                        try NodeStore.node(id, in: tx).flatMap { $0.state == .deregistered ? nil : $0 }
                    }
                },
                matches: { node in
                    filter.matches(node, status: listing.status(node), tags: tagged[node.id.description] ?? [:])
                })
            let tags = try page.map { try TagStore.tags(of: $0.id.description, type: TagStore.managedInstance, in: tx) }
            return (page, next, tags)
        }
        return DescribeInstanceInformation.Output(
            instanceInformationList: zip(page, tags).map { shape($0, tags: $1, listing) },
            nextToken: try paging.token(after: next, operation: DescribeInstanceInformation.name, filters: bound))
    }

    private static func filters(_ input: DescribeInstanceInformation.Input) throws -> [(key: String, values: [String])] {
        let old = input.instanceInformationFilterList ?? []
        let new = input.filters ?? []
        guard old.isEmpty || new.isEmpty else {
            throw APIError.validation("Filters and InstanceInformationFilterList cannot be given together.")
        }
        return try old.map { (try $0.key.required("key"), try $0.valueSet.required("valueSet")) }
            + new.map { (try $0.key.required("key"), try $0.values.required("values")) }
    }

    private func shape(_ node: Node, tags: [String: String], _ listing: NodeListing) -> InstanceInformation {
        var shape = listing.shape(node)
        shape.isLatestVersion = node.facts.agentVersion.map { ReleaseVersion.isCurrent($0, comparedWith: latestAgentVersion) }
        shape.tags = tags.sorted { $0.key < $1.key }.map { Tag(key: $0.key, value: $0.value) }
        return shape
    }

    @Sendable func connectionStatus(
        _ input: GetConnectionStatus.Input, _ context: OperationContext
    ) async throws -> GetConnectionStatus.Output {
        let target = try input.target.required("target")
        var isConnected = false
        if let node = NodeID(target) { isConnected = await registry.isConnected(node) }
        return GetConnectionStatus.Output(target: target, status: isConnected ? .connected : .notConnected)
    }

    // MARK: Deregister

    /// From the commit on the node's certificate is worth nothing. Its connection is ended at once, its tags decide about what it has left
    /// behind and nothing else, and what was open for it ends as Undeliverable. The id is never given again.
    @Sendable func deregister(
        _ input: DeregisterManagedInstance.Input, _ context: OperationContext
    ) async throws -> DeregisterManagedInstance.Output {
        let text = try input.instanceID.required("instanceId")
        let id = try NodeListing.id(text)
        try await database.write { tx in
            let node = try NodeListing.present(id, in: tx)
            try NodeStore.setState(.deregistered, of: id, now: context.now, in: tx)
            try TagStore.retire(id, in: tx)
            try AuditLog.append(
                context.audit(
                    DeregisterManagedInstance.name, resource: id.description, details: ["formerState": node.state.rawValue]),
                in: tx)
        }
        await registry.close(id, reason: NodeAdmission.Refusal.deregistered(id).description)
        await events.nodeDeregistered(id)
        logger.info("node deregistered", metadata: ["node": "\(id)", "by": "\(context.caller.arn)"])
        return DeregisterManagedInstance.Output()
    }

    // MARK: Heartbeat

    /// The node is the certificate's. The id in the message only has to agree.
    @Sendable func update(
        _ input: UpdateInstanceInformation.Input, _ context: OperationContext
    ) async throws -> UpdateInstanceInformation.Output {
        guard let identity = context.node else { throw NodeAdmission.Refusal.notANodeCertificate.apiError }
        if let named = input.instanceID, named != identity.node.description {
            try spend(identity, context)
            let event = context.audit(
                UpdateInstanceInformation.name, resource: identity.node.description, outcome: .denied,
                details: ["namedNode": String(named.prefix(64))])
            try await database.write { tx in try AuditLog.append(event, in: tx) }
            logger.warning("heartbeat names another node", metadata: ["node": "\(identity.node)"])
            throw APIError.invalidInstanceID("Node \(identity.node) cannot report for another node.")
        }
        let news = Node.Facts(
            computerName: input.computerName, ipAddress: input.ipAddress, platformType: input.platformType,
            platformName: input.platformName, platformVersion: input.platformVersion, agentName: input.agentName,
            agentVersion: input.agentVersion)
        let admitted = try await database.read { tx in try NodeAdmission.admit(identity, in: tx) }
        switch admitted {
        case .failure(let refusal):
            throw refusal.apiError
        case .success(let node) where node.facts.updated(by: news) != node.facts:
            try spend(identity, context)
            try await change(identity, news, context)
        case .success:
            // Nothing new: the ping alone is written with those of the other nodes.
            break
        }
        await registry.heard(from: identity.node)
        return UpdateInstanceInformation.Output(serverTime: context.now)
    }

    /// Each of these is an event: a node that is somebody else's by now must not write the trail full.
    private func spend(_ identity: NodeIdentity, _ context: OperationContext) throws {
        let key = AttemptLimiter.Key(source: identity.node.description, activation: nil)
        let isAllowed = changes.withLockedValue { changes in
            guard changes.allows(key, at: context.now) else { return false }
            changes.failed(key, at: context.now)
            return true
        }
        guard isAllowed else { throw APIError.throttling }
    }

    private func change(_ identity: NodeIdentity, _ news: Node.Facts, _ context: OperationContext) async throws {
        let refusal: NodeAdmission.Refusal? = try await database.write { tx in
            switch try NodeAdmission.admit(identity, in: tx) {
            case .failure(let refusal): return refusal
            case .success(let node):
                try NodeStore.setFacts(node.facts.updated(by: news), of: node.id, in: tx)
                try AuditLog.append(context.audit(UpdateInstanceInformation.name, resource: node.id.description), in: tx)
                return nil
            }
        }
        if let refusal { throw refusal.apiError }
    }
}
