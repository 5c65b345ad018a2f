package enum AddTagsToResource: Operation {
    package static let name = "AddTagsToResource"

    package struct Input: Codable, Sendable, Equatable, Validatable {
        package var resourceType: String?
        package var resourceID: String?
        package var tags: [Tag]?

        package init(resourceType: String? = nil, resourceID: String? = nil, tags: [Tag]? = nil) {
            self.resourceType = resourceType
            self.resourceID = resourceID
            self.tags = tags
        }

        enum CodingKeys: String, CodingKey {
            case resourceType = "ResourceType"
            case resourceID = "ResourceId"
            case tags = "Tags"
        }

        package func validate(_ validation: inout Validation) {
            validation.string("resourceType", resourceType, .required, .oneOf(resourceTypes))
            validation.required("resourceId", resourceID)
            validation.required("tags", tags)
            validation.tags("tags", tags)
        }
    }

    package typealias Output = EmptyOutput
}

package enum RemoveTagsFromResource: Operation {
    package static let name = "RemoveTagsFromResource"

    package struct Input: Codable, Sendable, Equatable, Validatable {
        package var resourceType: String?
        package var resourceID: String?
        package var tagKeys: [String]?

        package init(resourceType: String? = nil, resourceID: String? = nil, tagKeys: [String]? = nil) {
            self.resourceType = resourceType
            self.resourceID = resourceID
            self.tagKeys = tagKeys
        }

        enum CodingKeys: String, CodingKey {
            case resourceType = "ResourceType"
            case resourceID = "ResourceId"
            case tagKeys = "TagKeys"
        }

        package func validate(_ validation: inout Validation) {
            validation.string("resourceType", resourceType, .required, .oneOf(resourceTypes))
            validation.required("resourceId", resourceID)
            validation.required("tagKeys", tagKeys)
            validation.strings("tagKeys", tagKeys, each: .length(1...128), .pattern(.tagText))
        }
    }

    package typealias Output = EmptyOutput
}

package enum ListTagsForResource: Operation {
    package static let name = "ListTagsForResource"

    package struct Input: Codable, Sendable, Equatable, Validatable {
        package var resourceType: String?
        package var resourceID: String?

        package init(resourceType: String? = nil, resourceID: String? = nil) {
            self.resourceType = resourceType
            self.resourceID = resourceID
        }

        enum CodingKeys: String, CodingKey {
            case resourceType = "ResourceType"
            case resourceID = "ResourceId"
        }

        package func validate(_ validation: inout Validation) {
            validation.string("resourceType", resourceType, .required, .oneOf(resourceTypes))
            validation.required("resourceId", resourceID)
        }
    }

    package struct Output: Codable, Sendable, Equatable {
        package var tagList: [Tag]

        package init(tagList: [Tag]) {
            self.tagList = tagList
        }

        enum CodingKeys: String, CodingKey {
            case tagList = "TagList"
        }
    }
}

private let resourceTypes = [
    "Document", "ManagedInstance", "MaintenanceWindow", "Parameter", "PatchBaseline", "OpsItem", "OpsMetadata", "Automation", "Association",
]
