/// The audit trail, newest first. An operation of CloudTrail (API version 2013-11-01).
/// https://docs.aws.amazon.com/awscloudtrail/latest/APIReference/API_LookupEvents.html
package enum LookupEvents: Operation {
    package static let name = "LookupEvents"
    package static let target = OperationTarget.cloudTrail
    package static let pageSize = 50

    package struct Input: Codable, Sendable, Equatable, Validatable {
        package var lookupAttributes: [LookupAttribute]?
        package var startTime: Timestamp?
        package var endTime: Timestamp?
        package var maxResults: Int?
        package var nextToken: String?
        package var eventCategory: String?

        package init(
            lookupAttributes: [LookupAttribute]? = nil, startTime: Timestamp? = nil, endTime: Timestamp? = nil, maxResults: Int? = nil,
            nextToken: String? = nil
        ) {
            self.lookupAttributes = lookupAttributes
            self.startTime = startTime
            self.endTime = endTime
            self.maxResults = maxResults
            self.nextToken = nextToken
        }

        enum CodingKeys: String, CodingKey {
            case lookupAttributes = "LookupAttributes"
            case startTime = "StartTime"
            case endTime = "EndTime"
            case maxResults = "MaxResults"
            case nextToken = "NextToken"
            case eventCategory = "EventCategory"
        }

        package func validate(_ validation: inout Validation) {}

        /// Insights are about the habits of an account, which nobody watches here.
        package var unserved: [String] { eventCategory == nil ? [] : ["EventCategory"] }
    }

    package struct Output: Codable, Sendable, Equatable {
        package var events: [LookedUpEvent]
        package var nextToken: String?

        package init(events: [LookedUpEvent], nextToken: String?) {
            self.events = events
            self.nextToken = nextToken
        }

        enum CodingKeys: String, CodingKey {
            case events = "Events"
            case nextToken = "NextToken"
        }
    }
}

package struct LookupAttribute: Codable, Sendable, Equatable {
    package enum Key: String, Sendable, CaseIterable {
        case eventID = "EventId"
        case eventName = "EventName"
        case readOnly = "ReadOnly"
        case userName = "Username"
        case resourceType = "ResourceType"
        case resourceName = "ResourceName"
        case eventSource = "EventSource"
        case accessKeyID = "AccessKeyId"
    }

    package var attributeKey: String?
    package var attributeValue: String?

    package init(_ key: Key, _ value: String) {
        attributeKey = key.rawValue
        attributeValue = value
    }

    enum CodingKeys: String, CodingKey {
        case attributeKey = "AttributeKey"
        case attributeValue = "AttributeValue"
    }
}

package struct LookedUpEvent: Codable, Sendable, Equatable {
    package struct Resource: Codable, Sendable, Equatable {
        package var resourceType: String
        package var resourceName: String

        package init(resourceType: String, resourceName: String) {
            self.resourceType = resourceType
            self.resourceName = resourceName
        }

        enum CodingKeys: String, CodingKey {
            case resourceType = "ResourceType"
            case resourceName = "ResourceName"
        }
    }

    package var eventID: String
    package var eventName: String
    /// A word, as CloudTrail has it.
    package var readOnly: String
    package var accessKeyID: String?
    package var eventTime: Timestamp
    package var eventSource: String
    package var userName: String?
    package var resources: [Resource]
    /// The whole record, as text.
    package var record: String

    package init(
        eventID: String, eventName: String, readOnly: String, accessKeyID: String?, eventTime: Timestamp, eventSource: String,
        userName: String?, resources: [Resource], record: String
    ) {
        self.eventID = eventID
        self.eventName = eventName
        self.readOnly = readOnly
        self.accessKeyID = accessKeyID
        self.eventTime = eventTime
        self.eventSource = eventSource
        self.userName = userName
        self.resources = resources
        self.record = record
    }

    enum CodingKeys: String, CodingKey {
        case eventID = "EventId"
        case eventName = "EventName"
        case readOnly = "ReadOnly"
        case accessKeyID = "AccessKeyId"
        case eventTime = "EventTime"
        case eventSource = "EventSource"
        case userName = "Username"
        case resources = "Resources"
        case record = "CloudTrailEvent"
    }
}
