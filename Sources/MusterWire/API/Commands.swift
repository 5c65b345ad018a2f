package enum SendCommand: Operation {
    package static let name = "SendCommand"

    package struct Input: Codable, Sendable, Equatable, Validatable, Redacted {
        package var documentName: String?
        package var instanceIDs: [String]?
        package var targets: [Target]?
        package var documentVersion: String?
        package var documentHash: String?
        package var documentHashType: String?
        package var timeoutSeconds: Int?
        package var comment: String?
        package var parameters: [String: [String]]?
        /// Accepted and ignored, as SSM does.
        package var outputS3Region: String?
        package var outputS3BucketName: String?
        package var outputS3KeyPrefix: String?
        package var maxConcurrency: String?
        package var maxErrors: String?
        package var serviceRoleARN: String?
        package var notificationConfig: JSONValue?
        package var cloudWatchOutputConfig: CloudWatchOutputConfig?
        package var alarmConfiguration: JSONValue?

        package init(
            documentName: String? = nil, instanceIDs: [String]? = nil, targets: [Target]? = nil, documentVersion: String? = nil,
            documentHash: String? = nil, documentHashType: String? = nil, timeoutSeconds: Int? = nil, comment: String? = nil,
            parameters: [String: [String]]? = nil, outputS3Region: String? = nil, outputS3BucketName: String? = nil,
            outputS3KeyPrefix: String? = nil, maxConcurrency: String? = nil, maxErrors: String? = nil, serviceRoleARN: String? = nil,
            notificationConfig: JSONValue? = nil, cloudWatchOutputConfig: CloudWatchOutputConfig? = nil,
            alarmConfiguration: JSONValue? = nil
        ) {
            self.documentName = documentName
            self.instanceIDs = instanceIDs
            self.targets = targets
            self.documentVersion = documentVersion
            self.documentHash = documentHash
            self.documentHashType = documentHashType
            self.timeoutSeconds = timeoutSeconds
            self.comment = comment
            self.parameters = parameters
            self.outputS3Region = outputS3Region
            self.outputS3BucketName = outputS3BucketName
            self.outputS3KeyPrefix = outputS3KeyPrefix
            self.maxConcurrency = maxConcurrency
            self.maxErrors = maxErrors
            self.serviceRoleARN = serviceRoleARN
            self.notificationConfig = notificationConfig
            self.cloudWatchOutputConfig = cloudWatchOutputConfig
            self.alarmConfiguration = alarmConfiguration
        }

        enum CodingKeys: String, CodingKey {
            case documentName = "DocumentName"
            case instanceIDs = "InstanceIds"
            case targets = "Targets"
            case documentVersion = "DocumentVersion"
            case documentHash = "DocumentHash"
            case documentHashType = "DocumentHashType"
            case timeoutSeconds = "TimeoutSeconds"
            case comment = "Comment"
            case parameters = "Parameters"
            case outputS3Region = "OutputS3Region"
            case outputS3BucketName = "OutputS3BucketName"
            case outputS3KeyPrefix = "OutputS3KeyPrefix"
            case maxConcurrency = "MaxConcurrency"
            case maxErrors = "MaxErrors"
            case serviceRoleARN = "ServiceRoleArn"
            case notificationConfig = "NotificationConfig"
            case cloudWatchOutputConfig = "CloudWatchOutputConfig"
            case alarmConfiguration = "AlarmConfiguration"
        }

        package func validate(_ validation: inout Validation) {
            validation.string("documentName", documentName, .required, .pattern(.documentARN))
            validation.instanceIDs("instanceIds", instanceIDs)
            validation.targets("targets", targets)
            validation.string("documentVersion", documentVersion, .pattern(.documentVersion))
            validation.string("documentHash", documentHash, .maximum(256))
            validation.string("documentHashType", documentHashType, .oneOf(["Sha256", "Sha1"]))
            validation.integer("timeoutSeconds", timeoutSeconds, 30...2_592_000)
            validation.string("comment", comment, .maximum(100))
            validation.string("outputS3Region", outputS3Region, .length(3...20))
            validation.string("outputS3BucketName", outputS3BucketName, .length(3...63))
            validation.string("outputS3KeyPrefix", outputS3KeyPrefix, .maximum(500))
            validation.string("maxConcurrency", maxConcurrency, .length(1...7), .pattern(.maxConcurrency))
            validation.string("maxErrors", maxErrors, .length(1...7), .pattern(.maxErrors))
            validation.string(
                "cloudWatchOutputConfig.cloudWatchLogGroupName", cloudWatchOutputConfig?.cloudWatchLogGroupName, .length(1...512))
        }

        package var unserved: [String] {
            var names: [String] = []
            if !(serviceRoleARN ?? "").isEmpty { names.append("ServiceRoleArn") }
            if let notificationConfig, notificationConfig != .null, notificationConfig != .object([:]) {
                names.append("NotificationConfig")
            }
            if cloudWatchOutputConfig?.cloudWatchOutputEnabled == true { names.append("CloudWatchOutputConfig") }
            if let alarmConfiguration, alarmConfiguration != .null { names.append("AlarmConfiguration") }
            return names
        }
    }

    package struct Output: Codable, Sendable, Equatable {
        package var command: Command

        package init(command: Command) {
            self.command = command
        }

        enum CodingKeys: String, CodingKey {
            case command = "Command"
        }
    }
}

package enum ListCommands: Operation {
    package static let name = "ListCommands"

    package struct Input: Codable, Sendable, Equatable, Validatable {
        package var commandID: String?
        package var instanceID: String?
        package var maxResults: Int?
        package var nextToken: String?
        package var filters: [CommandFilter]?

        package init(
            commandID: String? = nil, instanceID: String? = nil, maxResults: Int? = nil, nextToken: String? = nil,
            filters: [CommandFilter]? = nil
        ) {
            self.commandID = commandID
            self.instanceID = instanceID
            self.maxResults = maxResults
            self.nextToken = nextToken
            self.filters = filters
        }

        enum CodingKeys: String, CodingKey {
            case commandID = "CommandId"
            case instanceID = "InstanceId"
            case maxResults = "MaxResults"
            case nextToken = "NextToken"
            case filters = "Filters"
        }

        package func validate(_ validation: inout Validation) {
            validation.string("commandId", commandID, .length(36...36))
            validation.string("instanceId", instanceID, .pattern(.instanceID))
            validation.page(maxResults, 1...50)
            validation.commandFilters(filters)
        }
    }

    package struct Output: Codable, Sendable, Equatable {
        package var commands: [Command]
        package var nextToken: String?

        package init(commands: [Command], nextToken: String? = nil) {
            self.commands = commands
            self.nextToken = nextToken
        }

        enum CodingKeys: String, CodingKey {
            case commands = "Commands"
            case nextToken = "NextToken"
        }
    }
}

package enum ListCommandInvocations: Operation {
    package static let name = "ListCommandInvocations"

    package struct Input: Codable, Sendable, Equatable, Validatable {
        package var commandID: String?
        package var instanceID: String?
        package var maxResults: Int?
        package var nextToken: String?
        package var filters: [CommandFilter]?
        package var details: Bool?

        package init(
            commandID: String? = nil, instanceID: String? = nil, maxResults: Int? = nil, nextToken: String? = nil,
            filters: [CommandFilter]? = nil, details: Bool? = nil
        ) {
            self.commandID = commandID
            self.instanceID = instanceID
            self.maxResults = maxResults
            self.nextToken = nextToken
            self.filters = filters
            self.details = details
        }

        enum CodingKeys: String, CodingKey {
            case commandID = "CommandId"
            case instanceID = "InstanceId"
            case maxResults = "MaxResults"
            case nextToken = "NextToken"
            case filters = "Filters"
            case details = "Details"
        }

        package func validate(_ validation: inout Validation) {
            validation.string("commandId", commandID, .length(36...36))
            validation.string("instanceId", instanceID, .pattern(.instanceID))
            validation.page(maxResults, 1...50)
            validation.commandFilters(filters)
        }
    }

    package struct Output: Codable, Sendable, Equatable {
        package var commandInvocations: [CommandInvocation]
        package var nextToken: String?

        package init(commandInvocations: [CommandInvocation], nextToken: String? = nil) {
            self.commandInvocations = commandInvocations
            self.nextToken = nextToken
        }

        enum CodingKeys: String, CodingKey {
            case commandInvocations = "CommandInvocations"
            case nextToken = "NextToken"
        }
    }
}

package enum GetCommandInvocation: Operation {
    package static let name = "GetCommandInvocation"

    package struct Input: Codable, Sendable, Equatable, Validatable {
        package var commandID: String?
        package var instanceID: String?
        package var pluginName: String?

        package init(commandID: String? = nil, instanceID: String? = nil, pluginName: String? = nil) {
            self.commandID = commandID
            self.instanceID = instanceID
            self.pluginName = pluginName
        }

        enum CodingKeys: String, CodingKey {
            case commandID = "CommandId"
            case instanceID = "InstanceId"
            case pluginName = "PluginName"
        }

        package func validate(_ validation: inout Validation) {
            validation.string("commandId", commandID, .required, .length(36...36))
            validation.string("instanceId", instanceID, .required, .pattern(.instanceID))
            validation.string("pluginName", pluginName, .minimum(4))
        }
    }

    package struct Output: Codable, Sendable, Equatable {
        package var commandID: CommandID
        package var instanceID: NodeID
        package var comment: String
        package var documentName: String
        package var documentVersion: String
        package var pluginName: String
        /// -1 until the step has ended.
        package var responseCode: Int
        /// ISO 8601 with milliseconds and Z; empty before the start.
        package var executionStartDateTime: String
        /// An ISO 8601 duration, `PT0.091S`.
        package var executionElapsedTime: String
        package var executionEndDateTime: String
        package var status: CommandInvocationStatus
        package var statusDetails: String
        package var standardOutputContent: String
        package var standardOutputURL: String
        package var standardErrorContent: String
        package var standardErrorURL: String
        package var cloudWatchOutputConfig: CloudWatchOutputConfig

        package init(
            commandID: CommandID, instanceID: NodeID, comment: String = "", documentName: String, documentVersion: String = "",
            pluginName: String, responseCode: Int = -1, executionStartDateTime: String = "", executionElapsedTime: String = "",
            executionEndDateTime: String = "", status: CommandInvocationStatus, statusDetails: String, standardOutputContent: String = "",
            standardOutputURL: String = "", standardErrorContent: String = "", standardErrorURL: String = "",
            cloudWatchOutputConfig: CloudWatchOutputConfig = CloudWatchOutputConfig(
                cloudWatchLogGroupName: "", cloudWatchOutputEnabled: false)
        ) {
            self.commandID = commandID
            self.instanceID = instanceID
            self.comment = comment
            self.documentName = documentName
            self.documentVersion = documentVersion
            self.pluginName = pluginName
            self.responseCode = responseCode
            self.executionStartDateTime = executionStartDateTime
            self.executionElapsedTime = executionElapsedTime
            self.executionEndDateTime = executionEndDateTime
            self.status = status
            self.statusDetails = statusDetails
            self.standardOutputContent = standardOutputContent
            self.standardOutputURL = standardOutputURL
            self.standardErrorContent = standardErrorContent
            self.standardErrorURL = standardErrorURL
            self.cloudWatchOutputConfig = cloudWatchOutputConfig
        }

        enum CodingKeys: String, CodingKey {
            case commandID = "CommandId"
            case instanceID = "InstanceId"
            case comment = "Comment"
            case documentName = "DocumentName"
            case documentVersion = "DocumentVersion"
            case pluginName = "PluginName"
            case responseCode = "ResponseCode"
            case executionStartDateTime = "ExecutionStartDateTime"
            case executionElapsedTime = "ExecutionElapsedTime"
            case executionEndDateTime = "ExecutionEndDateTime"
            case status = "Status"
            case statusDetails = "StatusDetails"
            case standardOutputContent = "StandardOutputContent"
            case standardOutputURL = "StandardOutputUrl"
            case standardErrorContent = "StandardErrorContent"
            case standardErrorURL = "StandardErrorUrl"
            case cloudWatchOutputConfig = "CloudWatchOutputConfig"
        }
    }
}

package enum CancelCommand: Operation {
    package static let name = "CancelCommand"

    package struct Input: Codable, Sendable, Equatable, Validatable {
        package var commandID: String?
        package var instanceIDs: [String]?

        package init(commandID: String? = nil, instanceIDs: [String]? = nil) {
            self.commandID = commandID
            self.instanceIDs = instanceIDs
        }

        enum CodingKeys: String, CodingKey {
            case commandID = "CommandId"
            case instanceIDs = "InstanceIds"
        }

        package func validate(_ validation: inout Validation) {
            validation.string("commandId", commandID, .required, .length(36...36))
            validation.instanceIDs("instanceIds", instanceIDs)
        }
    }

    package typealias Output = EmptyOutput
}

/// A command as SSM shows it: text members that are unset are empty strings, of InstanceIds and Targets one is empty.
package struct Command: Codable, Sendable, Equatable, Redacted {
    package var commandID: CommandID
    package var documentName: String
    package var documentVersion: String
    package var comment: String
    package var expiresAfter: Timestamp
    package var parameters: [String: [String]]
    package var instanceIDs: [NodeID]
    package var targets: [Target]
    package var requestedDateTime: Timestamp
    package var status: CommandStatus
    package var statusDetails: String
    package var outputS3Region: String?
    package var outputS3BucketName: String
    package var outputS3KeyPrefix: String
    package var maxConcurrency: String
    package var maxErrors: String
    package var targetCount: Int
    package var completedCount: Int
    package var errorCount: Int
    package var deliveryTimedOutCount: Int
    package var serviceRole: String
    package var notificationConfig: NotificationConfig
    package var cloudWatchOutputConfig: CloudWatchOutputConfig
    package var timeoutSeconds: Int

    package init(
        commandID: CommandID, documentName: String, documentVersion: String = "", comment: String = "", expiresAfter: Timestamp,
        parameters: [String: [String]] = [:], instanceIDs: [NodeID] = [], targets: [Target] = [], requestedDateTime: Timestamp,
        status: CommandStatus, statusDetails: String, outputS3Region: String? = nil, outputS3BucketName: String = "",
        outputS3KeyPrefix: String = "", maxConcurrency: String, maxErrors: String, targetCount: Int, completedCount: Int, errorCount: Int,
        deliveryTimedOutCount: Int, serviceRole: String = "", notificationConfig: NotificationConfig = NotificationConfig(),
        cloudWatchOutputConfig: CloudWatchOutputConfig = CloudWatchOutputConfig(cloudWatchLogGroupName: "", cloudWatchOutputEnabled: false),
        timeoutSeconds: Int
    ) {
        self.commandID = commandID
        self.documentName = documentName
        self.documentVersion = documentVersion
        self.comment = comment
        self.expiresAfter = expiresAfter
        self.parameters = parameters
        self.instanceIDs = instanceIDs
        self.targets = targets
        self.requestedDateTime = requestedDateTime
        self.status = status
        self.statusDetails = statusDetails
        self.outputS3Region = outputS3Region
        self.outputS3BucketName = outputS3BucketName
        self.outputS3KeyPrefix = outputS3KeyPrefix
        self.maxConcurrency = maxConcurrency
        self.maxErrors = maxErrors
        self.targetCount = targetCount
        self.completedCount = completedCount
        self.errorCount = errorCount
        self.deliveryTimedOutCount = deliveryTimedOutCount
        self.serviceRole = serviceRole
        self.notificationConfig = notificationConfig
        self.cloudWatchOutputConfig = cloudWatchOutputConfig
        self.timeoutSeconds = timeoutSeconds
    }

    enum CodingKeys: String, CodingKey {
        case commandID = "CommandId"
        case documentName = "DocumentName"
        case documentVersion = "DocumentVersion"
        case comment = "Comment"
        case expiresAfter = "ExpiresAfter"
        case parameters = "Parameters"
        case instanceIDs = "InstanceIds"
        case targets = "Targets"
        case requestedDateTime = "RequestedDateTime"
        case status = "Status"
        case statusDetails = "StatusDetails"
        case outputS3Region = "OutputS3Region"
        case outputS3BucketName = "OutputS3BucketName"
        case outputS3KeyPrefix = "OutputS3KeyPrefix"
        case maxConcurrency = "MaxConcurrency"
        case maxErrors = "MaxErrors"
        case targetCount = "TargetCount"
        case completedCount = "CompletedCount"
        case errorCount = "ErrorCount"
        case deliveryTimedOutCount = "DeliveryTimedOutCount"
        case serviceRole = "ServiceRole"
        case notificationConfig = "NotificationConfig"
        case cloudWatchOutputConfig = "CloudWatchOutputConfig"
        case timeoutSeconds = "TimeoutSeconds"
    }
}

/// A command on one node.
package struct CommandInvocation: Codable, Sendable, Equatable {
    package var commandID: CommandID
    package var instanceID: NodeID
    package var instanceName: String
    package var comment: String
    package var documentName: String
    package var documentVersion: String
    package var requestedDateTime: Timestamp
    package var status: CommandInvocationStatus
    package var statusDetails: String
    package var traceOutput: String
    package var standardOutputURL: String
    package var standardErrorURL: String
    /// Empty unless details were asked for.
    package var commandPlugins: [CommandPlugin]
    package var serviceRole: String
    package var notificationConfig: NotificationConfig
    package var cloudWatchOutputConfig: CloudWatchOutputConfig

    package init(
        commandID: CommandID, instanceID: NodeID, instanceName: String = "", comment: String = "", documentName: String,
        documentVersion: String = "", requestedDateTime: Timestamp, status: CommandInvocationStatus, statusDetails: String,
        traceOutput: String = "", standardOutputURL: String = "", standardErrorURL: String = "", commandPlugins: [CommandPlugin] = [],
        serviceRole: String = "", notificationConfig: NotificationConfig = NotificationConfig(),
        cloudWatchOutputConfig: CloudWatchOutputConfig = CloudWatchOutputConfig(cloudWatchLogGroupName: "", cloudWatchOutputEnabled: false)
    ) {
        self.commandID = commandID
        self.instanceID = instanceID
        self.instanceName = instanceName
        self.comment = comment
        self.documentName = documentName
        self.documentVersion = documentVersion
        self.requestedDateTime = requestedDateTime
        self.status = status
        self.statusDetails = statusDetails
        self.traceOutput = traceOutput
        self.standardOutputURL = standardOutputURL
        self.standardErrorURL = standardErrorURL
        self.commandPlugins = commandPlugins
        self.serviceRole = serviceRole
        self.notificationConfig = notificationConfig
        self.cloudWatchOutputConfig = cloudWatchOutputConfig
    }

    enum CodingKeys: String, CodingKey {
        case commandID = "CommandId"
        case instanceID = "InstanceId"
        case instanceName = "InstanceName"
        case comment = "Comment"
        case documentName = "DocumentName"
        case documentVersion = "DocumentVersion"
        case requestedDateTime = "RequestedDateTime"
        case status = "Status"
        case statusDetails = "StatusDetails"
        case traceOutput = "TraceOutput"
        case standardOutputURL = "StandardOutputUrl"
        case standardErrorURL = "StandardErrorUrl"
        case commandPlugins = "CommandPlugins"
        case serviceRole = "ServiceRole"
        case notificationConfig = "NotificationConfig"
        case cloudWatchOutputConfig = "CloudWatchOutputConfig"
    }
}

/// One step of a command on one node.
package struct CommandPlugin: Codable, Sendable, Equatable {
    package var name: String
    package var status: CommandPluginStatus
    package var statusDetails: String
    package var responseCode: Int
    package var responseStartDateTime: Timestamp?
    package var responseFinishDateTime: Timestamp?
    /// Standard output and standard error together, at most 2,500 Unicode scalars.
    package var output: String
    package var standardOutputURL: String
    package var standardErrorURL: String
    package var outputS3Region: String
    package var outputS3BucketName: String
    package var outputS3KeyPrefix: String

    package init(
        name: String, status: CommandPluginStatus, statusDetails: String, responseCode: Int, responseStartDateTime: Timestamp? = nil,
        responseFinishDateTime: Timestamp? = nil, output: String = "", standardOutputURL: String = "", standardErrorURL: String = "",
        outputS3Region: String = "", outputS3BucketName: String = "", outputS3KeyPrefix: String = ""
    ) {
        self.name = name
        self.status = status
        self.statusDetails = statusDetails
        self.responseCode = responseCode
        self.responseStartDateTime = responseStartDateTime
        self.responseFinishDateTime = responseFinishDateTime
        self.output = output
        self.standardOutputURL = standardOutputURL
        self.standardErrorURL = standardErrorURL
        self.outputS3Region = outputS3Region
        self.outputS3BucketName = outputS3BucketName
        self.outputS3KeyPrefix = outputS3KeyPrefix
    }

    enum CodingKeys: String, CodingKey {
        case name = "Name"
        case status = "Status"
        case statusDetails = "StatusDetails"
        case responseCode = "ResponseCode"
        case responseStartDateTime = "ResponseStartDateTime"
        case responseFinishDateTime = "ResponseFinishDateTime"
        case output = "Output"
        case standardOutputURL = "StandardOutputUrl"
        case standardErrorURL = "StandardErrorUrl"
        case outputS3Region = "OutputS3Region"
        case outputS3BucketName = "OutputS3BucketName"
        case outputS3KeyPrefix = "OutputS3KeyPrefix"
    }
}

package struct CommandFilter: Codable, Sendable, Hashable, JavaText {
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

    package var javaText: String { javaStructure("CommandFilter", [("key", self.key), ("value", self.value)]) }
}

package struct NotificationConfig: Codable, Sendable, Equatable {
    package var notificationARN: String
    package var notificationEvents: [String]
    package var notificationType: String

    package init(notificationARN: String = "", notificationEvents: [String] = [], notificationType: String = "") {
        self.notificationARN = notificationARN
        self.notificationEvents = notificationEvents
        self.notificationType = notificationType
    }

    enum CodingKeys: String, CodingKey {
        case notificationARN = "NotificationArn"
        case notificationEvents = "NotificationEvents"
        case notificationType = "NotificationType"
    }
}

package struct CloudWatchOutputConfig: Codable, Sendable, Equatable {
    package var cloudWatchLogGroupName: String?
    package var cloudWatchOutputEnabled: Bool?

    package init(cloudWatchLogGroupName: String? = nil, cloudWatchOutputEnabled: Bool? = nil) {
        self.cloudWatchLogGroupName = cloudWatchLogGroupName
        self.cloudWatchOutputEnabled = cloudWatchOutputEnabled
    }

    enum CodingKeys: String, CodingKey {
        case cloudWatchLogGroupName = "CloudWatchLogGroupName"
        case cloudWatchOutputEnabled = "CloudWatchOutputEnabled"
    }
}

package enum CommandStatus: String, Codable, Sendable, CaseIterable {
    case pending = "Pending"
    case inProgress = "InProgress"
    case success = "Success"
    case cancelled = "Cancelled"
    case failed = "Failed"
    case timedOut = "TimedOut"
    case cancelling = "Cancelling"
}

package enum CommandInvocationStatus: String, Codable, Sendable, CaseIterable {
    case pending = "Pending"
    case inProgress = "InProgress"
    case delayed = "Delayed"
    case success = "Success"
    case cancelled = "Cancelled"
    case timedOut = "TimedOut"
    case failed = "Failed"
    case cancelling = "Cancelling"
}

package enum CommandPluginStatus: String, Codable, Sendable, CaseIterable {
    case pending = "Pending"
    case inProgress = "InProgress"
    case success = "Success"
    case timedOut = "TimedOut"
    case cancelled = "Cancelled"
    case failed = "Failed"
}

extension Validation {
    fileprivate mutating func commandFilters(_ filters: [CommandFilter]?) {
        self.structures("filters", filters, count: 1...5) { validation, filter, path in
            validation.string(
                "\(path).key", filter.key, .required, .oneOf(["InvokedAfter", "InvokedBefore", "Status", "ExecutionStage", "DocumentName"]))
            validation.string("\(path).value", filter.value, .required, .length(1...128))
        }
    }
}
