package enum GetDocument: Operation {
    package static let name = "GetDocument"

    package struct Input: Codable, Sendable, Equatable, Validatable {
        package var name: String?
        package var versionName: String?
        package var documentVersion: String?
        package var documentFormat: String?

        package init(name: String? = nil, versionName: String? = nil, documentVersion: String? = nil, documentFormat: String? = nil) {
            self.name = name
            self.versionName = versionName
            self.documentVersion = documentVersion
            self.documentFormat = documentFormat
        }

        enum CodingKeys: String, CodingKey {
            case name = "Name"
            case versionName = "VersionName"
            case documentVersion = "DocumentVersion"
            case documentFormat = "DocumentFormat"
        }

        package func validate(_ validation: inout Validation) {
            validation.string("name", name, .required, .pattern(.documentARN))
            validation.string("versionName", versionName, .pattern(.documentVersionName))
            validation.string("documentVersion", documentVersion, .pattern(.documentVersion))
            validation.string("documentFormat", documentFormat, .oneOf(["YAML", "JSON", "TEXT"]))
        }
    }

    package struct Output: Codable, Sendable, Equatable {
        package var name: String
        package var createdDate: Timestamp?
        package var displayName: String?
        package var versionName: String?
        package var documentVersion: String
        package var status: String
        package var statusInformation: String?
        package var content: String
        package var documentType: String
        package var documentFormat: String

        package init(
            name: String, createdDate: Timestamp? = nil, displayName: String? = nil, versionName: String? = nil, documentVersion: String,
            status: String = "Active", statusInformation: String? = nil, content: String, documentType: String, documentFormat: String
        ) {
            self.name = name
            self.createdDate = createdDate
            self.displayName = displayName
            self.versionName = versionName
            self.documentVersion = documentVersion
            self.status = status
            self.statusInformation = statusInformation
            self.content = content
            self.documentType = documentType
            self.documentFormat = documentFormat
        }

        enum CodingKeys: String, CodingKey {
            case name = "Name"
            case createdDate = "CreatedDate"
            case displayName = "DisplayName"
            case versionName = "VersionName"
            case documentVersion = "DocumentVersion"
            case status = "Status"
            case statusInformation = "StatusInformation"
            case content = "Content"
            case documentType = "DocumentType"
            case documentFormat = "DocumentFormat"
        }
    }
}

package enum DescribeDocument: Operation {
    package static let name = "DescribeDocument"

    package struct Input: Codable, Sendable, Equatable, Validatable {
        package var name: String?
        package var documentVersion: String?
        package var versionName: String?

        package init(name: String? = nil, documentVersion: String? = nil, versionName: String? = nil) {
            self.name = name
            self.documentVersion = documentVersion
            self.versionName = versionName
        }

        enum CodingKeys: String, CodingKey {
            case name = "Name"
            case documentVersion = "DocumentVersion"
            case versionName = "VersionName"
        }

        package func validate(_ validation: inout Validation) {
            validation.string("name", name, .required, .pattern(.documentARN))
            validation.string("documentVersion", documentVersion, .pattern(.documentVersion))
            validation.string("versionName", versionName, .pattern(.documentVersionName))
        }
    }

    package struct Output: Codable, Sendable, Equatable {
        package var document: DocumentDescription

        package init(document: DocumentDescription) {
            self.document = document
        }

        enum CodingKeys: String, CodingKey {
            case document = "Document"
        }
    }
}

/// With whom a document is shared, which tools read beside DescribeDocument.
package enum DescribeDocumentPermission: Operation {
    package static let name = "DescribeDocumentPermission"

    package struct Input: Codable, Sendable, Equatable, Validatable {
        package var name: String?
        package var permissionType: String?
        package var maxResults: Int?
        package var nextToken: String?

        package init(name: String? = nil, permissionType: String? = nil, maxResults: Int? = nil, nextToken: String? = nil) {
            self.name = name
            self.permissionType = permissionType
            self.maxResults = maxResults
            self.nextToken = nextToken
        }

        enum CodingKeys: String, CodingKey {
            case name = "Name"
            case permissionType = "PermissionType"
            case maxResults = "MaxResults"
            case nextToken = "NextToken"
        }

        package func validate(_ validation: inout Validation) {
            validation.string("name", name, .required, .pattern(.documentARN))
            validation.string("permissionType", permissionType, .required, .oneOf(["Share"]))
            validation.integer("maxResults", maxResults, 1...200)
        }
    }

    package struct Output: Codable, Sendable, Equatable {
        package var accountIDs: [String]
        package var accountSharingInfoList: [String]

        /// Shared with nobody: there is one account.
        package init() {
            accountIDs = []
            accountSharingInfoList = []
        }

        enum CodingKeys: String, CodingKey {
            case accountIDs = "AccountIds"
            case accountSharingInfoList = "AccountSharingInfoList"
        }
    }
}

package enum ListDocuments: Operation {
    package static let name = "ListDocuments"

    package struct Input: Codable, Sendable, Equatable, Validatable {
        package var documentFilterList: [DocumentFilter]?
        package var filters: [DocumentKeyValuesFilter]?
        package var maxResults: Int?
        package var nextToken: String?

        package init(
            documentFilterList: [DocumentFilter]? = nil, filters: [DocumentKeyValuesFilter]? = nil, maxResults: Int? = nil,
            nextToken: String? = nil
        ) {
            self.documentFilterList = documentFilterList
            self.filters = filters
            self.maxResults = maxResults
            self.nextToken = nextToken
        }

        enum CodingKeys: String, CodingKey {
            case documentFilterList = "DocumentFilterList"
            case filters = "Filters"
            case maxResults = "MaxResults"
            case nextToken = "NextToken"
        }

        package func validate(_ validation: inout Validation) {
            validation.structures("documentFilterList", documentFilterList, count: 1...Int.max) { validation, filter, path in
                validation.string("\(path).key", filter.key, .required, .oneOf(["Name", "Owner", "PlatformTypes", "DocumentType"]))
                validation.string("\(path).value", filter.value, .required, .minimum(1))
            }
            validation.structures("filters", filters, count: 0...6) { validation, filter, path in
                validation.string("\(path).key", filter.key, .length(1...128))
                validation.strings("\(path).values", filter.values, each: .length(1...256))
            }
            validation.page(maxResults, 1...50)
        }
    }

    package struct Output: Codable, Sendable, Equatable {
        package var documentIdentifiers: [DocumentIdentifier]
        package var nextToken: String?

        package init(documentIdentifiers: [DocumentIdentifier], nextToken: String? = nil) {
            self.documentIdentifiers = documentIdentifiers
            self.nextToken = nextToken
        }

        enum CodingKeys: String, CodingKey {
            case documentIdentifiers = "DocumentIdentifiers"
            case nextToken = "NextToken"
        }
    }
}

package struct DocumentDescription: Codable, Sendable, Equatable {
    package var hash: String
    package var hashType: String
    package var name: String
    package var displayName: String?
    package var versionName: String?
    package var owner: String
    package var createdDate: Timestamp?
    package var status: String
    package var statusInformation: String?
    package var documentVersion: String
    package var description: String?
    package var parameters: [DocumentParameter]?
    package var platformTypes: [String]
    package var documentType: String
    package var schemaVersion: String
    package var latestVersion: String
    package var defaultVersion: String
    package var documentFormat: String
    package var targetType: String?
    package var tags: [Tag]

    package init(
        hash: String, hashType: String = "Sha256", name: String, displayName: String? = nil, versionName: String? = nil, owner: String,
        createdDate: Timestamp? = nil, status: String = "Active", statusInformation: String? = nil, documentVersion: String,
        description: String? = nil, parameters: [DocumentParameter]? = nil, platformTypes: [String], documentType: String,
        schemaVersion: String, latestVersion: String, defaultVersion: String, documentFormat: String = "JSON", targetType: String? = nil,
        tags: [Tag] = []
    ) {
        self.hash = hash
        self.hashType = hashType
        self.name = name
        self.displayName = displayName
        self.versionName = versionName
        self.owner = owner
        self.createdDate = createdDate
        self.status = status
        self.statusInformation = statusInformation
        self.documentVersion = documentVersion
        self.description = description
        self.parameters = parameters
        self.platformTypes = platformTypes
        self.documentType = documentType
        self.schemaVersion = schemaVersion
        self.latestVersion = latestVersion
        self.defaultVersion = defaultVersion
        self.documentFormat = documentFormat
        self.targetType = targetType
        self.tags = tags
    }

    enum CodingKeys: String, CodingKey {
        case hash = "Hash"
        case hashType = "HashType"
        case name = "Name"
        case displayName = "DisplayName"
        case versionName = "VersionName"
        case owner = "Owner"
        case createdDate = "CreatedDate"
        case status = "Status"
        case statusInformation = "StatusInformation"
        case documentVersion = "DocumentVersion"
        case description = "Description"
        case parameters = "Parameters"
        case platformTypes = "PlatformTypes"
        case documentType = "DocumentType"
        case schemaVersion = "SchemaVersion"
        case latestVersion = "LatestVersion"
        case defaultVersion = "DefaultVersion"
        case documentFormat = "DocumentFormat"
        case targetType = "TargetType"
        case tags = "Tags"
    }
}

package struct DocumentParameter: Codable, Sendable, Equatable {
    package var name: String
    /// `String` or `StringList`; SSM shows no other.
    package var type: String
    package var description: String?
    /// Text: lists and maps are written as JSON.
    package var defaultValue: String?

    package init(name: String, type: String, description: String? = nil, defaultValue: String? = nil) {
        self.name = name
        self.type = type
        self.description = description
        self.defaultValue = defaultValue
    }

    enum CodingKeys: String, CodingKey {
        case name = "Name"
        case type = "Type"
        case description = "Description"
        case defaultValue = "DefaultValue"
    }
}

package struct DocumentIdentifier: Codable, Sendable, Equatable {
    package var name: String
    package var createdDate: Timestamp?
    package var displayName: String?
    package var owner: String
    package var versionName: String?
    package var platformTypes: [String]
    package var documentVersion: String
    package var documentType: String
    package var schemaVersion: String
    package var documentFormat: String
    package var targetType: String?
    package var tags: [Tag]

    package init(
        name: String, createdDate: Timestamp? = nil, displayName: String? = nil, owner: String, versionName: String? = nil,
        platformTypes: [String], documentVersion: String, documentType: String, schemaVersion: String, documentFormat: String = "JSON",
        targetType: String? = nil, tags: [Tag] = []
    ) {
        self.name = name
        self.createdDate = createdDate
        self.displayName = displayName
        self.owner = owner
        self.versionName = versionName
        self.platformTypes = platformTypes
        self.documentVersion = documentVersion
        self.documentType = documentType
        self.schemaVersion = schemaVersion
        self.documentFormat = documentFormat
        self.targetType = targetType
        self.tags = tags
    }

    enum CodingKeys: String, CodingKey {
        case name = "Name"
        case createdDate = "CreatedDate"
        case displayName = "DisplayName"
        case owner = "Owner"
        case versionName = "VersionName"
        case platformTypes = "PlatformTypes"
        case documentVersion = "DocumentVersion"
        case documentType = "DocumentType"
        case schemaVersion = "SchemaVersion"
        case documentFormat = "DocumentFormat"
        case targetType = "TargetType"
        case tags = "Tags"
    }
}

/// The older kind of filter; it cannot be mixed with the other.
package struct DocumentFilter: Codable, Sendable, Hashable, JavaText {
    package var key: String?
    package var value: String?

    package init(key: String? = nil, value: String? = nil) {
        self.key = key
        self.value = value
    }

    enum CodingKeys: String, CodingKey {
        case key
        case value
    }

    package var javaText: String { javaStructure("DocumentFilter", [("key", self.key), ("value", self.value)]) }
}

package struct DocumentKeyValuesFilter: Codable, Sendable, Hashable, JavaText {
    package var key: String?
    package var values: [String]?

    package init(key: String? = nil, values: [String]? = nil) {
        self.key = key
        self.values = values
    }

    enum CodingKeys: String, CodingKey {
        case key = "Key"
        case values = "Values"
    }

    package var javaText: String { javaStructure("DocumentKeyValuesFilter", [("key", self.key), ("values", self.values)]) }
}
