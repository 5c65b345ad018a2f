import MusterCrypto
import MusterDocuments
import MusterWire

/// GetDocument, DescribeDocument, ListDocuments, over the documents that come with Muster.
package struct DocumentOperations: Sendable {
    private let paging: Paging

    package init(pageTokenKey: [UInt8]) {
        self.paging = Paging(key: pageTokenKey)
    }

    package func register(in table: inout OperationTable) {
        table.register(GetDocument.self, permission: "ssm:GetDocument", route: .operators, changes: false, get)
        table.register(DescribeDocument.self, permission: "ssm:DescribeDocument", route: .operators, changes: false, describe)
        table.register(ListDocuments.self, permission: "ssm:ListDocuments", route: .operators, changes: false, list)
    }

    private static let version = "1"
    private static let owner = "Amazon"
    private static let type = "Command"
    private static let format = "JSON"

    // MARK: One document

    @Sendable func get(_ input: GetDocument.Input, _ context: OperationContext) async throws -> GetDocument.Output {
        if let format = input.documentFormat, format != Self.format {
            throw APIError.validation("GetDocument does not serve DocumentFormat \(format) yet: ask for JSON.")
        }
        let document = try Self.find(input.name.required("name"), version: input.documentVersion, versionName: input.versionName)
        return GetDocument.Output(
            name: document.name, createdDate: Timestamp(milliseconds: document.createdDate * 1000), documentVersion: Self.version,
            content: document.content, documentType: Self.type, documentFormat: Self.format)
    }

    @Sendable func describe(_ input: DescribeDocument.Input, _ context: OperationContext) async throws -> DescribeDocument.Output {
        let document = try Self.find(input.name.required("name"), version: input.documentVersion, versionName: input.versionName)
        let parameters = document.document.parameters.values.sorted { $0.name < $1.name }.map { parameter in
            DocumentParameter(
                name: parameter.name, type: parameter.reportedType, description: parameter.description,
                defaultValue: parameter.defaultText)
        }
        return DescribeDocument.Output(
            document: DocumentDescription(
                hash: Hex.encode(SHA256.hash(document.content)), hashType: "Sha256", name: document.name, owner: Self.owner,
                createdDate: Timestamp(milliseconds: document.createdDate * 1000), status: "Active", documentVersion: Self.version,
                description: document.description, parameters: parameters,
                platformTypes: document.platformTypes.map(\.rawValue), documentType: Self.type,
                schemaVersion: document.document.schemaVersion.rawValue, latestVersion: Self.version, defaultVersion: Self.version,
                documentFormat: Self.format))
    }

    /// Also by ARN, of which the part after `document/` counts.
    static func find(_ name: String, version: String?, versionName: String? = nil) throws -> BuiltInDocument {
        let parts = name.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
        let isARN = name.hasPrefix("arn:") && parts.count == 2 && parts[0].hasSuffix(":document")
        let wanted = isARN ? String(parts[1]) : name
        guard let document = BuiltInDocuments.named(wanted) else {
            throw APIError.invalidDocument("Document with name \(wanted) does not exist.")
        }
        guard versionName == nil, [nil, "$LATEST", "$DEFAULT", Self.version].contains(version) else {
            throw APIError.invalidDocumentVersion()
        }
        return document
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
        let found = BuiltInDocuments.all
            .filter { document in document.name > position && conditions.allSatisfy { $0.matches(document) } }
            .sorted { $0.name < $1.name }
        let page = found.prefix(limit)
        let next = found.count > limit ? page.last?.name : nil
        return ListDocuments.Output(
            documentIdentifiers: page.map { document in
                DocumentIdentifier(
                    name: document.name, createdDate: Timestamp(milliseconds: document.createdDate * 1000), owner: Self.owner,
                    platformTypes: document.platformTypes.map(\.rawValue), documentVersion: Self.version, documentType: Self.type,
                    schemaVersion: document.document.schemaVersion.rawValue, documentFormat: Self.format)
            },
            nextToken: try paging.token(after: next, operation: ListDocuments.name, filters: filters))
    }

    /// https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_DocumentKeyValuesFilter.html
    private enum Condition {
        case owner(String)
        case namePrefixes([String])
        case platforms([String])
        case types([String])
        case words([String])
        /// Built-in documents have no target type and no tags.
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
                self = .nothing
            }
        }

        func matches(_ document: BuiltInDocument) -> Bool {
            switch self {
            case .owner(let owner): ["Amazon", "Public", "All"].contains(owner)
            case .namePrefixes(let prefixes): prefixes.contains { document.name.hasPrefix($0) }
            case .platforms(let platforms): document.platformTypes.contains { platforms.contains($0.rawValue) }
            case .types(let types): types.contains(DocumentOperations.type)
            case .words(let words): words.contains { document.name.lowercased().contains($0) }
            case .nothing: false
            }
        }
    }
}
