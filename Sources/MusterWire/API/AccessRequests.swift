package enum StartAccessRequest: Operation {
    package static let name = "StartAccessRequest"

    package struct Input: Codable, Sendable, Equatable, Validatable {
        package var reason: String?
        package var targets: [Target]?
        package var tags: [Tag]?

        package init(reason: String? = nil, targets: [Target]? = nil, tags: [Tag]? = nil) {
            self.reason = reason
            self.targets = targets
            self.tags = tags
        }

        enum CodingKeys: String, CodingKey {
            case reason = "Reason"
            case targets = "Targets"
            case tags = "Tags"
        }

        package var unserved: [String] { tags?.isEmpty == false ? ["Tags"] : [] }

        package func validate(_ validation: inout Validation) {
            validation.string("reason", reason, .required, .length(1...256))
            validation.required("targets", targets)
            validation.targets("targets", targets)
        }
    }

    package struct Output: Codable, Sendable, Equatable {
        package var accessRequestID: String?

        package init(accessRequestID: String? = nil) {
            self.accessRequestID = accessRequestID
        }

        enum CodingKeys: String, CodingKey {
            case accessRequestID = "AccessRequestId"
        }
    }
}

package enum GetAccessToken: Operation {
    package static let name = "GetAccessToken"

    package struct Input: Codable, Sendable, Equatable, Validatable {
        package var accessRequestID: String?

        package init(accessRequestID: String? = nil) {
            self.accessRequestID = accessRequestID
        }

        enum CodingKeys: String, CodingKey {
            case accessRequestID = "AccessRequestId"
        }

        package func validate(_ validation: inout Validation) {
            validation.string("accessRequestId", accessRequestID, .required, .pattern(.accessRequest))
        }
    }

    package struct Output: Codable, Sendable, Equatable, Redacted {
        package var credentials: AccessCredentials?
        package var status: String?

        package init(credentials: AccessCredentials? = nil, status: String? = nil) {
            self.credentials = credentials
            self.status = status
        }

        enum CodingKeys: String, CodingKey {
            case credentials = "Credentials"
            case status = "AccessRequestStatus"
        }
    }
}

package struct AccessCredentials: Codable, Sendable, Equatable, Redacted {
    package var accessKeyID: String
    package var secretAccessKey: String
    package var sessionToken: String
    package var expirationTime: Timestamp

    package init(accessKeyID: String, secretAccessKey: String, sessionToken: String, expirationTime: Timestamp) {
        self.accessKeyID = accessKeyID
        self.secretAccessKey = secretAccessKey
        self.sessionToken = sessionToken
        self.expirationTime = expirationTime
    }

    enum CodingKeys: String, CodingKey {
        case accessKeyID = "AccessKeyId"
        case secretAccessKey = "SecretAccessKey"
        case sessionToken = "SessionToken"
        case expirationTime = "ExpirationTime"
    }
}
