import MusterCrypto

/// Payload of `agent_job`: run this, or cancel that. `content` is JSON in a string, read with the type its topic stands for.
package struct AgentJob: Codable, Sendable, Equatable, Redacted {
    package var content: String
    package var jobID: String
    package var topic: String
    package var schemaVersion: Int

    package init(content: String, jobID: String, topic: String, schemaVersion: Int = 1) {
        self.content = content
        self.jobID = jobID
        self.topic = topic
        self.schemaVersion = schemaVersion
    }

    package init(_ content: SendCommandContent, jobID: JobID) throws(FrameError) {
        self.init(content: try jsonText(content), jobID: jobID.description, topic: JobTopic.sendCommand)
    }

    /// A cancel is a job of its own, with an id of its own.
    package init(_ content: CancelCommandContent, jobID: JobID) throws(FrameError) {
        self.init(content: try jsonText(content), jobID: jobID.description, topic: JobTopic.cancelCommand)
    }

    package func decodeContent<T: Decodable>(_ type: T.Type) throws(FrameError) -> T { try decodeJSON(type, self.content) }

    enum CodingKeys: String, CodingKey {
        case content = "Content"
        case jobID = "JobId"
        case topic = "Topic"
        case schemaVersion = "SchemaVersion"
    }
}

/// Topics are matched by prefix: AWS appends a region.
package enum JobTopic {
    package static let sendCommand = "aws.ssm.sendCommand"
    package static let cancelCommand = "aws.ssm.cancelCommand"

    package static func isSendCommand(_ topic: String) -> Bool { topic.utf8.starts(with: self.sendCommand.utf8) }
    package static func isCancelCommand(_ topic: String) -> Bool { topic.utf8.starts(with: self.cancelCommand.utf8) }
}

/// What to run. The last four members are ours; an SSM controller does not send them.
package struct SendCommandContent: Codable, Sendable, Equatable, Redacted {
    package var parameters: [String: JSONValue]
    package var documentContent: JSONValue
    package var commandID: String
    package var documentName: String
    package var outputS3BucketName: String
    package var outputS3KeyPrefix: String
    package var cloudWatchLogGroupName: String
    /// A string on the wire, `"true"` or `"false"`.
    package var cloudWatchOutputEnabled: String
    /// Server time in epoch milliseconds after which the job must not start.
    package var startBy: Int64?
    package var identityGeneration: Int?
    package var storeEpoch: String?
    /// Of a store that was restored.
    package var storeRestoration: StoreRestoration?
    package var dispatchFence: Int64?

    package init(
        parameters: [String: JSONValue], documentContent: JSONValue, commandID: String, documentName: String,
        outputS3BucketName: String = "", outputS3KeyPrefix: String = "", cloudWatchLogGroupName: String = "",
        cloudWatchOutputEnabled: String = "false",
        startBy: Int64?, identityGeneration: Int?, storeEpoch: String?, storeRestoration: StoreRestoration? = nil, dispatchFence: Int64?
    ) {
        self.parameters = parameters
        self.documentContent = documentContent
        self.commandID = commandID
        self.documentName = documentName
        self.outputS3BucketName = outputS3BucketName
        self.outputS3KeyPrefix = outputS3KeyPrefix
        self.cloudWatchLogGroupName = cloudWatchLogGroupName
        self.cloudWatchOutputEnabled = cloudWatchOutputEnabled
        self.startBy = startBy
        self.identityGeneration = identityGeneration
        self.storeEpoch = storeEpoch
        self.storeRestoration = storeRestoration
        self.dispatchFence = dispatchFence
    }

    package init(from decoder: any Decoder) throws {
        let values = try decoder.container(keyedBy: CodingKeys.self)
        self.parameters = try values.decodeIfPresent([String: JSONValue].self, forKey: .parameters) ?? [:]
        self.documentContent = try values.decode(JSONValue.self, forKey: .documentContent)
        self.commandID = try values.decode(String.self, forKey: .commandID)
        self.documentName = try values.decode(String.self, forKey: .documentName)
        self.outputS3BucketName = try values.decodeIfPresent(String.self, forKey: .outputS3BucketName) ?? ""
        self.outputS3KeyPrefix = try values.decodeIfPresent(String.self, forKey: .outputS3KeyPrefix) ?? ""
        self.cloudWatchLogGroupName = try values.decodeIfPresent(String.self, forKey: .cloudWatchLogGroupName) ?? ""
        self.cloudWatchOutputEnabled = try values.decodeIfPresent(String.self, forKey: .cloudWatchOutputEnabled) ?? "false"
        self.startBy = try values.decodeIfPresent(Int64.self, forKey: .startBy)
        self.identityGeneration = try values.decodeIfPresent(Int.self, forKey: .identityGeneration)
        self.storeEpoch = try values.decodeIfPresent(String.self, forKey: .storeEpoch)
        self.storeRestoration = try values.decodeIfPresent(StoreRestoration.self, forKey: .storeRestoration)
        self.dispatchFence = try values.decodeIfPresent(Int64.self, forKey: .dispatchFence)
    }

    enum CodingKeys: String, CodingKey {
        case parameters = "Parameters"
        case documentContent = "DocumentContent"
        case commandID = "CommandId"
        case documentName = "DocumentName"
        case outputS3BucketName = "OutputS3BucketName"
        case outputS3KeyPrefix = "OutputS3KeyPrefix"
        case cloudWatchLogGroupName = "CloudWatchLogGroupName"
        case cloudWatchOutputEnabled = "CloudWatchOutputEnabled"
        case startBy = "StartBy"
        case identityGeneration = "IdentityGeneration"
        case storeEpoch = "StoreEpoch"
        case storeRestoration = "StoreRestoration"
        case dispatchFence = "DispatchFence"
    }
}

/// `cancelMessageID` is the id of the job to end, byte for byte.
package struct CancelCommandContent: Codable, Sendable, Equatable {
    package var cancelMessageID: String

    package init(cancelMessageID: String) { self.cancelMessageID = cancelMessageID }

    enum CodingKeys: String, CodingKey {
        case cancelMessageID = "CancelMessageId"
    }
}

/// Payload of `agent_job_ack`.
package struct AgentJobAcknowledge: Codable, Sendable, Equatable {
    package var jobID: String
    package var acknowledgedMessageID: String
    /// When the agent_job frame was made, not when it was acknowledged.
    package var createdDate: String
    package var statusCode: String
    package var errorMessage: String

    package init(jobID: String, acknowledgedMessageID: String, createdDate: String, statusCode: String, errorMessage: String) {
        self.jobID = jobID
        self.acknowledgedMessageID = acknowledgedMessageID
        self.createdDate = createdDate
        self.statusCode = statusCode
        self.errorMessage = errorMessage
    }

    package init(jobID: String, acknowledgedMessageID: String, createdDate: Timestamp, code: JobAcknowledgeCode) {
        self.init(
            jobID: jobID, acknowledgedMessageID: acknowledgedMessageID, createdDate: createdDate.iso8601, statusCode: code.rawValue,
            errorMessage: code.errorMessage)
    }

    package var code: JobAcknowledgeCode? { JobAcknowledgeCode(rawValue: self.statusCode) }

    enum CodingKeys: String, CodingKey {
        case jobID = "jobId"
        case acknowledgedMessageID = "acknowledgedMessageId"
        case createdDate, statusCode, errorMessage
    }
}

package enum JobAcknowledgeCode: String, Sendable, CaseIterable {
    case accepted = "200"
    /// Shutting down: deliver again.
    case closed = "51401"
    /// Not stored: deliver later.
    case bufferFull = "51402"
    case unexpectedDocumentType = "51403"
    case translationFailed = "51404"
    /// Received before, which is as good as accepted.
    case duplicate = "51405"
    case invalidDocument = "51406"
    case containerNotSupported = "51407"
    case parseError = "51408"
    case unexpected = "51499"

    package var errorMessage: String {
        switch self {
        case .accepted: "Successful"
        case .closed: "ClosedProcessor"
        case .bufferFull: "ProcessorBufferFull"
        case .unexpectedDocumentType: "UnexpectedDocumentType"
        case .translationFailed: "ProcessorErrorCodeTranslationFailed"
        case .duplicate: "DuplicateCommand"
        case .invalidDocument: "InvalidDocument"
        case .containerNotSupported: "ContainerNotSupported"
        case .parseError: "AgentJobMessageParseError"
        case .unexpected: "UnexpectedError"
        }
    }
}

/// Payload of `agent_job_reply`; `content` is a ``JobReplyContent`` as JSON in a string.
package struct AgentJobReply: Codable, Sendable, Equatable {
    package var schemaVersion: Int
    package var jobID: String
    package var content: String
    package var topic: String

    package init(schemaVersion: Int = 1, jobID: String, content: String, topic: String = JobTopic.sendCommand) {
        self.schemaVersion = schemaVersion
        self.jobID = jobID
        self.content = content
        self.topic = topic
    }

    package init(_ content: JobReplyContent, jobID: String, topic: String = JobTopic.sendCommand) throws(FrameError) {
        self.init(jobID: jobID, content: try jsonText(content), topic: topic)
    }

    package func decodeContent() throws(FrameError) -> JobReplyContent { try decodeJSON(JobReplyContent.self, self.content) }

    enum CodingKeys: String, CodingKey {
        case schemaVersion, content, topic
        case jobID = "jobId"
    }
}

/// Payload of `agent_job_reply_ack`: the reply is kept, the agent may forget it.
package struct AgentJobReplyAcknowledge: Codable, Sendable, Equatable {
    package var jobID: String
    package var acknowledgedMessageID: String

    package init(jobID: String, acknowledgedMessageID: String) {
        self.jobID = jobID
        self.acknowledgedMessageID = acknowledgedMessageID
    }

    enum CodingKeys: String, CodingKey {
        case jobID = "jobId"
        case acknowledgedMessageID = "acknowledgedMessageId"
    }
}

/// How a job stands, or one of its steps. `runtimeStatus` is null before the first step, holds one step in a step's own reply, and in
/// the last reply the step of a document that has one, else nothing.
package struct JobReplyContent: Codable, Sendable, Equatable {
    package var additionalInfo: AdditionalInfo
    /// A ``StepStatus`` name; stock agents know more of them.
    package var documentStatus: String
    package var documentTraceOutput: String
    package var runtimeStatus: [String: StepReply]?

    package init(
        additionalInfo: AdditionalInfo, documentStatus: String, documentTraceOutput: String = "", runtimeStatus: [String: StepReply]?
    ) {
        self.additionalInfo = additionalInfo
        self.documentStatus = documentStatus
        self.documentTraceOutput = documentTraceOutput
        self.runtimeStatus = runtimeStatus
    }

    package struct AdditionalInfo: Codable, Sendable, Equatable {
        package var agent: AgentInfo
        package var dateTime: String
        package var runID: String
        package var runtimeStatusCounts: [String: Int]?

        package init(agent: AgentInfo, dateTime: String, runID: String = "", runtimeStatusCounts: [String: Int]?) {
            self.agent = agent
            self.dateTime = dateTime
            self.runID = runID
            self.runtimeStatusCounts = runtimeStatusCounts
        }

        enum CodingKeys: String, CodingKey {
            case agent, dateTime, runtimeStatusCounts
            case runID = "runId"
        }
    }

    package struct AgentInfo: Codable, Sendable, Equatable {
        package var lang: String
        package var name: String
        package var os: String
        package var osver: String
        package var ver: String

        package init(lang: String = "en-US", name: String = "muster-agent", os: String = "linux", osver: String, ver: String) {
            self.lang = lang
            self.name = name
            self.os = os
            self.osver = osver
            self.ver = ver
        }
    }

    /// The Go senders write null, not nothing, when there is no runtimeStatus.
    package func encode(to encoder: any Encoder) throws {
        var values = encoder.container(keyedBy: CodingKeys.self)
        try values.encode(self.additionalInfo, forKey: .additionalInfo)
        try values.encode(self.documentStatus, forKey: .documentStatus)
        try values.encode(self.documentTraceOutput, forKey: .documentTraceOutput)
        try values.encode(self.runtimeStatus, forKey: .runtimeStatus)
    }

    enum CodingKeys: String, CodingKey {
        case additionalInfo, documentStatus, documentTraceOutput, runtimeStatus
    }
}

package struct StepReply: Codable, Sendable, Equatable {
    package var status: StepStatus
    package var code: Int
    /// The plugin: `aws:runShellScript`.
    package var name: String
    package var output: String
    package var startDateTime: String
    package var endDateTime: String
    package var outputS3BucketName: String
    package var outputS3KeyPrefix: String
    package var stepName: String
    package var standardOutput: String
    package var standardError: String
    /// Ours: the complete streams. Stock agents do not know it.
    package var outputs: StepOutputs?

    package init(
        status: StepStatus, code: Int, name: String, output: String, startDateTime: String, endDateTime: String,
        outputS3BucketName: String = "", outputS3KeyPrefix: String = "", stepName: String = "", standardOutput: String,
        standardError: String, outputs: StepOutputs? = nil
    ) {
        self.status = status
        self.code = code
        self.name = name
        self.output = output
        self.startDateTime = startDateTime
        self.endDateTime = endDateTime
        self.outputS3BucketName = outputS3BucketName
        self.outputS3KeyPrefix = outputS3KeyPrefix
        self.stepName = stepName
        self.standardOutput = standardOutput
        self.standardError = standardError
        self.outputs = outputs
    }

    /// Whether the first bytes of the stream's text in this reply are the whole stream.
    package func holds(_ stream: OutputStream) -> Bool {
        guard let facts = outputs?[stream], facts.length >= 0, let digest = facts.sha256 else { return false }
        let text = stream == .standardOutput ? standardOutput : standardError
        guard facts.length <= Int64(text.utf8.count) else { return false }
        return Hex.encode(SHA256.hash(Array(text.utf8.prefix(Int(facts.length))))) == digest
    }
}

/// How a step or a document stands, in the names of the wire.
package enum StepStatus: String, Codable, Sendable, CaseIterable {
    case inProgress = "InProgress"
    case success = "Success"
    case successAndReboot = "SuccessAndReboot"
    case failed = "Failed"
    case cancelled = "Cancelled"
    case timedOut = "TimedOut"
    case skipped = "Skipped"
    case notStarted = "NotStarted"
}

private func jsonText(_ value: some Encodable) throws(FrameError) -> String {
    do {
        return String(decoding: try JSONCoding.encode(value), as: UTF8.self)
    } catch {
        throw .payload("a job's content could not be written as JSON.")
    }
}

private func decodeJSON<T: Decodable>(_ type: T.Type, _ text: String) throws(FrameError) -> T {
    do {
        return try JSONCoding.decode(type, from: Array(text.utf8))
    } catch {
        throw .payload("a job's content \(JSONCoding.explain(error))")
    }
}
