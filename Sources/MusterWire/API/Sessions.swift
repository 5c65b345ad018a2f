package enum StartSession: Operation {
    package static let name = "StartSession"

    package struct Input: Codable, Sendable, Equatable, Validatable, Redacted {
        package var target: String?
        package var documentName: String?
        package var reason: String?
        package var parameters: [String: [String]]?

        package init(target: String? = nil, documentName: String? = nil, reason: String? = nil, parameters: [String: [String]]? = nil) {
            self.target = target
            self.documentName = documentName
            self.reason = reason
            self.parameters = parameters
        }

        enum CodingKeys: String, CodingKey {
            case target = "Target"
            case documentName = "DocumentName"
            case reason = "Reason"
            case parameters = "Parameters"
        }

        package func validate(_ validation: inout Validation) {
            validation.string("target", target, .required, .length(1...400))
            validation.string("documentName", documentName, .pattern(.documentARN))
            validation.string("reason", reason, .length(1...256), .pattern(.reason))
            for name in (parameters ?? [:]).keys.sorted() { validation.string("parameters", name, .length(1...255), secret: true) }
            for values in (parameters ?? [:]).values {
                for value in values { validation.string("parameters", value, .length(1...65_535), secret: true) }
            }
        }
    }

    package struct Output: Codable, Sendable, Equatable, Redacted {
        package var sessionID: SessionID
        /// Opens the data channel, and only for a minute.
        package var tokenValue: String?
        package var streamURL: String

        package init(sessionID: SessionID, tokenValue: String? = nil, streamURL: String) {
            self.sessionID = sessionID
            self.tokenValue = tokenValue
            self.streamURL = streamURL
        }

        enum CodingKeys: String, CodingKey {
            case sessionID = "SessionId"
            case tokenValue = "TokenValue"
            case streamURL = "StreamUrl"
        }
    }
}

package enum ResumeSession: Operation {
    package static let name = "ResumeSession"

    package struct Input: Codable, Sendable, Equatable, Validatable {
        package var sessionID: String?

        package init(sessionID: String? = nil) {
            self.sessionID = sessionID
        }

        enum CodingKeys: String, CodingKey {
            case sessionID = "SessionId"
        }

        package func validate(_ validation: inout Validation) {
            validation.string("sessionId", sessionID, .required, .length(1...96))
        }
    }

    package typealias Output = StartSession.Output
}

package enum TerminateSession: Operation {
    package static let name = "TerminateSession"

    package struct Input: Codable, Sendable, Equatable, Validatable {
        package var sessionID: String?

        package init(sessionID: String? = nil) {
            self.sessionID = sessionID
        }

        enum CodingKeys: String, CodingKey {
            case sessionID = "SessionId"
        }

        package func validate(_ validation: inout Validation) {
            validation.string("sessionId", sessionID, .required, .length(1...96))
        }
    }

    package struct Output: Codable, Sendable, Equatable {
        /// As it was given: also of a session that nobody knows.
        package var sessionID: String

        package init(sessionID: String) {
            self.sessionID = sessionID
        }

        enum CodingKeys: String, CodingKey {
            case sessionID = "SessionId"
        }
    }
}

package enum DescribeSessions: Operation {
    package static let name = "DescribeSessions"

    package struct Input: Codable, Sendable, Equatable, Validatable {
        package var state: String?
        package var maxResults: Int?
        package var nextToken: String?
        package var filters: [SessionFilter]?

        package init(state: String? = nil, maxResults: Int? = nil, nextToken: String? = nil, filters: [SessionFilter]? = nil) {
            self.state = state
            self.maxResults = maxResults
            self.nextToken = nextToken
            self.filters = filters
        }

        enum CodingKeys: String, CodingKey {
            case state = "State"
            case maxResults = "MaxResults"
            case nextToken = "NextToken"
            case filters = "Filters"
        }

        package func validate(_ validation: inout Validation) {
            validation.string("state", state, .required, .oneOf(["Active", "History"]))
            validation.page(maxResults, 1...200)
            validation.structures("filters", filters, count: 1...6) { validation, filter, path in
                validation.string("\(path).key", filter.key, .required)
                validation.string("\(path).value", filter.value, .required, .length(1...400))
            }
        }
    }

    package struct Output: Codable, Sendable, Equatable {
        package var sessions: [Session]
        package var nextToken: String?

        package init(sessions: [Session], nextToken: String? = nil) {
            self.sessions = sessions
            self.nextToken = nextToken
        }

        enum CodingKeys: String, CodingKey {
            case sessions = "Sessions"
            case nextToken = "NextToken"
        }
    }
}

package struct SessionFilter: Codable, Sendable, Hashable, JavaText {
    package var key: String?
    package var value: String?

    package init(key: String? = nil, value: String? = nil) {
        self.key = key
        self.value = value
    }

    package var javaText: String { javaStructure("SessionFilter", [("key", self.key), ("value", self.value)]) }
}

package enum SessionStatus: String, Codable, Sendable, CaseIterable {
    case connected = "Connected"
    case connecting = "Connecting"
    case disconnected = "Disconnected"
    case terminated = "Terminated"
    case terminating = "Terminating"
    case failed = "Failed"

    /// Nothing follows these.
    package var isOver: Bool { self == .terminated || self == .failed }
}

package struct Session: Codable, Sendable, Equatable {
    package var sessionID: SessionID
    package var target: String
    package var status: SessionStatus
    package var startDate: Timestamp
    package var endDate: Timestamp?
    package var documentName: String
    /// The ARN of the caller of StartSession.
    package var owner: String
    package var reason: String?
    /// Why it ended, or what it waits for.
    package var details: String?
    package var outputURL: SessionOutputURL?
    /// Minutes.
    package var maxSessionDuration: String?
    package var accessType: String?

    package init(
        sessionID: SessionID, target: String, status: SessionStatus, startDate: Timestamp, endDate: Timestamp? = nil,
        documentName: String, owner: String, reason: String? = nil, details: String? = nil, outputURL: SessionOutputURL? = nil,
        maxSessionDuration: String? = nil, accessType: String? = nil
    ) {
        self.sessionID = sessionID
        self.target = target
        self.status = status
        self.startDate = startDate
        self.endDate = endDate
        self.documentName = documentName
        self.owner = owner
        self.reason = reason
        self.details = details
        self.outputURL = outputURL
        self.maxSessionDuration = maxSessionDuration
        self.accessType = accessType
    }

    enum CodingKeys: String, CodingKey {
        case sessionID = "SessionId"
        case target = "Target"
        case status = "Status"
        case startDate = "StartDate"
        case endDate = "EndDate"
        case documentName = "DocumentName"
        case owner = "Owner"
        case reason = "Reason"
        case details = "Details"
        case outputURL = "OutputUrl"
        case maxSessionDuration = "MaxSessionDuration"
        case accessType = "AccessType"
    }
}

package struct SessionOutputURL: Codable, Sendable, Equatable {
    package var s3OutputURL: String?
    package var cloudWatchOutputURL: String?

    package init(s3OutputURL: String? = nil, cloudWatchOutputURL: String? = nil) {
        self.s3OutputURL = s3OutputURL
        self.cloudWatchOutputURL = cloudWatchOutputURL
    }

    enum CodingKeys: String, CodingKey {
        case s3OutputURL = "S3OutputUrl"
        case cloudWatchOutputURL = "CloudWatchOutputUrl"
    }
}
