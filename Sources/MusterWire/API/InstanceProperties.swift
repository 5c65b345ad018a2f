package enum DescribeInstanceProperties: Operation {
    package static let name = "DescribeInstanceProperties"

    package struct Input: Codable, Sendable, Equatable, Validatable {
        package var instancePropertyFilterList: [InstancePropertyFilter]?
        package var filtersWithOperator: [InstancePropertyStringFilter]?
        package var maxResults: Int?
        package var nextToken: String?

        package init(
            instancePropertyFilterList: [InstancePropertyFilter]? = nil, filtersWithOperator: [InstancePropertyStringFilter]? = nil,
            maxResults: Int? = nil, nextToken: String? = nil
        ) {
            self.instancePropertyFilterList = instancePropertyFilterList
            self.filtersWithOperator = filtersWithOperator
            self.maxResults = maxResults
            self.nextToken = nextToken
        }

        enum CodingKeys: String, CodingKey {
            case instancePropertyFilterList = "InstancePropertyFilterList"
            case filtersWithOperator = "FiltersWithOperator"
            case maxResults = "MaxResults"
            case nextToken = "NextToken"
        }

        package func validate(_ validation: inout Validation) {
            validation.structures("instancePropertyFilterList", instancePropertyFilterList, count: 1...40) { validation, filter, path in
                validation.string(
                    "\(path).key", filter.key, .required,
                    .oneOf([
                        "InstanceIds", "AgentVersion", "PingStatus", "PlatformTypes", "DocumentName", "ActivationIds", "IamRole",
                        "ResourceType", "AssociationStatus",
                    ]))
                validation.required("\(path).valueSet", filter.valueSet)
                validation.strings("\(path).valueSet", filter.valueSet, count: 1...40, each: .length(1...100_000), .pattern(.oneLine))
            }
            validation.structures("filtersWithOperator", filtersWithOperator, count: 1...40) { validation, filter, path in
                validation.string("\(path).key", filter.key, .required, .length(1...100_000), .pattern(.oneLine))
                validation.required("\(path).values", filter.values)
                validation.strings("\(path).values", filter.values, count: 1...40, each: .length(1...100_000), .pattern(.oneLine))
                validation.string("\(path).operator", filter.operator, .oneOf(InstancePropertyOperator.allCases.map(\.rawValue)))
            }
            validation.page(maxResults, 5...1000)
        }
    }

    /// SSM has a shape of its own here, InstanceProperty. What of it has a meaning for managed nodes are members of InstanceInformation,
    /// with the same names; the others are about EC2 (InstanceType, KeyName, …) and are left out, as SSM does.
    package struct Output: Codable, Sendable, Equatable {
        package var instanceProperties: [InstanceInformation]
        package var nextToken: String?

        package init(instanceProperties: [InstanceInformation], nextToken: String? = nil) {
            self.instanceProperties = instanceProperties
            self.nextToken = nextToken
        }

        enum CodingKeys: String, CodingKey {
            case instanceProperties = "InstanceProperties"
            case nextToken = "NextToken"
        }
    }
}

/// The older kind of filter, which knows equality only; it cannot be mixed with the other.
package struct InstancePropertyFilter: Codable, Sendable, Hashable, JavaText {
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

    package var javaText: String { javaStructure("InstancePropertyFilter", [("key", self.key), ("valueSet", self.valueSet)]) }
}

package struct InstancePropertyStringFilter: Codable, Sendable, Hashable, JavaText {
    package var key: String?
    package var values: [String]?
    package var `operator`: String?

    package init(key: String? = nil, values: [String]? = nil, operator: String? = nil) {
        self.key = key
        self.values = values
        self.operator = `operator`
    }

    enum CodingKeys: String, CodingKey {
        case key = "Key"
        case values = "Values"
        case `operator` = "Operator"
    }

    package var javaText: String {
        javaStructure("InstancePropertyStringFilter", [("key", self.key), ("values", self.values), ("operator", self.operator)])
    }
}

package enum InstancePropertyOperator: String, Sendable, CaseIterable {
    case equal = "Equal"
    case notEqual = "NotEqual"
    case beginWith = "BeginWith"
    case lessThan = "LessThan"
    case greaterThan = "GreaterThan"
}

package enum UpdateManagedInstanceRole: Operation {
    package static let name = "UpdateManagedInstanceRole"

    package struct Input: Codable, Sendable, Equatable, Validatable {
        package var instanceID: String?
        package var iamRole: String?

        package init(instanceID: String? = nil, iamRole: String? = nil) {
            self.instanceID = instanceID
            self.iamRole = iamRole
        }

        enum CodingKeys: String, CodingKey {
            case instanceID = "InstanceId"
            case iamRole = "IamRole"
        }

        package func validate(_ validation: inout Validation) {
            validation.string("instanceId", instanceID, .required, .length(20...124), .pattern(.managedInstanceID))
            validation.string("iamRole", iamRole, .required, .maximum(64))
        }
    }

    package typealias Output = EmptyOutput
}
