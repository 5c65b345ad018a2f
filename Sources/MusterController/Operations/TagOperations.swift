import MusterDocuments
import MusterWire

/// AddTagsToResource, RemoveTagsFromResource, ListTagsForResource.
///
/// Managed nodes and operators' own documents are the resources here whose tags can change. Built-in documents have none and belong to
/// nobody who could tag them; the tags of an activation are fixed when it is made.
package struct TagOperations: Sendable {
    private let database: any SQLDatabase

    package init(database: any SQLDatabase) {
        self.database = database
    }

    package func register(in table: inout OperationTable) {
        table.register(
            AddTagsToResource.self, permission: "ssm:AddTagsToResource", route: .operators,
            access: .on { input, context in
                [try Self.target(input.resourceType, input.resourceID, context, RequestTags.keys(input.tags ?? []))]
            }, changes: true, add)
        table.register(
            RemoveTagsFromResource.self, permission: "ssm:RemoveTagsFromResource", route: .operators,
            access: .on { input, context in
                [try Self.target(input.resourceType, input.resourceID, context, RequestTags.keys([], removed: input.tagKeys ?? []))]
            }, changes: true, remove)
        table.register(
            ListTagsForResource.self, permission: "ssm:ListTagsForResource", route: .operators,
            access: .on { input, context in [try Self.target(input.resourceType, input.resourceID, context)] }, changes: false, list)
    }

    private enum Resource: Sendable {
        case node(NodeID)
        /// Whether it is an operator's own shows in the store.
        case document(String)

        var id: String {
            switch self {
            case .node(let node): node.description
            case .document(let name): name
            }
        }

        var type: String {
            switch self {
            case .node: TagStore.managedInstance
            case .document: DocumentStore.tagType
            }
        }
    }

    @Sendable func add(_ input: AddTagsToResource.Input, _ context: OperationContext) async throws -> AddTagsToResource.Output {
        let resource = try Self.resource(type: input.resourceType, id: input.resourceID)
        let tags = try TagRules.dictionary(input.tags ?? [])
        try await database.write { tx in
            try Self.checkChangeable(resource, in: tx)
            let present = try TagStore.tags(of: resource.id, type: resource.type, in: tx)
            _ = try TagRules.adding(tags, to: present)
            try TagStore.set(tags, of: resource.id, type: resource.type, in: tx)
            try MetaStore.advance(.accessRevision, in: tx)
            try AuditLog.append(
                context.audit(
                    AddTagsToResource.name, resource: resource.id, details: ["tagKeys": tags.keys.sorted().joined(separator: ", ")]),
                in: tx)
        }
        return AddTagsToResource.Output()
    }

    @Sendable func remove(
        _ input: RemoveTagsFromResource.Input, _ context: OperationContext
    ) async throws -> RemoveTagsFromResource.Output {
        let resource = try Self.resource(type: input.resourceType, id: input.resourceID)
        let keys = try input.tagKeys.required("tagKeys")
        try await database.write { tx in
            try Self.checkChangeable(resource, in: tx)
            try TagStore.remove(keys, of: resource.id, type: resource.type, in: tx)
            try MetaStore.advance(.accessRevision, in: tx)
            try AuditLog.append(
                context.audit(
                    RemoveTagsFromResource.name, resource: resource.id, details: ["tagKeys": keys.sorted().joined(separator: ", ")]),
                in: tx)
        }
        return RemoveTagsFromResource.Output()
    }

    @Sendable func list(_ input: ListTagsForResource.Input, _ context: OperationContext) async throws -> ListTagsForResource.Output {
        let resource = try Self.resource(type: input.resourceType, id: input.resourceID)
        let tags = try await database.read { tx in
            try Self.check(resource, in: tx)
            return try TagStore.tags(of: resource.id, type: resource.type, in: tx)
        }
        return ListTagsForResource.Output(tagList: tags.sorted { $0.key < $1.key }.map { Tag(key: $0.key, value: $0.value) })
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
            return .document(id)
        default:
            throw .invalidResourceID("There is no \(type) \(shown) here; ManagedInstance and Document are the types that have resources.")
        }
    }

    private static func target(
        _ type: String?, _ id: String?, _ context: OperationContext, _ keys: ConditionKeys = ConditionKeys()
    ) throws -> AccessTarget {
        switch try resource(type: type, id: id) {
        case .node(let node): .node(node, context, keys: keys)
        case .document(let name): .document(name, context, keys: keys)
        }
    }

    private static func check(_ resource: Resource, in tx: any SQLTransaction) throws {
        switch resource {
        case .node(let node):
            guard let found = try NodeStore.node(node, in: tx), found.state != .deregistered else {
                throw APIError.invalidResourceID("Managed node \(node) does not exist.")
            }
        case .document(let name):
            guard try DocumentStore.exists(name, in: tx) || BuiltInDocuments.named(name) != nil || BuiltInSessionDocument.named(name) != nil
            else { throw APIError.invalidResourceID("Document '\(name.prefix(128))' does not exist.") }
        }
    }

    private static func checkChangeable(_ resource: Resource, in tx: any SQLTransaction) throws {
        try check(resource, in: tx)
        guard case .document(let name) = resource, try !DocumentStore.exists(name, in: tx) else { return }
        // InvalidResourceId has no text in typed SDKs, and the id is right.
        throw APIError.validation("Document \(name) comes with Muster: it has no tags, and none can be added or removed.")
    }
}
