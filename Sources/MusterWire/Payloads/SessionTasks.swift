/// Payload of `interactive_shell`: start a session. `content` is JSON in a string; the other members are not read by anybody.
package struct StartSessionTask: Codable, Sendable, Equatable, Redacted {
    package var content: String
    package var taskID: String
    package var topic: String
    package var schemaVersion: Int

    package init(_ content: StartSessionContent) throws(FrameError) {
        do {
            self.content = String(decoding: try JSONCoding.encode(content), as: UTF8.self)
        } catch {
            throw .payload("a session's content could not be written as JSON.")
        }
        self.taskID = content.sessionID.rawValue
        self.topic = MessageType.interactiveShell.rawValue
        self.schemaVersion = 1
    }

    package func decodeContent() throws(FrameError) -> StartSessionContent {
        do {
            return try JSONCoding.decode(StartSessionContent.self, from: Array(self.content.utf8))
        } catch {
            throw .payload("a session's content \(JSONCoding.explain(error))")
        }
    }

    package init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        self.content = try container.decode(String.self, forKey: .content)
        self.taskID = try container.decodeIfPresent(String.self, forKey: .taskID) ?? ""
        self.topic = try container.decodeIfPresent(String.self, forKey: .topic) ?? ""
        self.schemaVersion = try container.decodeIfPresent(Int.self, forKey: .schemaVersion) ?? 1
    }

    enum CodingKeys: String, CodingKey {
        case content = "Content"
        case taskID = "TaskId"
        case topic = "Topic"
        case schemaVersion = "SchemaVersion"
    }
}

/// What to start. The last member is ours.
package struct StartSessionContent: Codable, Sendable, Equatable, Redacted {
    package var documentName: String
    package var documentContent: JSONValue
    package var sessionID: SessionID
    /// Values of String parameters are strings: with the lists of StartSession a stock agent fails port sessions.
    package var parameters: [String: JSONValue]
    /// Resolved by the controller; empty if nothing names a user.
    package var runAsUser: String
    package var sessionOwner: String
    package var client: SessionClient?

    package init(
        documentName: String, documentContent: JSONValue, sessionID: SessionID, parameters: [String: JSONValue], runAsUser: String,
        sessionOwner: String, client: SessionClient?
    ) {
        self.documentName = documentName
        self.documentContent = documentContent
        self.sessionID = sessionID
        self.parameters = parameters
        self.runAsUser = runAsUser
        self.sessionOwner = sessionOwner
        self.client = client
    }

    package init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        self.documentName = try container.decodeIfPresent(String.self, forKey: .documentName) ?? ""
        self.documentContent = try container.decode(JSONValue.self, forKey: .documentContent)
        self.sessionID = try container.decode(SessionID.self, forKey: .sessionID)
        self.parameters = try container.decodeIfPresent([String: JSONValue].self, forKey: .parameters) ?? [:]
        self.runAsUser = try container.decodeIfPresent(String.self, forKey: .runAsUser) ?? ""
        self.sessionOwner = try container.decodeIfPresent(String.self, forKey: .sessionOwner) ?? ""
        self.client = try container.decodeIfPresent(SessionClient.self, forKey: .client)
    }

    enum CodingKeys: String, CodingKey {
        case documentName = "DocumentName"
        case documentContent = "DocumentContent"
        case sessionID = "SessionId"
        case parameters = "Parameters"
        case runAsUser = "RunAsUser"
        case sessionOwner = "SessionOwner"
        case client = "Client"
    }
}

/// What is at the other end, from its OpenDataChannel: ours, or the plugin of the AWS CLI.
package struct SessionClient: Codable, Sendable, Equatable {
    package var isNative: Bool
    package var maximumPayload: Int
    package var clientVersion: String
    /// Frames without a digest.
    package var takesUnhashed: Bool?

    package init(isNative: Bool, maximumPayload: Int, clientVersion: String, takesUnhashed: Bool? = nil) {
        self.isNative = isNative
        self.maximumPayload = maximumPayload
        self.clientVersion = clientVersion
        self.takesUnhashed = takesUnhashed
    }

    package static let stock = SessionClient(isNative: false, maximumPayload: 1024, clientVersion: "")

    package init(_ opening: OpenDataChannel) {
        let isNative = opening.maximumPayload != nil
        self.init(
            isNative: isNative,
            maximumPayload: isNative ? min(max(opening.maximumPayload ?? 1024, 1024), ReliableStream.largestPayload) : 1024,
            clientVersion: opening.clientVersion ?? "", takesUnhashed: isNative ? opening.takesUnhashed : nil)
    }

    /// The limits of the agent's stream to this client.
    package var limits: ReliableStream.Limits {
        guard self.isNative else { return .stock }
        var limits = ReliableStream.Limits.native
        limits.maximumPayload = min(max(self.maximumPayload, 1024), ReliableStream.largestPayload)
        limits.hashesPayloads = self.takesUnhashed != true
        return limits
    }

    enum CodingKeys: String, CodingKey {
        case isNative = "Native"
        case maximumPayload = "MaximumPayload"
        case clientVersion = "ClientVersion"
        case takesUnhashed = "TakesUnhashed"
    }
}

/// Payload of `agent_task_complete`: the session is over at the agent. Repeated until `AgentTaskAcknowledge` comes; a failed session of a
/// stock agent sends two different ones.
package struct AgentTaskComplete: Codable, Sendable, Equatable {
    package enum Status {
        package static let success = "Success"
        package static let failed = "Failed"
        package static let cancelled = "Cancelled"
    }

    package var schemaVersion: Int
    /// The session.
    package var taskID: SessionID
    package var topic: String
    package var finalTaskStatus: String
    package var isRoutingFailure: Bool
    package var awsAccountID: String
    package var instanceID: String
    package var output: String
    package var s3Bucket: String
    package var s3UrlSuffix: String
    package var cwlGroup: String
    package var cwlStream: String
    package var retryNumber: Int
    /// Ours: as in `AgentSessionState`.
    package var exitCode: Int?
    package var transfers: [SessionTransfer]?

    package init(
        session: SessionID, status: String, instanceID: String, output: String = "", retryNumber: Int = 1, exitCode: Int? = nil,
        transfers: [SessionTransfer]? = nil
    ) {
        self.schemaVersion = 1
        self.taskID = session
        self.topic = MessageType.agentTaskComplete.rawValue
        self.finalTaskStatus = status
        self.isRoutingFailure = false
        self.awsAccountID = ""
        self.instanceID = instanceID
        self.output = output
        self.s3Bucket = ""
        self.s3UrlSuffix = ""
        self.cwlGroup = ""
        self.cwlStream = ""
        self.retryNumber = retryNumber
        self.exitCode = exitCode
        self.transfers = transfers
    }

    package init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        self.schemaVersion = try container.decodeIfPresent(Int.self, forKey: .schemaVersion) ?? 1
        self.taskID = try container.decode(SessionID.self, forKey: .taskID)
        self.topic = try container.decodeIfPresent(String.self, forKey: .topic) ?? ""
        self.finalTaskStatus = try container.decode(String.self, forKey: .finalTaskStatus)
        self.isRoutingFailure = try container.decodeIfPresent(Bool.self, forKey: .isRoutingFailure) ?? false
        self.awsAccountID = try container.decodeIfPresent(String.self, forKey: .awsAccountID) ?? ""
        self.instanceID = try container.decodeIfPresent(String.self, forKey: .instanceID) ?? ""
        self.output = try container.decodeIfPresent(String.self, forKey: .output) ?? ""
        self.s3Bucket = try container.decodeIfPresent(String.self, forKey: .s3Bucket) ?? ""
        self.s3UrlSuffix = try container.decodeIfPresent(String.self, forKey: .s3UrlSuffix) ?? ""
        self.cwlGroup = try container.decodeIfPresent(String.self, forKey: .cwlGroup) ?? ""
        self.cwlStream = try container.decodeIfPresent(String.self, forKey: .cwlStream) ?? ""
        self.retryNumber = try container.decodeIfPresent(Int.self, forKey: .retryNumber) ?? 1
        self.exitCode = try container.decodeIfPresent(Int.self, forKey: .exitCode)
        self.transfers = try container.decodeIfPresent([SessionTransfer].self, forKey: .transfers)
    }

    enum CodingKeys: String, CodingKey {
        case schemaVersion = "SchemaVersion"
        case taskID = "TaskId"
        case topic = "Topic"
        case finalTaskStatus = "FinalTaskStatus"
        case isRoutingFailure = "IsRoutingFailure"
        case awsAccountID = "AwsAccountId"
        case instanceID = "InstanceId"
        case output = "Output"
        case s3Bucket = "S3Bucket"
        case s3UrlSuffix = "S3UrlSuffix"
        case cwlGroup = "CwlGroup"
        case cwlStream = "CwlStream"
        case retryNumber = "RetryNumber"
        case exitCode = "ExitCode"
        case transfers = "Transfers"
    }
}

/// Payload of `agent_task_acknowledge`. The agent looks for the message's id alone.
package struct AgentTaskAcknowledge: Codable, Sendable, Equatable {
    package var schemaVersion: Int
    /// Of the `agent_task_complete` frame, lower case.
    package var messageID: String
    package var taskID: String
    package var topic: String

    package init(messageID: String, taskID: String) {
        self.schemaVersion = 1
        self.messageID = messageID
        self.taskID = taskID
        self.topic = MessageType.agentTaskComplete.rawValue
    }

    package init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        self.schemaVersion = try container.decodeIfPresent(Int.self, forKey: .schemaVersion) ?? 1
        self.messageID = try container.decode(String.self, forKey: .messageID)
        self.taskID = try container.decodeIfPresent(String.self, forKey: .taskID) ?? ""
        self.topic = try container.decodeIfPresent(String.self, forKey: .topic) ?? ""
    }

    enum CodingKeys: String, CodingKey {
        case schemaVersion = "SchemaVersion"
        case messageID = "MessageId"
        case taskID = "TaskId"
        case topic = "Topic"
    }
}
