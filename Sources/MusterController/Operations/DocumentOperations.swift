import MusterDocuments
import MusterWire

/// GetDocument, DescribeDocument, ListDocuments, ListDocumentVersions, over the documents that come with Muster and operators' own.
package struct DocumentOperations: Sendable {
    private let database: any SQLDatabase
    private let paging: Paging

    package init(database: any SQLDatabase, pageTokenKey: [UInt8]) {
        self.database = database
        self.paging = Paging(key: pageTokenKey)
    }

    package func register(in table: inout OperationTable) {
        table.register(
            GetDocument.self, permission: "ssm:GetDocument", route: .operators,
            access: .on { input, context in [.document(input.name ?? "", context)] }, changes: false, get)
        table.register(
            DescribeDocument.self, permission: "ssm:DescribeDocument", route: .operators,
            access: .on { input, context in [.document(input.name ?? "", context)] }, changes: false, describe)
        table.register(
            DescribeDocumentPermission.self, permission: "ssm:DescribeDocumentPermission", route: .operators,
            access: .on { input, context in [.document(input.name ?? "", context)] }, changes: false, sharing)
        table.register(ListDocuments.self, permission: "ssm:ListDocuments", route: .operators, access: .anything, changes: false, list)
        table.register(
            ListDocumentVersions.self, permission: "ssm:ListDocumentVersions", route: .operators,
            access: .on { input, context in [.document(input.name ?? "", context)] }, changes: false, versions)
    }

    private static let format = "JSON"

    // MARK: One document

    @Sendable func get(_ input: GetDocument.Input, _ context: OperationContext) async throws -> GetDocument.Output {
        if let format = input.documentFormat, format != Self.format {
            throw APIError.validation("GetDocument does not serve DocumentFormat \(format) yet: ask for JSON.")
        }
        let document = try await database.read { tx in
            try Self.find(input.name, version: input.documentVersion, versionName: input.versionName, in: tx)
        }
        return GetDocument.Output(
            name: document.name, createdDate: document.createdAt, displayName: document.displayName, versionName: document.versionName,
            documentVersion: String(document.version), content: document.content, documentType: document.type, documentFormat: Self.format)
    }

    @Sendable func describe(_ input: DescribeDocument.Input, _ context: OperationContext) async throws -> DescribeDocument.Output {
        let (document, tags) = try await database.read { tx in
            let document = try Self.find(input.name, version: input.documentVersion, versionName: input.versionName, in: tx)
            return (document, try TagStore.tags(of: document.name, type: DocumentStore.tagType, in: tx))
        }
        return DescribeDocument.Output(document: Self.description(of: document, tags: tags, account: context.account))
    }

    /// There is one account, and nobody else to share with.
    @Sendable func sharing(
        _ input: DescribeDocumentPermission.Input, _ context: OperationContext
    ) async throws -> DescribeDocumentPermission.Output {
        _ = try await database.read { tx in try Self.find(input.name, version: nil, versionName: nil, in: tx) }
        return DescribeDocumentPermission.Output()
    }

    static func description(
        of document: DocumentRecord, tags: [String: String], account: String, status: String = "Active"
    ) -> DocumentDescription {
        let facts = DocumentFacts(document)
        return DocumentDescription(
            hash: document.hash, hashType: "Sha256", name: document.name, displayName: document.displayName,
            versionName: document.versionName, owner: Self.owner(of: document, account: account), createdDate: document.createdAt,
            status: status, documentVersion: String(document.version), description: facts.description, parameters: facts.parameters,
            platformTypes: facts.platformTypes, documentType: document.type, schemaVersion: facts.schemaVersion,
            latestVersion: String(document.latestVersion), defaultVersion: String(document.defaultVersion), documentFormat: Self.format,
            tags: tags.sorted { $0.key < $1.key }.map { Tag(key: $0.key, value: $0.value) })
    }

    private static func owner(of document: DocumentRecord, account: String) -> String { document.isBuiltIn ? "Amazon" : account }

    /// A document that commands run: one that is built in, by name or by ARN.
    static func command(_ name: String, version: String?) throws -> BuiltInDocument {
        let wanted = DocumentStore.plainName(name)
        guard let document = BuiltInDocuments.named(wanted) else {
            throw APIError.invalidDocument("Document with name \(wanted) does not exist.")
        }
        guard [nil, "$LATEST", "$DEFAULT", "1"].contains(version) else { throw APIError.invalidDocumentVersion() }
        return document
    }

    private static func find(
        _ name: String?, version: String?, versionName: String?, in tx: any SQLTransaction
    ) throws -> DocumentRecord {
        let name = try name.required("name")
        guard let versionName else { return try DocumentStore.record(name, DocumentStore.Selector(version), in: tx) }
        let document = try DocumentStore.record(name, .named(versionName), in: tx)
        if let version {
            let other = try DocumentStore.record(name, DocumentStore.Selector(version), in: tx)
            guard other.version == document.version else { throw APIError.invalidDocumentVersion() }
        }
        return document
    }

    // MARK: Versions

    @Sendable func versions(
        _ input: ListDocumentVersions.Input, _ context: OperationContext
    ) async throws -> ListDocumentVersions.Output {
        let name = DocumentStore.plainName(try input.name.required("name"))
        let position = try paging.position(input.nextToken, operation: ListDocumentVersions.name, filters: [name])
        let limit = input.maxResults ?? 50
        let all = try await database.read { tx in
            let own = try DocumentStore.versions(name, in: tx)
            return own.isEmpty ? [try DocumentStore.record(name, .standard, in: tx)] : own
        }
        let rest = Int64(position).map { last in all.filter { $0.version < last } } ?? all
        let page = rest.prefix(limit)
        let next = rest.count > limit ? page.last.map { String($0.version) } : nil
        return ListDocumentVersions.Output(
            documentVersions: page.map { document in
                DocumentVersionInfo(
                    name: document.name, displayName: document.displayName, documentVersion: String(document.version),
                    versionName: document.versionName, createdDate: document.createdAt,
                    isDefaultVersion: document.version == document.defaultVersion)
            },
            nextToken: try paging.token(after: next, operation: ListDocumentVersions.name, filters: [name]))
    }

    // MARK: List

    @Sendable func list(_ input: ListDocuments.Input, _ context: OperationContext) async throws -> ListDocuments.Output {
        let old = input.documentFilterList ?? []
        let new = input.filters ?? []
        guard old.isEmpty || new.isEmpty else {
            throw APIError.validation("Filters and DocumentFilterList cannot be given together.")
        }
        let filters =
            try old.map { DocumentKeyValuesFilter(key: $0.key, values: [try $0.value.required("value")]) }
            + new
        let conditions = try filters.map { try Condition($0) }
        let position = try paging.position(input.nextToken, operation: ListDocuments.name, filters: filters)
        let limit = input.maxResults ?? 50
        let found = try await database.read { tx in
            try DocumentStore.all(in: tx).filter { $0.name > position }.map { document in
                Listed(
                    record: document, facts: DocumentFacts(document),
                    tags: document.isBuiltIn ? [:] : try TagStore.tags(of: document.name, type: DocumentStore.tagType, in: tx))
            }
        }.filter { document in conditions.allSatisfy { $0.matches(document) } }
        let page = found.prefix(limit)
        let next = found.count > limit ? page.last?.record.name : nil
        return ListDocuments.Output(
            documentIdentifiers: page.map { document in
                let record = document.record
                return DocumentIdentifier(
                    name: record.name, createdDate: record.createdAt, displayName: record.displayName,
                    owner: Self.owner(of: record, account: context.account), versionName: record.versionName,
                    platformTypes: document.facts.platformTypes, documentVersion: String(record.version), documentType: record.type,
                    schemaVersion: document.facts.schemaVersion, documentFormat: Self.format,
                    tags: document.tags.sorted { $0.key < $1.key }.map { Tag(key: $0.key, value: $0.value) })
            },
            nextToken: try paging.token(after: next, operation: ListDocuments.name, filters: filters))
    }

    private struct Listed: Sendable {
        let record: DocumentRecord
        let facts: DocumentFacts
        let tags: [String: String]
    }

    /// https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_DocumentKeyValuesFilter.html
    private enum Condition {
        case owner(String)
        case namePrefixes([String])
        case platforms([String])
        case types([String])
        case words([String])
        case tag(key: String, values: [String])
        /// No document has a target type.
        case nothing

        init(_ filter: DocumentKeyValuesFilter) throws {
            let key = try filter.key.required("key")
            let values = filter.values ?? []
            guard !values.isEmpty else { throw APIError.validation("Filter \(key) has no values.") }
            switch key {
            case "Owner":
                guard values.count == 1 else { throw APIError.validation("Filter Owner takes one value.") }
                guard ["Self", "Amazon", "Private", "Public", "ThirdParty", "All"].contains(values[0]) else {
                    throw APIError.validation("Filter Owner takes Self, Amazon, Private, Public or ThirdParty.")
                }
                self = .owner(values[0])
            case "Name": self = .namePrefixes(values)
            case "PlatformTypes": self = .platforms(values)
            case "DocumentType": self = .types(values)
            case "SearchKeyword": self = .words(values.map { $0.lowercased() })
            case "TargetType": self = .nothing
            default:
                guard key.hasPrefix("tag:"), key.utf8.count > 4 else {
                    throw APIError.invalidFilterKey("'\(key.prefix(128))' is not a filter key of ListDocuments.")
                }
                self = .tag(key: String(key.dropFirst(4)), values: values)
            }
        }

        func matches(_ document: Listed) -> Bool {
            let name = document.record.name
            return switch self {
            case .owner("All"): true
            case .owner(let owner): (document.record.isBuiltIn ? ["Amazon", "Public"] : ["Self", "Private"]).contains(owner)
            case .namePrefixes(let prefixes): prefixes.contains { name.hasPrefix($0) }
            case .platforms(let platforms): document.facts.platformTypes.contains { platforms.contains($0) }
            case .types(let types): types.contains(document.record.type)
            case .words(let words): words.contains { name.lowercased().contains($0) }
            case .tag(let key, let values): document.tags[key].map(values.contains) ?? false
            case .nothing: false
            }
        }
    }
}

/// What is shown of a document's content.
struct DocumentFacts: Sendable {
    let schemaVersion: String
    let description: String
    let platformTypes: [String]
    let parameters: [DocumentParameter]

    init(_ record: DocumentRecord) {
        let json = Array(record.content.utf8)
        var parameters: [String: ParameterDefinition] = [:]
        if record.type == "Session", let document = try? SessionDocument.decode(json: json) {
            schemaVersion = SessionDocument.schemaVersion
            description = document.description
            platformTypes = document.platformTypes.map(\.rawValue)
            parameters = document.parameters
        } else if let document = try? DocumentDecoder.decode(json: json) {
            schemaVersion = document.schemaVersion.rawValue
            description = document.description
            platformTypes = document.platformTypes.map(\.rawValue)
            parameters = document.parameters
        } else {
            (schemaVersion, description, platformTypes) = ("", "", [])
        }
        self.parameters = parameters.values.sorted { $0.name < $1.name }.map { parameter in
            DocumentParameter(
                name: parameter.name, type: parameter.reportedType, description: parameter.description,
                defaultValue: parameter.defaultText)
        }
    }
}
