import FoundationEssentials

/// A refused call as AWS JSON 1.1 shows it: a code, a text and an HTTP status.
///
/// Everything a caller did wrong is 400: SDKs repeat calls that end with 5xx or 429.
package struct APIError: Error, Sendable, Hashable, CustomStringConvertible {
    package let code: String
    package let message: String
    package let status: Int

    package init(code: String, message: String, status: Int = 400) {
        self.code = code
        self.message = message
        self.status = status
    }

    package var description: String { self.message.isEmpty ? self.code : "\(self.code): \(self.message)" }

    /// Both spellings of the text, because the model has some errors with `message` and most with `Message`.
    package func body() -> [UInt8] {
        (try? JSONCoding.encode(["__type": self.code, "message": self.message, "Message": self.message]))
            ?? Array(#"{"__type":"InternalServerError"}"#.utf8)
    }

    /// The error a response carries; `__type` may have a namespace before `#` and a URL after `:`.
    package init(status: Int, body: [UInt8]) {
        let answer = try? JSONCoding.decode(Body.self, from: body)
        var code = answer?.type ?? answer?.code ?? String(status)
        if let hash = code.lastIndex(of: "#") { code = String(code[code.index(after: hash)...]) }
        if let colon = code.firstIndex(of: ":") { code = String(code[..<colon]) }
        self.init(code: code, message: answer?.message ?? answer?.capitalMessage ?? "", status: status)
    }

    private struct Body: Decodable {
        var type: String?
        var code: String?
        var message: String?
        var capitalMessage: String?

        enum CodingKeys: String, CodingKey {
            case type = "__type", code, message
            case capitalMessage = "Message"
        }
    }
}

// What goes wrong before an operation is reached.
extension APIError {
    package static let missingAuthenticationToken = APIError(
        code: "MissingAuthenticationTokenException", message: "Missing Authentication Token")
    package static let unrecognizedClient = APIError(
        code: "UnrecognizedClientException", message: "The security token included in the request is invalid.")
    package static let expiredToken = APIError(
        code: "ExpiredTokenException", message: "The security token included in the request is expired")
    package static let unknownOperation = APIError(code: "UnknownOperationException", message: "")
    package static let throttling = APIError(code: "ThrottlingException", message: "Rate exceeded")
    package static let internalServerError = APIError(
        code: "InternalServerError", message: "The request could not be completed. Try again; the controller's log has the cause.",
        status: 500)

    package static func incompleteSignature(_ text: String) -> APIError { APIError(code: "IncompleteSignatureException", message: text) }
    package static func invalidSignature(_ text: String) -> APIError { APIError(code: "InvalidSignatureException", message: text) }
    package static func serialization(_ text: String) -> APIError { APIError(code: "SerializationException", message: text) }
    package static func validation(_ text: String) -> APIError { APIError(code: "ValidationException", message: text) }
    package static func requestTooLarge(limit: Int) -> APIError {
        APIError(code: "RequestEntityTooLarge", message: "The request body is larger than \(limit) bytes.", status: 413)
    }
    /// `action` is `ssm:SendCommand`; `reason` a clause without its full stop.
    package static func accessDenied(user: String, action: String, resource: String, reason: String? = nil) -> APIError {
        let clause = reason.map { " \($0)" } ?? ""
        return APIError(
            code: "AccessDeniedException",
            message: "User: \(user) is not authorized to perform: \(action) on resource: \(resource)\(clause)")
    }
    /// A caller of another kind than the route serves, or a proof of identity that failed.
    package static func accessDenied(_ text: String) -> APIError { APIError(code: "AccessDeniedException", message: text) }
    /// A member SSM knows and Muster does not serve.
    package static func notServed(_ members: [String], operation: String) -> APIError {
        .validation("\(operation) does not serve \(members.joined(separator: ", ")) yet: leave \(members.count == 1 ? "it" : "them") out.")
    }
}

// The model's errors.
extension APIError {
    package static func duplicateInstanceID(_ text: String = "You cannot specify an instance ID in more than one place.") -> APIError {
        APIError(code: "DuplicateInstanceId", message: text)
    }
    package static func invalidInstanceID(_ text: String) -> APIError { APIError(code: "InvalidInstanceId", message: text) }
    package static func invalidCommandID(_ text: String = "The command does not exist.") -> APIError {
        APIError(code: "InvalidCommandId", message: text)
    }
    package static func invalidPluginName(_ text: String) -> APIError { APIError(code: "InvalidPluginName", message: text) }
    package static func invocationDoesNotExist(_ text: String = "The command has no invocation on that node.") -> APIError {
        APIError(code: "InvocationDoesNotExist", message: text)
    }
    package static func invalidDocument(_ text: String = "The specified document does not exist.") -> APIError {
        APIError(code: "InvalidDocument", message: text)
    }
    package static func invalidDocumentVersion(_ text: String = "The document version is not valid or does not exist.") -> APIError {
        APIError(code: "InvalidDocumentVersion", message: text)
    }
    package static func documentAlreadyExists(_ text: String = "The specified document already exists.") -> APIError {
        APIError(code: "DocumentAlreadyExists", message: text)
    }
    package static func documentLimitExceeded(_ text: String) -> APIError { APIError(code: "DocumentLimitExceeded", message: text) }
    package static func documentVersionLimitExceeded(_ text: String) -> APIError {
        APIError(code: "DocumentVersionLimitExceeded", message: text)
    }
    package static func duplicateDocumentContent(_ text: String) -> APIError { APIError(code: "DuplicateDocumentContent", message: text) }
    package static func duplicateDocumentVersionName(_ text: String) -> APIError {
        APIError(code: "DuplicateDocumentVersionName", message: text)
    }
    package static func invalidDocumentOperation(_ text: String) -> APIError { APIError(code: "InvalidDocumentOperation", message: text) }
    package static func invalidParameters(_ text: String) -> APIError { APIError(code: "InvalidParameters", message: text) }
    package static func maxDocumentSizeExceeded(_ text: String) -> APIError { APIError(code: "MaxDocumentSizeExceeded", message: text) }
    package static func unsupportedPlatformType(_ text: String) -> APIError { APIError(code: "UnsupportedPlatformType", message: text) }
    package static func invalidOutputFolder(_ text: String) -> APIError { APIError(code: "InvalidOutputFolder", message: text) }
    package static func invalidRole(_ text: String) -> APIError { APIError(code: "InvalidRole", message: text) }
    package static func invalidNotificationConfig(_ text: String) -> APIError { APIError(code: "InvalidNotificationConfig", message: text) }
    package static func invalidFilter(_ text: String) -> APIError { APIError(code: "InvalidFilter", message: text) }
    package static func invalidFilterKey(_ text: String) -> APIError { APIError(code: "InvalidFilterKey", message: text) }
    package static func invalidFilterValue(_ text: String) -> APIError { APIError(code: "InvalidFilterValue", message: text) }
    package static func invalidInstanceInformationFilterValue(_ text: String) -> APIError {
        APIError(code: "InvalidInstanceInformationFilterValue", message: text)
    }
    package static func invalidInstancePropertyFilterValue(_ text: String) -> APIError {
        APIError(code: "InvalidInstancePropertyFilterValue", message: text)
    }
    package static func serviceSettingNotFound(_ text: String) -> APIError { APIError(code: "ServiceSettingNotFound", message: text) }
    package static func invalidNextToken(_ text: String = "The specified token is not valid.") -> APIError {
        APIError(code: "InvalidNextToken", message: text)
    }
    package static func targetNotConnected(_ target: String) -> APIError {
        APIError(code: "TargetNotConnected", message: "\(target) is not connected.")
    }
    package static func doesNotExist(_ text: String) -> APIError { APIError(code: "DoesNotExistException", message: text) }
    package static func invalidActivation(_ text: String) -> APIError { APIError(code: "InvalidActivation", message: text) }
    package static func invalidActivationID(_ text: String) -> APIError { APIError(code: "InvalidActivationId", message: text) }
    package static func activationExpired(_ text: String) -> APIError { APIError(code: "ActivationExpired", message: text) }
    package static func invalidPublicKey(_ text: String) -> APIError { APIError(code: "InvalidPublicKey", message: text) }
    package static func publicKeyAlreadyRegistered(_ text: String) -> APIError {
        APIError(code: "PublicKeyAlreadyRegistered", message: text)
    }
    package static func invalidResourceID(_ text: String) -> APIError { APIError(code: "InvalidResourceId", message: text) }
    package static func invalidResourceType(_ text: String) -> APIError { APIError(code: "InvalidResourceType", message: text) }
    package static func tooManyTags(_ text: String) -> APIError { APIError(code: "TooManyTagsError", message: text) }
    package static func tooManyUpdates(_ text: String) -> APIError { APIError(code: "TooManyUpdates", message: text) }
    package static func idempotentParameterMismatch(_ text: String) -> APIError {
        APIError(code: "IdempotentParameterMismatch", message: text)
    }
}
