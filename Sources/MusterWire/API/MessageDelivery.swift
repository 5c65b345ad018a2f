// The calls of ec2messages, by which an agent fetches its jobs where a WebSocket does not get through. POST /, JSON 1.1,
// `X-Amz-Target: EC2WindowsMessageDeliveryService.<Operation>`, as amazon-ssm-agent (agent/runcommand/mds) makes them.
//
// A message is an `agent_job`: its MessageId is the job's id, its Payload the job's content. The members ConnectionNumber,
// IdentityGeneration, OpensConnection, ClosesConnection, WaitSeconds, StatusCode and OutputRequests are ours.

extension APIError {
    /// The agent has to open a connection with a number that it has not used before.
    package static let connectionNotOpen = APIError(
        code: "ConnectionNotOpen", message: "There is no connection with this number. Open one with a higher number.")
}

/// Waits for messages: answers at once when there are some, and with none when the time is over.
package enum GetMessages: Operation {
    package static let name = "GetMessages"
    package static let target = OperationTarget.messageDelivery

    /// The stock client gives up after 20 s, so a poll is held a little less long.
    package static let longestWaitSeconds = 18

    package struct Input: Codable, Sendable, Equatable, Validatable {
        package var destination: String?
        package var messagesRequestID: String?
        package var visibilityTimeoutInSeconds: Int?
        package var connectionNumber: Int64?
        package var identityGeneration: Int?
        /// The first call under a new number; it is answered at once.
        package var opensConnection: Bool?
        /// The last call under its number; the node is away from then on.
        package var closesConnection: Bool?
        package var waitSeconds: Int?

        package init(
            destination: String? = nil, messagesRequestID: String? = nil, visibilityTimeoutInSeconds: Int? = nil,
            connectionNumber: Int64? = nil, identityGeneration: Int? = nil, opensConnection: Bool? = nil,
            closesConnection: Bool? = nil, waitSeconds: Int? = nil
        ) {
            self.destination = destination
            self.messagesRequestID = messagesRequestID
            self.visibilityTimeoutInSeconds = visibilityTimeoutInSeconds
            self.connectionNumber = connectionNumber
            self.identityGeneration = identityGeneration
            self.opensConnection = opensConnection
            self.closesConnection = closesConnection
            self.waitSeconds = waitSeconds
        }

        enum CodingKeys: String, CodingKey {
            case destination = "Destination"
            case messagesRequestID = "MessagesRequestId"
            case visibilityTimeoutInSeconds = "VisibilityTimeoutInSeconds"
            case connectionNumber = "ConnectionNumber"
            case identityGeneration = "IdentityGeneration"
            case opensConnection = "OpensConnection"
            case closesConnection = "ClosesConnection"
            case waitSeconds = "WaitSeconds"
        }

        package func validate(_ validation: inout Validation) {
            validation.string("destination", destination, .required, .pattern(.instanceID))
            validation.string("messagesRequestId", messagesRequestID, .required, .length(16...64))
            validation.integer("visibilityTimeoutInSeconds", visibilityTimeoutInSeconds, 0...43_200)
            validation.required("connectionNumber", connectionNumber)
            validation.integer("identityGeneration", identityGeneration, 0...Int(Int32.max))
            validation.integer("waitSeconds", waitSeconds, 1...GetMessages.longestWaitSeconds)
        }
    }

    package struct Output: Codable, Sendable, Equatable {
        package var destination: String
        package var messages: [Message]
        package var messagesRequestID: String
        /// Somebody watches these commands: what `agent_output` says on a control channel. Absent when there are none.
        package var outputRequests: [AgentOutputRequest]?

        package init(
            destination: String, messages: [Message], messagesRequestID: String, outputRequests: [AgentOutputRequest]? = nil
        ) {
            self.destination = destination
            self.messages = messages
            self.messagesRequestID = messagesRequestID
            self.outputRequests = outputRequests
        }

        enum CodingKeys: String, CodingKey {
            case destination = "Destination"
            case messages = "Messages"
            case messagesRequestID = "MessagesRequestId"
            case outputRequests = "OutputRequests"
        }
    }

    package struct Message: Codable, Sendable, Equatable, Redacted {
        /// `2015-08-04T17:07:27.983Z`
        package var createdDate: String
        package var destination: String
        package var messageID: String
        package var payload: String
        /// SHA-256 of the payload, hexadecimal.
        package var payloadDigest: String
        package var topic: String

        package init(createdDate: String, destination: String, messageID: String, payload: String, payloadDigest: String, topic: String) {
            self.createdDate = createdDate
            self.destination = destination
            self.messageID = messageID
            self.payload = payload
            self.payloadDigest = payloadDigest
            self.topic = topic
        }

        enum CodingKeys: String, CodingKey {
            case createdDate = "CreatedDate"
            case destination = "Destination"
            case messageID = "MessageId"
            case payload = "Payload"
            case payloadDigest = "PayloadDigest"
            case topic = "Topic"
        }
    }
}

/// The job is on the node's disk.
package enum AcknowledgeMessage: Operation {
    package static let name = "AcknowledgeMessage"
    package static let target = OperationTarget.messageDelivery

    package struct Input: Codable, Sendable, Equatable, Validatable {
        package var messageID: String?
        package var connectionNumber: Int64?

        package init(messageID: String? = nil, connectionNumber: Int64? = nil) {
            self.messageID = messageID
            self.connectionNumber = connectionNumber
        }

        enum CodingKeys: String, CodingKey {
            case messageID = "MessageId"
            case connectionNumber = "ConnectionNumber"
        }

        package func validate(_ validation: inout Validation) {
            validation.string("messageId", messageID, .required, .length(16...512))
            validation.required("connectionNumber", connectionNumber)
        }
    }

    package typealias Output = EmptyOutput
}

/// The node cannot take the job.
package enum FailMessage: Operation {
    package static let name = "FailMessage"
    package static let target = OperationTarget.messageDelivery

    package struct Input: Codable, Sendable, Equatable, Validatable {
        package var messageID: String?
        package var failureType: String?
        /// A ``JobAcknowledgeCode``: tells a full queue, which is tried again, from what can never work.
        package var statusCode: String?
        package var connectionNumber: Int64?

        package init(messageID: String? = nil, failureType: String? = nil, statusCode: String? = nil, connectionNumber: Int64? = nil) {
            self.messageID = messageID
            self.failureType = failureType
            self.statusCode = statusCode
            self.connectionNumber = connectionNumber
        }

        enum CodingKeys: String, CodingKey {
            case messageID = "MessageId"
            case failureType = "FailureType"
            case statusCode = "StatusCode"
            case connectionNumber = "ConnectionNumber"
        }

        package static let internalHandlerException = "InternalHandlerException"
        package static let noHandlerExists = "NoHandlerExists"

        package func validate(_ validation: inout Validation) {
            validation.string("messageId", messageID, .required, .length(16...512))
            validation.string("failureType", failureType, .required, .oneOf([Self.internalHandlerException, Self.noHandlerExists]))
            validation.string("statusCode", statusCode, .oneOf(JobAcknowledgeCode.allCases.map(\.rawValue)))
            validation.required("connectionNumber", connectionNumber)
        }
    }

    package typealias Output = EmptyOutput
}

/// How a job stands. Answered when what it says is durable.
package enum SendReply: Operation {
    package static let name = "SendReply"
    package static let target = OperationTarget.messageDelivery

    package struct Input: Codable, Sendable, Equatable, Validatable {
        package var messageID: String?
        /// A ``JobReplyContent`` as JSON in a string.
        package var payload: String?
        /// A UUID. The same one each time the same reply is sent.
        package var replyID: String?
        package var connectionNumber: Int64?

        package init(messageID: String? = nil, payload: String? = nil, replyID: String? = nil, connectionNumber: Int64? = nil) {
            self.messageID = messageID
            self.payload = payload
            self.replyID = replyID
            self.connectionNumber = connectionNumber
        }

        enum CodingKeys: String, CodingKey {
            case messageID = "MessageId"
            case payload = "Payload"
            case replyID = "ReplyId"
            case connectionNumber = "ConnectionNumber"
        }

        package func validate(_ validation: inout Validation) {
            validation.string("messageId", messageID, .required, .length(16...512))
            validation.string("payload", payload, .required, .length(2...1_048_576))
            validation.string("replyId", replyID, .required, .length(36...36))
            validation.required("connectionNumber", connectionNumber)
        }
    }

    package typealias Output = EmptyOutput
}
