/// What our client calls itself. Four numbers, because others compare versions only then: agents offer a multiplexer from 1.1.70 on, and
/// leave its keep-alives out above 1.2.331.0.
package enum ClientVersion {
    package static let current = "2.0.1.0"
}

/// Versions as the stock ends compare them: four numbers, or nothing can be said about them.
package struct SessionVersion: Sendable, Hashable, Comparable, LosslessStringConvertible {
    package let numbers: [UInt32]

    package init?(_ text: String) {
        guard text.utf8.count <= 44 else { return nil }
        let parts = text.split(separator: ".", omittingEmptySubsequences: false)
        let numbers = parts.compactMap { $0.utf8.allSatisfy { (0x30...0x39).contains($0) } ? UInt32($0) : nil }
        guard parts.count == 4, numbers.count == 4 else { return nil }
        self.numbers = numbers
    }

    package var description: String { self.numbers.map(String.init).joined(separator: ".") }

    package static func < (a: SessionVersion, b: SessionVersion) -> Bool { a.numbers.lexicographicallyPrecedes(b.numbers) }
}

/// Payload of type 5, from the agent: who it is, and what the client has to do before the session begins.
package struct HandshakeRequest: Codable, Sendable, Equatable {
    package struct Action: Codable, Sendable, Equatable {
        package var actionType: HandshakeAction
        package var actionParameters: JSONValue

        package init(actionType: HandshakeAction, actionParameters: JSONValue) {
            self.actionType = actionType
            self.actionParameters = actionParameters
        }

        enum CodingKeys: String, CodingKey {
            case actionType = "ActionType"
            case actionParameters = "ActionParameters"
        }

        package init(from decoder: any Decoder) throws {
            let container = try decoder.container(keyedBy: CodingKeys.self)
            self.actionType = try container.decode(HandshakeAction.self, forKey: .actionType)
            self.actionParameters = try container.decodeIfPresent(JSONValue.self, forKey: .actionParameters) ?? .null
        }
    }

    package var agentVersion: String
    package var requestedClientActions: [Action]

    package init(agentVersion: String, requestedClientActions: [Action]) {
        self.agentVersion = agentVersion
        self.requestedClientActions = requestedClientActions
    }

    /// The one thing our agent asks for. `properties` are those of a port session, resolved; null in all others.
    package init(agentVersion: String, sessionType: String, properties: JSONValue = .null) {
        self.init(
            agentVersion: agentVersion,
            requestedClientActions: [
                Action(
                    actionType: .sessionType,
                    actionParameters: .object(["SessionType": .string(sessionType), "Properties": properties]))
            ])
    }

    /// What the client is told about the session, if it is told.
    package var session: (type: String, properties: [String: JSONValue])? {
        guard
            case .object(let parameters) = self.requestedClientActions.first(where: { $0.actionType == .sessionType })?.actionParameters,
            case .string(let type) = parameters["SessionType"]
        else { return nil }
        guard case .object(let properties) = parameters["Properties"] else { return (type, [:]) }
        return (type, properties)
    }

    enum CodingKeys: String, CodingKey {
        case agentVersion = "AgentVersion"
        case requestedClientActions = "RequestedClientActions"
    }

    package init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        self.agentVersion = try container.decodeIfPresent(String.self, forKey: .agentVersion) ?? ""
        self.requestedClientActions = try container.decodeIfPresent([Action].self, forKey: .requestedClientActions) ?? []
    }
}

package struct HandshakeAction: RawRepresentable, Codable, Sendable, Hashable {
    package let rawValue: String
    package init(rawValue: String) { self.rawValue = rawValue }
    package static let sessionType = HandshakeAction(rawValue: "SessionType")
    package static let encryption = HandshakeAction(rawValue: "KMSEncryption")
}

/// Payload of type 6, from the client.
package struct HandshakeResponse: Codable, Sendable, Equatable {
    package enum Status {
        package static let success = 1
        package static let failed = 2
        package static let unsupported = 3
    }

    package struct Action: Codable, Sendable, Equatable {
        package var actionType: HandshakeAction
        /// A number; the plugin answers 0 for what it does not know.
        package var actionStatus: Int
        package var actionResult: JSONValue
        package var error: String

        package init(actionType: HandshakeAction, actionStatus: Int, actionResult: JSONValue = .null, error: String = "") {
            self.actionType = actionType
            self.actionStatus = actionStatus
            self.actionResult = actionResult
            self.error = error
        }

        enum CodingKeys: String, CodingKey {
            case actionType = "ActionType"
            case actionStatus = "ActionStatus"
            case actionResult = "ActionResult"
            case error = "Error"
        }

        package init(from decoder: any Decoder) throws {
            let container = try decoder.container(keyedBy: CodingKeys.self)
            self.actionType = try container.decode(HandshakeAction.self, forKey: .actionType)
            self.actionStatus = try container.decode(Int.self, forKey: .actionStatus)
            self.actionResult = try container.decodeIfPresent(JSONValue.self, forKey: .actionResult) ?? .null
            self.error = try container.decodeIfPresent(String.self, forKey: .error) ?? ""
        }
    }

    package var clientVersion: String
    package var processedClientActions: [Action]
    package var errors: [String]?

    package init(clientVersion: String, processedClientActions: [Action], errors: [String]? = nil) {
        self.clientVersion = clientVersion
        self.processedClientActions = processedClientActions
        self.errors = errors
    }

    enum CodingKeys: String, CodingKey {
        case clientVersion = "ClientVersion"
        case processedClientActions = "ProcessedClientActions"
        case errors = "Errors"
    }

    package init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        self.clientVersion = try container.decodeIfPresent(String.self, forKey: .clientVersion) ?? ""
        self.processedClientActions = try container.decodeIfPresent([Action].self, forKey: .processedClientActions) ?? []
        self.errors = try container.decodeIfPresent([String].self, forKey: .errors)
    }

    /// The Go ends write their nil list as null.
    package func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(self.clientVersion, forKey: .clientVersion)
        try container.encode(self.processedClientActions, forKey: .processedClientActions)
        try container.encode(self.errors, forKey: .errors)
    }

    /// What the client could not do; nothing, if it did all that was asked.
    package func refusal(of request: HandshakeRequest) -> String? {
        for asked in request.requestedClientActions {
            guard let done = self.processedClientActions.first(where: { $0.actionType == asked.actionType }) else {
                return "The client did not answer to \(asked.actionType.rawValue)."
            }
            if done.actionStatus != Status.success {
                let reason = done.error.isEmpty ? "" : ": " + String(done.error.unicodeScalars.prefix(200).map(Character.init))
                return "The client cannot do \(asked.actionType.rawValue)\(reason)"
            }
        }
        return nil
    }
}

/// Payload of type 7, from the agent. The client prints the message if there is one.
package struct HandshakeComplete: Codable, Sendable, Equatable {
    package var nanoseconds: Int64
    package var customerMessage: String

    package init(nanoseconds: Int64, customerMessage: String = "") {
        self.nanoseconds = nanoseconds
        self.customerMessage = customerMessage
    }

    enum CodingKeys: String, CodingKey {
        case nanoseconds = "HandshakeTimeToComplete"
        case customerMessage = "CustomerMessage"
    }

    package init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        self.nanoseconds = try container.decodeIfPresent(Int64.self, forKey: .nanoseconds) ?? 0
        self.customerMessage = try container.decodeIfPresent(String.self, forKey: .customerMessage) ?? ""
    }
}
