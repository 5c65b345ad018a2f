package enum CreateDocument: Operation {
    package static let name = "CreateDocument"

    package struct Input: Codable, Sendable, Equatable, Validatable {
        package var content: String?
        package var requires: [JSONValue]?
        package var attachments: [JSONValue]?
        package var name: String?
        package var displayName: String?
        package var versionName: String?
        package var documentType: String?
        package var documentFormat: String?
        package var targetType: String?
        package var tags: [Tag]?

        package init(
            content: String? = nil, requires: [JSONValue]? = nil, attachments: [JSONValue]? = nil, name: String? = nil,
            displayName: String? = nil, versionName: String? = nil, documentType: String? = nil, documentFormat: String? = nil,
            targetType: String? = nil, tags: [Tag]? = nil
        ) {
            self.content = content
            self.requires = requires
            self.attachments = attachments
            self.name = name
            self.displayName = displayName
            self.versionName = versionName
            self.documentType = documentType
            self.documentFormat = documentFormat
            self.targetType = targetType
            self.tags = tags
        }

        enum CodingKeys: String, CodingKey {
            case content = "Content"
            case requires = "Requires"
            case attachments = "Attachments"
            case name = "Name"
            case displayName = "DisplayName"
            case versionName = "VersionName"
            case documentType = "DocumentType"
            case documentFormat = "DocumentFormat"
            case targetType = "TargetType"
            case tags = "Tags"
        }

        package func validate(_ validation: inout Validation) {
            validation.string("content", content, .required, .minimum(1), secret: true)
            validation.string("name", name, .required, .pattern(.documentName))
            validation.string("displayName", displayName, .maximum(1024), .pattern(.documentDisplayName))
            validation.string("versionName", versionName, .pattern(.documentVersionName))
            validation.string("documentType", documentType, .oneOf(documentTypes))
            validation.string("documentFormat", documentFormat, .oneOf(["YAML", "JSON", "TEXT"]))
            validation.tags("tags", tags)
        }

        package var unserved: [String] {
            [("Requires", requires), ("Attachments", attachments)].filter { !($0.1 ?? []).isEmpty }.map(\.0)
                + (targetType == nil ? [] : ["TargetType"])
        }
    }

    package typealias Output = DescribedDocument
}

package enum UpdateDocument: Operation {
    package static let name = "UpdateDocument"

    package struct Input: Codable, Sendable, Equatable, Validatable {
        package var content: String?
        package var attachments: [JSONValue]?
        package var name: String?
        package var displayName: String?
        package var versionName: String?
        package var documentVersion: String?
        package var documentFormat: String?
        package var targetType: String?

        package init(
            content: String? = nil, attachments: [JSONValue]? = nil, name: String? = nil, displayName: String? = nil,
            versionName: String? = nil, documentVersion: String? = nil, documentFormat: String? = nil, targetType: String? = nil
        ) {
            self.content = content
            self.attachments = attachments
            self.name = name
            self.displayName = displayName
            self.versionName = versionName
            self.documentVersion = documentVersion
            self.documentFormat = documentFormat
            self.targetType = targetType
        }

        enum CodingKeys: String, CodingKey {
            case content = "Content"
            case attachments = "Attachments"
            case name = "Name"
            case displayName = "DisplayName"
            case versionName = "VersionName"
            case documentVersion = "DocumentVersion"
            case documentFormat = "DocumentFormat"
            case targetType = "TargetType"
        }

        package func validate(_ validation: inout Validation) {
            validation.string("content", content, .required, .minimum(1), secret: true)
            validation.string("name", name, .required, .pattern(.documentName))
            validation.string("displayName", displayName, .maximum(1024), .pattern(.documentDisplayName))
            validation.string("versionName", versionName, .pattern(.documentVersionName))
            validation.string("documentVersion", documentVersion, .pattern(.documentVersion))
            validation.string("documentFormat", documentFormat, .oneOf(["YAML", "JSON", "TEXT"]))
        }

        package var unserved: [String] {
            ((attachments ?? []).isEmpty ? [] : ["Attachments"]) + (targetType == nil ? [] : ["TargetType"])
        }
    }

    package typealias Output = DescribedDocument
}

/// What creating and updating a document answer.
package struct DescribedDocument: Codable, Sendable, Equatable {
    package var documentDescription: DocumentDescription

    package init(documentDescription: DocumentDescription) {
        self.documentDescription = documentDescription
    }

    enum CodingKeys: String, CodingKey {
        case documentDescription = "DocumentDescription"
    }
}

package enum UpdateDocumentDefaultVersion: Operation {
    package static let name = "UpdateDocumentDefaultVersion"

    package struct Input: Codable, Sendable, Equatable, Validatable {
        package var name: String?
        package var documentVersion: String?

        package init(name: String? = nil, documentVersion: String? = nil) {
            self.name = name
            self.documentVersion = documentVersion
        }

        enum CodingKeys: String, CodingKey {
            case name = "Name"
            case documentVersion = "DocumentVersion"
        }

        package func validate(_ validation: inout Validation) {
            validation.string("name", name, .required, .pattern(.documentName))
            validation.string("documentVersion", documentVersion, .required, .pattern(.documentVersionNumber))
        }
    }

    package struct Output: Codable, Sendable, Equatable {
        package struct Description: Codable, Sendable, Equatable {
            package var name: String
            package var defaultVersion: String
            package var defaultVersionName: String?

            package init(name: String, defaultVersion: String, defaultVersionName: String? = nil) {
                self.name = name
                self.defaultVersion = defaultVersion
                self.defaultVersionName = defaultVersionName
            }

            enum CodingKeys: String, CodingKey {
                case name = "Name"
                case defaultVersion = "DefaultVersion"
                case defaultVersionName = "DefaultVersionName"
            }
        }

        package var description: Description

        package init(description: Description) {
            self.description = description
        }

        enum CodingKeys: String, CodingKey {
            case description = "Description"
        }
    }
}

package enum DeleteDocument: Operation {
    package static let name = "DeleteDocument"

    package struct Input: Codable, Sendable, Equatable, Validatable {
        package var name: String?
        package var documentVersion: String?
        package var versionName: String?
        /// Only for documents of kinds that are not served: nothing else needs to be forced.
        package var force: Bool?

        package init(name: String? = nil, documentVersion: String? = nil, versionName: String? = nil, force: Bool? = nil) {
            self.name = name
            self.documentVersion = documentVersion
            self.versionName = versionName
            self.force = force
        }

        enum CodingKeys: String, CodingKey {
            case name = "Name"
            case documentVersion = "DocumentVersion"
            case versionName = "VersionName"
            case force = "Force"
        }

        package func validate(_ validation: inout Validation) {
            validation.string("name", name, .required, .pattern(.documentName))
            validation.string("documentVersion", documentVersion, .pattern(.documentVersion))
            validation.string("versionName", versionName, .pattern(.documentVersionName))
        }
    }

    package typealias Output = EmptyOutput
}

package enum ListDocumentVersions: Operation {
    package static let name = "ListDocumentVersions"

    package struct Input: Codable, Sendable, Equatable, Validatable {
        package var name: String?
        package var maxResults: Int?
        package var nextToken: String?

        package init(name: String? = nil, maxResults: Int? = nil, nextToken: String? = nil) {
            self.name = name
            self.maxResults = maxResults
            self.nextToken = nextToken
        }

        enum CodingKeys: String, CodingKey {
            case name = "Name"
            case maxResults = "MaxResults"
            case nextToken = "NextToken"
        }

        package func validate(_ validation: inout Validation) {
            validation.string("name", name, .required, .pattern(.documentARN))
            validation.page(maxResults, 1...50)
        }
    }

    package struct Output: Codable, Sendable, Equatable {
        package var documentVersions: [DocumentVersionInfo]
        package var nextToken: String?

        package init(documentVersions: [DocumentVersionInfo], nextToken: String? = nil) {
            self.documentVersions = documentVersions
            self.nextToken = nextToken
        }

        enum CodingKeys: String, CodingKey {
            case documentVersions = "DocumentVersions"
            case nextToken = "NextToken"
        }
    }
}

package struct DocumentVersionInfo: Codable, Sendable, Equatable {
    package var name: String
    package var displayName: String?
    package var documentVersion: String
    package var versionName: String?
    package var createdDate: Timestamp
    package var isDefaultVersion: Bool
    package var documentFormat: String
    package var status: String

    package init(
        name: String, displayName: String? = nil, documentVersion: String, versionName: String? = nil, createdDate: Timestamp,
        isDefaultVersion: Bool, documentFormat: String = "JSON", status: String = "Active"
    ) {
        self.name = name
        self.displayName = displayName
        self.documentVersion = documentVersion
        self.versionName = versionName
        self.createdDate = createdDate
        self.isDefaultVersion = isDefaultVersion
        self.documentFormat = documentFormat
        self.status = status
    }

    enum CodingKeys: String, CodingKey {
        case name = "Name"
        case displayName = "DisplayName"
        case documentVersion = "DocumentVersion"
        case versionName = "VersionName"
        case createdDate = "CreatedDate"
        case isDefaultVersion = "IsDefaultVersion"
        case documentFormat = "DocumentFormat"
        case status = "Status"
    }
}

private let documentTypes = [
    "Command", "Policy", "Automation", "Session", "Package", "ApplicationConfiguration", "ApplicationConfigurationSchema",
    "DeploymentStrategy", "ChangeCalendar", "Automation.ChangeTemplate", "ProblemAnalysis", "ProblemAnalysisTemplate", "CloudFormation",
    "ConformancePackTemplate", "QuickSetup", "ManualApprovalPolicy", "AutoApprovalPolicy",
]
