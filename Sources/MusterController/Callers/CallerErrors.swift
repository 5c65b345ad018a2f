internal import MusterWire

/// The errors of IAM, with the statuses it gives them.
/// https://docs.aws.amazon.com/IAM/latest/APIReference/API_CreateUser.html#API_CreateUser_Errors
extension APIError {
    static func noSuchEntity(_ text: String) -> APIError { APIError(code: "NoSuchEntity", message: text, status: 404) }
    static func entityAlreadyExists(_ text: String) -> APIError { APIError(code: "EntityAlreadyExists", message: text, status: 409) }
    static func deleteConflict(_ text: String) -> APIError { APIError(code: "DeleteConflict", message: text, status: 409) }
    static func limitExceeded(_ text: String) -> APIError { APIError(code: "LimitExceeded", message: text, status: 409) }
    static func malformedPolicy(_ text: String) -> APIError { APIError(code: "MalformedPolicyDocument", message: text) }
    static func invalidInput(_ text: String) -> APIError { APIError(code: "InvalidInput", message: text) }
    static func unmodifiable(_ text: String) -> APIError { APIError(code: "UnmodifiableEntity", message: text) }
}
