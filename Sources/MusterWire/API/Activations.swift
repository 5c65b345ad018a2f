package enum CreateActivation: Operation {
    package static let name = "CreateActivation"

    package struct Input: Codable, Sendable, Equatable, Validatable {
        package var iamRole: String?
        package var description: String?
        package var defaultInstanceName: String?
        package var registrationLimit: Int?
        package var expirationDate: Timestamp?
        package var tags: [Tag]?
        package var registrationMetadata: [RegistrationMetadataItem]?

        package init(
            iamRole: String? = nil, description: String? = nil, defaultInstanceName: String? = nil, registrationLimit: Int? = nil,
            expirationDate: Timestamp? = nil, tags: [Tag]? = nil, registrationMetadata: [RegistrationMetadataItem]? = nil
        ) {
            self.iamRole = iamRole
            self.description = description
            self.defaultInstanceName = defaultInstanceName
            self.registrationLimit = registrationLimit
            self.expirationDate = expirationDate
            self.tags = tags
            self.registrationMetadata = registrationMetadata
        }

        enum CodingKeys: String, CodingKey {
            case iamRole = "IamRole"
            case description = "Description"
            case defaultInstanceName = "DefaultInstanceName"
            case registrationLimit = "RegistrationLimit"
            case expirationDate = "ExpirationDate"
            case tags = "Tags"
            case registrationMetadata = "RegistrationMetadata"
        }

        package func validate(_ validation: inout Validation) {
            validation.string("description", description, .maximum(256))
            validation.string("defaultInstanceName", defaultInstanceName, .maximum(256), .pattern(.tagText))
            validation.string("iamRole", iamRole, .required, .maximum(64))
            validation.integer("registrationLimit", registrationLimit, 1...1000)
            validation.tags("tags", tags)
            validation.structures("registrationMetadata", registrationMetadata) { validation, item, path in
                validation.string("\(path).key", item.key, .required, .length(1...128), .pattern(.notBlank))
                validation.string("\(path).value", item.value, .required, .length(1...2048), .pattern(.notBlank))
            }
        }

        package var unserved: [String] {
            (registrationMetadata ?? []).isEmpty ? [] : ["RegistrationMetadata"]
        }
    }

    package struct Output: Codable, Sendable, Equatable, Redacted {
        package var activationID: ActivationID
        /// Shown this once; 20 to 250 characters.
        package var activationCode: String

        package init(activationID: ActivationID, activationCode: String) {
            self.activationID = activationID
            self.activationCode = activationCode
        }

        enum CodingKeys: String, CodingKey {
            case activationID = "ActivationId"
            case activationCode = "ActivationCode"
        }
    }
}

package enum DescribeActivations: Operation {
    package static let name = "DescribeActivations"

    package struct Input: Codable, Sendable, Equatable, Validatable {
        package var filters: [DescribeActivationsFilter]?
        package var maxResults: Int?
        package var nextToken: String?

        package init(filters: [DescribeActivationsFilter]? = nil, maxResults: Int? = nil, nextToken: String? = nil) {
            self.filters = filters
            self.maxResults = maxResults
            self.nextToken = nextToken
        }

        enum CodingKeys: String, CodingKey {
            case filters = "Filters"
            case maxResults = "MaxResults"
            case nextToken = "NextToken"
        }

        package func validate(_ validation: inout Validation) {
            validation.structures("filters", filters) { validation, filter, path in
                validation.string("\(path).filterKey", filter.filterKey, .oneOf(["ActivationIds", "DefaultInstanceName", "IamRole"]))
            }
            validation.page(maxResults, 1...50)
        }
    }

    package struct Output: Codable, Sendable, Equatable {
        package var activationList: [Activation]
        package var nextToken: String?

        package init(activationList: [Activation], nextToken: String? = nil) {
            self.activationList = activationList
            self.nextToken = nextToken
        }

        enum CodingKeys: String, CodingKey {
            case activationList = "ActivationList"
            case nextToken = "NextToken"
        }
    }
}

package enum DeleteActivation: Operation {
    package static let name = "DeleteActivation"

    package struct Input: Codable, Sendable, Equatable, Validatable {
        package var activationID: String?

        package init(activationID: String? = nil) {
            self.activationID = activationID
        }

        enum CodingKeys: String, CodingKey {
            case activationID = "ActivationId"
        }

        package func validate(_ validation: inout Validation) {
            // A malformed id has an error of its own, InvalidActivationId, which the operation gives.
            validation.required("activationId", activationID)
        }
    }

    package typealias Output = EmptyOutput
}

package struct Activation: Codable, Sendable, Equatable {
    package var activationID: ActivationID
    package var description: String?
    package var defaultInstanceName: String?
    package var iamRole: String
    package var registrationLimit: Int
    package var registrationsCount: Int
    package var expirationDate: Timestamp
    package var expired: Bool
    package var createdDate: Timestamp
    package var tags: [Tag]

    package init(
        activationID: ActivationID, description: String? = nil, defaultInstanceName: String? = nil, iamRole: String,
        registrationLimit: Int, registrationsCount: Int, expirationDate: Timestamp, expired: Bool, createdDate: Timestamp, tags: [Tag] = []
    ) {
        self.activationID = activationID
        self.description = description
        self.defaultInstanceName = defaultInstanceName
        self.iamRole = iamRole
        self.registrationLimit = registrationLimit
        self.registrationsCount = registrationsCount
        self.expirationDate = expirationDate
        self.expired = expired
        self.createdDate = createdDate
        self.tags = tags
    }

    enum CodingKeys: String, CodingKey {
        case activationID = "ActivationId"
        case description = "Description"
        case defaultInstanceName = "DefaultInstanceName"
        case iamRole = "IamRole"
        case registrationLimit = "RegistrationLimit"
        case registrationsCount = "RegistrationsCount"
        case expirationDate = "ExpirationDate"
        case expired = "Expired"
        case createdDate = "CreatedDate"
        case tags = "Tags"
    }
}

package struct DescribeActivationsFilter: Codable, Sendable, Hashable, JavaText {
    package var filterKey: String?
    package var filterValues: [String]?

    package init(filterKey: String? = nil, filterValues: [String]? = nil) {
        self.filterKey = filterKey
        self.filterValues = filterValues
    }

    enum CodingKeys: String, CodingKey {
        case filterKey = "FilterKey"
        case filterValues = "FilterValues"
    }

    package var javaText: String {
        javaStructure("DescribeActivationsFilter", [("filterKey", self.filterKey), ("filterValues", self.filterValues)])
    }
}

package struct RegistrationMetadataItem: Codable, Sendable, Hashable, JavaText {
    package var key: String?
    package var value: String?

    package init(key: String? = nil, value: String? = nil) {
        self.key = key
        self.value = value
    }

    enum CodingKeys: String, CodingKey {
        case key = "Key"
        case value = "Value"
    }

    package var javaText: String { javaStructure("RegistrationMetadataItem", [("key", self.key), ("value", self.value)]) }
}
