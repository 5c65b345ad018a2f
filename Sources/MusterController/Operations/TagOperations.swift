import MusterWire

/// AddTagsToResource, RemoveTagsFromResource, ListTagsForResource.
///
/// Managed nodes are the only resources here that can carry tags; built-in documents belong to nobody who could tag them.
package struct TagOperations: Sendable {
    private let database: any SQLDatabase

    package init(database: any SQLDatabase) {
        self.database = database
    }

    package func register(in table: inout OperationTable) {
        table.register(AddTagsToResource.self, permission: "ssm:AddTagsToResource", route: .operators, changes: true, add)
        table.register(RemoveTagsFromResource.self, permission: "ssm:RemoveTagsFromResource", route: .operators, changes: true, remove)
        table.register(ListTagsForResource.self, permission: "ssm:ListTagsForResource", route: .operators, changes: false, list)
    }

    @Sendable func add(_ input: AddTagsToResource.Input, _ context: OperationContext) async throws -> AddTagsToResource.Output {
        let node = try Self.node(type: input.resourceType, id: input.resourceID)
        let tags = try TagRules.dictionary(input.tags ?? [])
        try await database.write { tx in
            try Self.check(node, in: tx)
            let present = try TagStore.tags(of: node.description, type: TagStore.managedInstance, in: tx)
            _ = try TagRules.adding(tags, to: present)
            try TagStore.set(tags, of: node.description, type: TagStore.managedInstance, in: tx)
            try AuditLog.append(
                context.audit(
                    AddTagsToResource.name, resource: node.description, details: ["tagKeys": tags.keys.sorted().joined(separator: ", ")]),
                in: tx)
        }
        return AddTagsToResource.Output()
    }

    @Sendable func remove(
        _ input: RemoveTagsFromResource.Input, _ context: OperationContext
    ) async throws -> RemoveTagsFromResource.Output {
        let node = try Self.node(type: input.resourceType, id: input.resourceID)
        let keys = try input.tagKeys.required("tagKeys")
        try await database.write { tx in
            try Self.check(node, in: tx)
            try TagStore.remove(keys, of: node.description, type: TagStore.managedInstance, in: tx)
            try AuditLog.append(
                context.audit(
                    RemoveTagsFromResource.name, resource: node.description, details: ["tagKeys": keys.sorted().joined(separator: ", ")]),
                in: tx)
        }
        return RemoveTagsFromResource.Output()
    }

    @Sendable func list(_ input: ListTagsForResource.Input, _ context: OperationContext) async throws -> ListTagsForResource.Output {
        let node = try Self.node(type: input.resourceType, id: input.resourceID)
        let tags = try await database.read { tx in
            try Self.check(node, in: tx)
            return try TagStore.tags(of: node.description, type: TagStore.managedInstance, in: tx)
        }
        return ListTagsForResource.Output(tagList: tags.sorted { $0.key < $1.key }.map { Tag(key: $0.key, value: $0.value) })
    }

    private static func node(type: String?, id: String?) throws(APIError) -> NodeID {
        let type = try type.required("resourceType")
        let id = try id.required("resourceId")
        guard type == TagStore.managedInstance else {
            throw .invalidResourceID("There is no \(type) '\(id.prefix(128))' here; tags are kept for ManagedInstance.")
        }
        // Ids of EC2 instances pass as node ids, but their tags live in EC2.
        guard id.hasPrefix("mi-"), let node = NodeID(id) else { throw .invalidResourceID("'\(id.prefix(128))' is not the id of a managed node.") }
        return node
    }

    private static func check(_ node: NodeID, in tx: any SQLTransaction) throws {
        guard let found = try NodeStore.node(node, in: tx), found.state != .deregistered else {
            throw APIError.invalidResourceID("Managed node \(node) does not exist.")
        }
    }
}
