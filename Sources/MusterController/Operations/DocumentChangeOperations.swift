import MusterDocuments
import MusterWire

/// CreateDocument, UpdateDocument, UpdateDocumentDefaultVersion, DeleteDocument, for documents of type Session.
///
/// Running sessions keep the content they were started with.
package struct DocumentChangeOperations: Sendable {
    private let database: any SQLDatabase

    package init(database: any SQLDatabase) {
        self.database = database
    }

    package func register(in table: inout OperationTable) {
        table.register(
            CreateDocument.self, permission: "ssm:CreateDocument", route: .operators,
            access: .on { input, context in [.document(input.name ?? "", context, keys: RequestTags.keys(input.tags ?? []))] },
            changes: true, create)
        table.register(
            UpdateDocument.self, permission: "ssm:UpdateDocument", route: .operators,
            access: .on { input, context in [.document(input.name ?? "", context)] }, changes: true, update)
        table.register(
            UpdateDocumentDefaultVersion.self, permission: "ssm:UpdateDocumentDefaultVersion", route: .operators,
            access: .on { input, context in [.document(input.name ?? "", context)] }, changes: true, setDefault)
        table.register(
            DeleteDocument.self, permission: "ssm:DeleteDocument", route: .operators,
            access: .on { input, context in [.document(input.name ?? "", context)] }, changes: true, delete)
    }

    @Sendable func create(_ input: CreateDocument.Input, _ context: OperationContext) async throws -> CreateDocument.Output {
        let name = try input.name.required("name")
        let content = try input.content.required("content")
        try DocumentRules.checkNew(name)
        try DocumentRules.checkType(input.documentType)
        try DocumentRules.checkFormat(input.documentFormat, CreateDocument.name)
        let tags = try TagRules.dictionary(input.tags ?? [])
        guard tags.count <= TagRules.maximumPerResource else {
            throw APIError.validation("A document has at most \(TagRules.maximumPerResource) tags; \(tags.count) were given.")
        }
        _ = try DocumentRules.decode(content)
        return try await database.write { tx in
            try IdempotencyStore.once(context.retry, now: context.now, in: tx) {
                guard try !DocumentStore.exists(name, in: tx) else { throw APIError.documentAlreadyExists() }
                try Self.insert(name, context, in: tx)
                try DocumentStore.append(
                    name, versionName: input.versionName, displayName: input.displayName, content: content, by: context.caller.arn,
                    now: context.now, in: tx)
                try TagStore.set(tags, of: name, type: DocumentStore.tagType, in: tx)
                return try Self.changed(name, CreateDocument.name, status: "Creating", tags: tags, context, in: tx)
            }.output
        }
    }

    @Sendable func update(_ input: UpdateDocument.Input, _ context: OperationContext) async throws -> UpdateDocument.Output {
        let name = try input.name.required("name")
        let content = try input.content.required("content")
        try DocumentRules.checkFormat(input.documentFormat, UpdateDocument.name)
        return try await database.write { tx in
            try IdempotencyStore.once(context.retry, now: context.now, in: tx) {
                try Self.makeOwn(name, context, in: tx)
                let latest = try Self.existing(name, .latest, in: tx)
                _ = try DocumentRules.decode(content)
                guard [nil, "$LATEST", String(latest.version)].contains(input.documentVersion) else {
                    throw APIError.invalidDocumentVersion()
                }
                guard latest.hash != DocumentRules.hash(content) else {
                    throw APIError.duplicateDocumentContent("The content is that of the latest version, \(latest.version).")
                }
                let versions = try DocumentStore.versions(name, in: tx)
                guard versions.count < DocumentRules.maximumVersions else {
                    throw APIError.documentVersionLimitExceeded(
                        "The document has \(DocumentRules.maximumVersions) versions. Delete some that are not needed.")
                }
                if let versionName = input.versionName, let other = versions.first(where: { $0.versionName == versionName }) {
                    throw APIError.duplicateDocumentVersionName("Version \(other.version) has the name '\(versionName)'.")
                }
                try DocumentStore.append(
                    name, versionName: input.versionName, displayName: input.displayName ?? latest.displayName, content: content,
                    by: context.caller.arn, now: context.now, in: tx)
                // Preferences are in force once they are saved, as in Systems Manager: nobody means to turn run-as on some day.
                if name == BuiltInSessionDocument.preferences {
                    try DocumentStore.setDefault(name, try Self.existing(name, .latest, in: tx).version, in: tx)
                }
                let tags = try TagStore.tags(of: name, type: DocumentStore.tagType, in: tx)
                return try Self.changed(name, UpdateDocument.name, status: "Updating", tags: tags, context, in: tx)
            }.output
        }
    }

    @Sendable func setDefault(
        _ input: UpdateDocumentDefaultVersion.Input, _ context: OperationContext
    ) async throws -> UpdateDocumentDefaultVersion.Output {
        let name = try input.name.required("name")
        let selector = try DocumentStore.Selector(try input.documentVersion.required("documentVersion"))
        return try await database.write { tx in
            let version = try Self.existing(name, selector, in: tx)
            try DocumentStore.setDefault(name, version.version, in: tx)
            try AuditLog.append(
                context.audit(
                    UpdateDocumentDefaultVersion.name, resource: name,
                    details: ["version": String(version.version), "former": String(version.defaultVersion), "sha256": version.hash]),
                in: tx)
            return .init(
                description: .init(name: name, defaultVersion: String(version.version), defaultVersionName: version.versionName))
        }
    }

    /// The whole document, or one version of it that is not the default.
    @Sendable func delete(_ input: DeleteDocument.Input, _ context: OperationContext) async throws -> DeleteDocument.Output {
        let name = try input.name.required("name")
        try await database.write { tx in
            var details = ["version": "all"]
            if input.documentVersion == nil, input.versionName == nil {
                _ = try Self.existing(name, .latest, in: tx)
                try DocumentStore.remove(name, in: tx)
            } else {
                let version = try Self.existing(
                    name, try input.versionName.map { .named($0) } ?? DocumentStore.Selector(input.documentVersion), in: tx)
                if input.versionName != nil, let number = input.documentVersion {
                    let other = try Self.existing(name, DocumentStore.Selector(number), in: tx)
                    guard other.version == version.version else { throw APIError.invalidDocumentVersion() }
                }
                guard version.version != version.defaultVersion else {
                    throw APIError.invalidDocumentOperation(
                        "Version \(version.version) is the default of \(name). Make another one the default, or delete the whole document.")
                }
                try DocumentStore.remove(name, version: version.version, in: tx)
                details = ["version": String(version.version), "sha256": version.hash]
            }
            try AuditLog.append(context.audit(DeleteDocument.name, resource: name, details: details), in: tx)
        }
        return DeleteDocument.Output()
    }

    // MARK: Shared

    private static func insert(_ name: String, _ context: OperationContext, in tx: any SQLTransaction) throws {
        guard try DocumentStore.count(in: tx) < Int64(DocumentRules.maximumDocuments) else {
            throw APIError.documentLimitExceeded("There are \(DocumentRules.maximumDocuments) documents, which is the limit.")
        }
        try DocumentStore.insert(name, type: "Session", now: context.now, in: tx)
    }

    /// The preferences are there from the start, as a built-in document. Who updates them gets them as a document of their own, whose
    /// first version, and default until it is changed, is the built-in one.
    private static func makeOwn(_ name: String, _ context: OperationContext, in tx: any SQLTransaction) throws {
        guard name == BuiltInSessionDocument.preferences, try !DocumentStore.exists(name, in: tx),
            let builtIn = BuiltInSessionDocument.named(name)
        else { return }
        try insert(name, context, in: tx)
        try DocumentStore.append(
            name, versionName: nil, displayName: nil, content: builtIn.content, by: context.caller.arn, now: context.now, in: tx)
    }

    private static func existing(
        _ name: String, _ selector: DocumentStore.Selector, in tx: any SQLTransaction
    ) throws -> DocumentRecord {
        if let document = try DocumentStore.own(name, selector, in: tx) { return document }
        guard BuiltInDocuments.named(name) == nil, BuiltInSessionDocument.named(name) == nil else {
            throw APIError.invalidDocumentOperation("Document \(name) comes with Muster and cannot be changed.")
        }
        throw APIError.invalidDocument()
    }

    private static func changed(
        _ name: String, _ operation: String, status: String, tags: [String: String], _ context: OperationContext,
        in tx: any SQLTransaction
    ) throws -> DescribedDocument {
        let document = try existing(name, .latest, in: tx)
        var details = ["version": String(document.version), "sha256": document.hash, "documentType": document.type]
        if !tags.isEmpty, operation == CreateDocument.name { details["tagKeys"] = tags.keys.sorted().joined(separator: ", ") }
        try AuditLog.append(context.audit(operation, resource: name, details: details), in: tx)
        return DescribedDocument(
            documentDescription: DocumentOperations.description(of: document, tags: tags, account: context.account, status: status))
    }
}
