package enum DescribeInstanceInformation: Operation {
    package static let name = "DescribeInstanceInformation"

    package struct Input: Codable, Sendable, Equatable, Validatable {
        package var instanceInformationFilterList: [InstanceInformationFilter]?
        package var filters: [InstanceInformationStringFilter]?
        package var maxResults: Int?
        package var nextToken: String?

        package init(
            instanceInformationFilterList: [InstanceInformationFilter]? = nil, filters: [InstanceInformationStringFilter]? = nil,
            maxResults: Int? = nil, nextToken: String? = nil
        ) {
            self.instanceInformationFilterList = instanceInformationFilterList
            self.filters = filters
            self.maxResults = maxResults
            self.nextToken = nextToken
        }

        enum CodingKeys: String, CodingKey {
            case instanceInformationFilterList = "InstanceInformationFilterList"
            case filters = "Filters"
            case maxResults = "MaxResults"
            case nextToken = "NextToken"
        }

        package func validate(_ validation: inout Validation) {
            validation.structures("instanceInformationFilterList", instanceInformationFilterList) { validation, filter, path in
                validation.string(
                    "\(path).key", filter.key, .required,
                    .oneOf([
                        "InstanceIds", "AgentVersion", "PingStatus", "PlatformTypes", "ActivationIds", "IamRole", "ResourceType",
                        "AssociationStatus",
                    ]))
                validation.required("\(path).valueSet", filter.valueSet)
                validation.strings("\(path).valueSet", filter.valueSet, count: 1...100, each: .minimum(1))
            }
            validation.structures("filters", filters) { validation, filter, path in
                validation.string("\(path).key", filter.key, .required, .minimum(1))
                validation.required("\(path).values", filter.values)
                validation.strings("\(path).values", filter.values, count: 1...100, each: .minimum(1))
            }
            validation.page(maxResults, 5...50)
        }
    }

    package struct Output: Codable, Sendable, Equatable {
        package var instanceInformationList: [InstanceInformation]
        package var nextToken: String?

        package init(instanceInformationList: [InstanceInformation], nextToken: String? = nil) {
            self.instanceInformationList = instanceInformationList
            self.nextToken = nextToken
        }

        enum CodingKeys: String, CodingKey {
            case instanceInformationList = "InstanceInformationList"
            case nextToken = "NextToken"
        }
    }
}

package enum GetConnectionStatus: Operation {
    package static let name = "GetConnectionStatus"

    package struct Input: Codable, Sendable, Equatable, Validatable {
        package var target: String?

        package init(target: String? = nil) {
            self.target = target
        }

        enum CodingKeys: String, CodingKey {
            case target = "Target"
        }

        package func validate(_ validation: inout Validation) {
            validation.string("target", target, .required, .length(1...400))
        }
    }

    package struct Output: Codable, Sendable, Equatable {
        package var target: String
        package var status: ConnectionStatus

        package init(target: String, status: ConnectionStatus) {
            self.target = target
            self.status = status
        }

        enum CodingKeys: String, CodingKey {
            case target = "Target"
            case status = "Status"
        }
    }
}

package enum DeregisterManagedInstance: Operation {
    package static let name = "DeregisterManagedInstance"

    package struct Input: Codable, Sendable, Equatable, Validatable {
        package var instanceID: String?

        package init(instanceID: String? = nil) {
            self.instanceID = instanceID
        }

        enum CodingKeys: String, CodingKey {
            case instanceID = "InstanceId"
        }

        package func validate(_ validation: inout Validation) {
            validation.string("instanceId", instanceID, .required, .length(20...124), .pattern(.managedInstanceID))
        }
    }

    package typealias Output = EmptyOutput
}

package struct InstanceInformation: Codable, Sendable, Equatable {
    package var instanceID: NodeID
    package var pingStatus: PingStatus
    package var lastPingDateTime: Timestamp?
    package var agentVersion: String?
    package var isLatestVersion: Bool?
    package var platformType: String?
    package var platformName: String?
    package var platformVersion: String?
    package var activationID: ActivationID?
    package var iamRole: String?
    package var registrationDate: Timestamp?
    package var resourceType: String
    package var name: String?
    package var ipAddress: String?
    package var computerName: String?
    package var associationStatus: String?
    package var lastAssociationExecutionDate: Timestamp?
    package var lastSuccessfulAssociationExecutionDate: Timestamp?
    package var sourceID: String?
    package var sourceType: String?
    /// Ours, not in SSM's model: other clients ignore the member.
    package var tags: [Tag]?

    package init(
        instanceID: NodeID, pingStatus: PingStatus, lastPingDateTime: Timestamp? = nil, agentVersion: String? = nil,
        isLatestVersion: Bool? = nil, platformType: String? = nil, platformName: String? = nil, platformVersion: String? = nil,
        activationID: ActivationID? = nil, iamRole: String? = nil, registrationDate: Timestamp? = nil,
        resourceType: String = "ManagedInstance", name: String? = nil, ipAddress: String? = nil, computerName: String? = nil,
        associationStatus: String? = nil, lastAssociationExecutionDate: Timestamp? = nil,
        lastSuccessfulAssociationExecutionDate: Timestamp? = nil, sourceID: String? = nil, sourceType: String? = nil, tags: [Tag]? = nil
    ) {
        self.instanceID = instanceID
        self.pingStatus = pingStatus
        self.lastPingDateTime = lastPingDateTime
        self.agentVersion = agentVersion
        self.isLatestVersion = isLatestVersion
        self.platformType = platformType
        self.platformName = platformName
        self.platformVersion = platformVersion
        self.activationID = activationID
        self.iamRole = iamRole
        self.registrationDate = registrationDate
        self.resourceType = resourceType
        self.name = name
        self.ipAddress = ipAddress
        self.computerName = computerName
        self.associationStatus = associationStatus
        self.lastAssociationExecutionDate = lastAssociationExecutionDate
        self.lastSuccessfulAssociationExecutionDate = lastSuccessfulAssociationExecutionDate
        self.sourceID = sourceID
        self.sourceType = sourceType
        self.tags = tags
    }

    enum CodingKeys: String, CodingKey {
        case instanceID = "InstanceId"
        case pingStatus = "PingStatus"
        case lastPingDateTime = "LastPingDateTime"
        case agentVersion = "AgentVersion"
        case isLatestVersion = "IsLatestVersion"
        case platformType = "PlatformType"
        case platformName = "PlatformName"
        case platformVersion = "PlatformVersion"
        case activationID = "ActivationId"
        case iamRole = "IamRole"
        case registrationDate = "RegistrationDate"
        case resourceType = "ResourceType"
        case name = "Name"
        case ipAddress = "IPAddress"
        case computerName = "ComputerName"
        case associationStatus = "AssociationStatus"
        case lastAssociationExecutionDate = "LastAssociationExecutionDate"
        case lastSuccessfulAssociationExecutionDate = "LastSuccessfulAssociationExecutionDate"
        case sourceID = "SourceId"
        case sourceType = "SourceType"
        case tags = "Tags"
    }
}

/// The older kind of filter; it cannot be mixed with the other.
package struct InstanceInformationFilter: Codable, Sendable, Hashable, JavaText {
    package var key: String?
    package var valueSet: [String]?

    package init(key: String? = nil, valueSet: [String]? = nil) {
        self.key = key
        self.valueSet = valueSet
    }

    enum CodingKeys: String, CodingKey {
        case key
        case valueSet
    }

    package var javaText: String { javaStructure("InstanceInformationFilter", [("key", self.key), ("valueSet", self.valueSet)]) }
}

package struct InstanceInformationStringFilter: Codable, Sendable, Hashable, JavaText {
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

    package var javaText: String { javaStructure("InstanceInformationStringFilter", [("key", self.key), ("values", self.values)]) }
}

package enum PingStatus: String, Codable, Sendable, CaseIterable {
    case online = "Online"
    case connectionLost = "ConnectionLost"
    case inactive = "Inactive"
}

package enum ConnectionStatus: String, Codable, Sendable, CaseIterable {
    case connected
    case notConnected = "notconnected"
}
