/// The first message on a control channel, as text. An SSM agent proves itself with TokenValue; ours has done so with its certificate
/// and adds what makes a second holder of the same identity visible.
package struct OpenControlChannel: Codable, Sendable, Equatable {
    package var messageSchemaVersion: String
    package var requestID: String
    package var tokenValue: String
    package var agentVersion: String
    /// Lower case: `linux`.
    package var platformType: String
    /// Grows with every connection the agent makes and outlives its restarts.
    package var connectionNumber: UInt64?
    package var identityGeneration: Int?

    package init(
        messageSchemaVersion: String = "1.0", requestID: String, tokenValue: String = "", agentVersion: String,
        platformType: String = "linux",
        connectionNumber: UInt64?, identityGeneration: Int?
    ) {
        self.messageSchemaVersion = messageSchemaVersion
        self.requestID = requestID
        self.tokenValue = tokenValue
        self.agentVersion = agentVersion
        self.platformType = platformType
        self.connectionNumber = connectionNumber
        self.identityGeneration = identityGeneration
    }

    enum CodingKeys: String, CodingKey {
        case messageSchemaVersion = "MessageSchemaVersion"
        case requestID = "RequestId"
        case tokenValue = "TokenValue"
        case agentVersion = "AgentVersion"
        case platformType = "PlatformType"
        case connectionNumber = "ConnectionNumber"
        case identityGeneration = "IdentityGeneration"
    }
}

extension OpenControlChannel {
    /// How often one node may open a control channel, by a WebSocket or by its first poll: so many at once, and so many a second in the long
    /// run. An agent under its back-off opens seven in the worst twenty seconds, one that its init system starts anew every two seconds ten.
    package static let openingsAtOnce = 60
    package static let openingsPerSecond = 1
}
