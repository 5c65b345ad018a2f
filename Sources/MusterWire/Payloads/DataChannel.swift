/// The first message on a data channel, as text. The plugin of the AWS CLI sends ClientId and ClientVersion; an agent is told by its
/// ClientInstanceId. Neither gets an answer.
package struct OpenDataChannel: Codable, Sendable, Equatable, Redacted {
    package var messageSchemaVersion: String
    package var requestID: String
    /// Of StartSession or ResumeSession. Our agent proves itself with its certificate and sends none.
    package var tokenValue: String
    /// One for the life of the client's process; empty from agents.
    package var clientID: String
    package var clientVersion: String?
    package var clientInstanceID: String?
    /// Ours: the largest payload that the sender takes in one frame. Without it the sender is a stock one.
    package var maximumPayload: Int?
    /// Ours: the sender takes frames without a digest (`AgentMessage.isHashed`).
    package var takesUnhashed: Bool?

    package init(
        messageSchemaVersion: String = "1.0", requestID: String, tokenValue: String = "", clientID: String = "",
        clientVersion: String? = nil, clientInstanceID: String? = nil, maximumPayload: Int? = nil, takesUnhashed: Bool? = nil
    ) {
        self.messageSchemaVersion = messageSchemaVersion
        self.requestID = requestID
        self.tokenValue = tokenValue
        self.clientID = clientID
        self.clientVersion = clientVersion
        self.clientInstanceID = clientInstanceID
        self.maximumPayload = maximumPayload
        self.takesUnhashed = takesUnhashed
    }

    package init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        self.messageSchemaVersion = try container.decodeIfPresent(String.self, forKey: .messageSchemaVersion) ?? "1.0"
        self.requestID = try container.decodeIfPresent(String.self, forKey: .requestID) ?? ""
        self.tokenValue = try container.decodeIfPresent(String.self, forKey: .tokenValue) ?? ""
        self.clientID = try container.decodeIfPresent(String.self, forKey: .clientID) ?? ""
        self.clientVersion = try container.decodeIfPresent(String.self, forKey: .clientVersion)
        self.clientInstanceID = try container.decodeIfPresent(String.self, forKey: .clientInstanceID)
        self.maximumPayload = try container.decodeIfPresent(Int.self, forKey: .maximumPayload)
        self.takesUnhashed = try container.decodeIfPresent(Bool.self, forKey: .takesUnhashed)
    }

    enum CodingKeys: String, CodingKey {
        case messageSchemaVersion = "MessageSchemaVersion"
        case requestID = "RequestId"
        case tokenValue = "TokenValue"
        case clientID = "ClientId"
        case clientVersion = "ClientVersion"
        case clientInstanceID = "ClientInstanceId"
        case maximumPayload = "MaximumPayload"
        case takesUnhashed = "TakesUnhashed"
    }
}

/// Payload of `agent_session_state`: the agent's end of the session is there, or about to go. Flags 3, for the controller alone.
package struct AgentSessionState: Codable, Sendable, Equatable {
    /// What the stock agent says; others are ignored by who reads it.
    package struct State: RawRepresentable, Codable, Sendable, Hashable {
        package let rawValue: String
        package init(rawValue: String) { self.rawValue = rawValue }
        package static let connected = State(rawValue: "Connected")
        package static let terminating = State(rawValue: "Terminating")
    }

    package var schemaVersion: Int
    package var sessionState: State
    package var sessionID: SessionID
    /// Ours, with Terminating: of the shell or the command. Of one that a signal ended, 128 and the signal's number.
    package var exitCode: Int?
    package var transfers: [SessionTransfer]?
    /// Ours, with Connected: who the session runs as.
    package var runAsUser: String?

    package init(
        _ state: State, sessionID: SessionID, exitCode: Int? = nil, transfers: [SessionTransfer]? = nil, runAsUser: String? = nil
    ) {
        self.runAsUser = runAsUser
        self.schemaVersion = 1
        self.sessionState = state
        self.sessionID = sessionID
        self.exitCode = exitCode
        self.transfers = transfers
    }

    enum CodingKeys: String, CodingKey {
        case schemaVersion = "SchemaVersion"
        case sessionState = "SessionState"
        case sessionID = "SessionId"
        case exitCode = "ExitCode"
        case transfers = "Transfers"
        case runAsUser = "RunAsUser"
    }
}

/// Ours: one connection or one file that went through a session, told at its end.
package struct SessionTransfer: Codable, Sendable, Equatable {
    package enum Kind: String, Codable, Sendable {
        /// A connection of a port session; `name` is the address it went to.
        case connection
        /// A file that came to the node, and one that left it; `name` is its path there.
        case upload, download
    }

    package static let largestList = 1000

    package var kind: Kind
    package var name: String
    /// From the client to the node.
    package var received: Int64
    package var sent: Int64
    package var started: Timestamp
    package var ended: Timestamp
    /// Hexadecimal, of a file.
    package var sha256: String?
    package var error: String?

    package init(
        kind: Kind, name: String, received: Int64, sent: Int64, started: Timestamp, ended: Timestamp, sha256: String? = nil,
        error: String? = nil
    ) {
        self.kind = kind
        self.name = name
        self.received = received
        self.sent = sent
        self.started = started
        self.ended = ended
        self.sha256 = sha256
        self.error = error
    }

    enum CodingKeys: String, CodingKey {
        case kind = "Kind"
        case name = "Name"
        case received = "Received"
        case sent = "Sent"
        case started = "Started"
        case ended = "Ended"
        case sha256 = "Sha256"
        case error = "Error"
    }
}

/// Payload of `channel_closed`: the session is over. To the client, which shows `output` if there is any and ends; to the agent, which
/// ends the session's processes.
package struct ChannelClosed: Codable, Sendable, Equatable {
    package var messageType: String
    package var messageID: String
    package var destinationID: String
    package var sessionID: SessionID
    package var schemaVersion: Int
    /// Text, which the agents want.
    package var createdDate: String
    package var output: String?
    /// Ours: as in `AgentSessionState`.
    package var exitCode: Int?

    package init(
        messageID: String, destinationID: String, sessionID: SessionID, createdDate: Timestamp, output: String? = nil,
        exitCode: Int? = nil
    ) {
        self.messageType = MessageType.channelClosed.rawValue
        self.messageID = messageID
        self.destinationID = destinationID
        self.sessionID = sessionID
        self.schemaVersion = 1
        self.createdDate = createdDate.iso8601
        self.output = output
        self.exitCode = exitCode
    }

    /// Only the session is asked for: who reads it wants to know which one is over.
    package init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        self.messageType = try container.decodeIfPresent(String.self, forKey: .messageType) ?? ""
        self.messageID = try container.decodeIfPresent(String.self, forKey: .messageID) ?? ""
        self.destinationID = try container.decodeIfPresent(String.self, forKey: .destinationID) ?? ""
        self.sessionID = try container.decode(SessionID.self, forKey: .sessionID)
        self.schemaVersion = try container.decodeIfPresent(Int.self, forKey: .schemaVersion) ?? 1
        self.createdDate = try container.decodeIfPresent(String.self, forKey: .createdDate) ?? ""
        self.output = try container.decodeIfPresent(String.self, forKey: .output)
        self.exitCode = try container.decodeIfPresent(Int.self, forKey: .exitCode)
    }

    enum CodingKeys: String, CodingKey {
        case messageType = "MessageType"
        case messageID = "MessageId"
        case destinationID = "DestinationId"
        case sessionID = "SessionId"
        case schemaVersion = "SchemaVersion"
        case createdDate = "CreatedDate"
        case output = "Output"
        case exitCode = "ExitCode"
    }
}

/// Payload of `start_publication` and `pause_publication`. No receiver reads it, but the stock agent needs one that is not empty.
package struct Publication: Codable, Sendable, Equatable {
    package var schemaVersion: Int
    package var sessionID: SessionID

    package init(sessionID: SessionID) {
        self.schemaVersion = 1
        self.sessionID = sessionID
    }

    enum CodingKeys: String, CodingKey {
        case schemaVersion = "SchemaVersion"
        case sessionID = "SessionId"
    }
}
