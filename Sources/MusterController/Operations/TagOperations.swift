import MusterDocuments
import MusterWire

/// AddTagsToResource, RemoveTagsFromResource, ListTagsForResource.
///
/// Managed nodes are the only resources here whose tags can change. Built-in documents have none and belong to nobody who could
/// tag them; the tags of an activation are fixed when it is made.
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

    private enum Resource: Sendable {
        case node(NodeID)
        case builtInDocument(String)
    }

    @Sendable func add(_ input: AddTagsToResource.Input, _ context: OperationContext) async throws -> AddTagsToResource.Output {
        let node = try Self.changeable(type: input.resourceType, id: input.resourceID)
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
        let node = try Self.changeable(type: input.resourceType, id: input.resourceID)
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
        guard case .node(let node) = try Self.resource(type: input.resourceType, id: input.resourceID) else {
            return ListTagsForResource.Output(tagList: [])
        }
        let tags = try await database.read { tx in
            try Self.check(node, in: tx)
            return try TagStore.tags(of: node.description, type: TagStore.managedInstance, in: tx)
        }
        return ListTagsForResource.Output(tagList: tags.sorted { $0.key < $1.key }.map { Tag(key: $0.key, value: $0.value) })
    }

    private static func changeable(type: String?, id: String?) throws(APIError) -> NodeID {
        switch try resource(type: type, id: id) {
        case .node(let node): return node
        // InvalidResourceId has no text in typed SDKs, and the id is right.
        case .builtInDocument(let name):
            throw .validation("Document \(name) comes with Muster: it has no tags, and none can be added or removed.")
        }
    }

    private static func resource(type: String?, id: String?) throws(APIError) -> Resource {
        let type = try type.required("resourceType")
        let id = try id.required("resourceId")
        let shown = "'\(id.prefix(128))'"
        switch type {
        case TagStore.managedInstance:
            if ActivationID(id) != nil {
                throw .invalidResourceID(
                    "\(shown) is an activation: its tags are fixed when it is made. Tag the nodes, or make another activation.")
            }
            // Ids of EC2 instances pass as node ids, but their tags live in EC2.
            guard id.hasPrefix("mi-"), let node = NodeID(id) else { throw .invalidResourceID("\(shown) is not the id of a managed node.") }
            return .node(node)
        case "Document":
            guard let document = BuiltInDocuments.named(id) else { throw .invalidResourceID("Document \(shown) does not exist.") }
            return .builtInDocument(document.name)
        default:
            throw .invalidResourceID("There is no \(type) \(shown) here; ManagedInstance and Document are the types that have resources.")
        }
    }

    private static func check(_ node: NodeID, in tx: any SQLTransaction) throws {
        guard let found = try NodeStore.node(node, in: tx), found.state != .deregistered else {
            throw APIError.invalidResourceID("Managed node \(node) does not exist.")
        }
    }
}
