internal import HTTPTypes
internal import MusterWire

/// A service whose calls are forms and whose answers are XML. [value]
enum QueryService: String, Sendable, CaseIterable {
    case securityToken = "sts"
    case identity = "iam"

    /// Of its API, which the form has to name.
    var version: String {
        switch self {
        case .securityToken: GetCallerIdentity.version
        case .identity: "2010-05-08"
        }
    }

    var target: OperationTarget {
        switch self {
        case .securityToken: .securityToken
        case .identity: .identity
        }
    }

    var namespace: String { "https://\(rawValue).amazonaws.com/doc/\(version)/" }
}

/// How a call is written: as AWS JSON 1.1, or in the query protocol of STS and IAM, whose answers are XML. [value]
///
/// All come to the same path, so the content type and the form's Action and Version decide.
/// https://smithy.io/2.0/aws/protocols/aws-query-protocol.html
enum CallFormat: Sendable, Equatable {
    case json
    case query(QueryService)

    /// Fifty tags and what goes with them; the many that an attacker could send are not even looked at.
    private static let maximumFields = 128

    init(_ headers: HTTPFields, body: [UInt8]) {
        let type = (headers[.contentType] ?? "").lowercased()
        let isForm = headers[.target] == nil && type.hasPrefix("application/x-www-form-urlencoded")
        guard isForm, Self.holds("Action=", body) else {
            self = .json
            return
        }
        self = .query(QueryService.allCases.first { Self.holds("Version=" + $0.version, body) } ?? .securityToken)
    }

    /// curl calls everything a form; one that names no action is none of ours.
    private static func holds(_ field: String, _ body: [UInt8]) -> Bool {
        body.split(separator: UInt8(ascii: "&"), maxSplits: maximumFields).contains { $0.starts(with: field.utf8) }
    }

    /// The service that the signature has to be for.
    var service: String {
        switch self {
        case .json: "ssm"
        case .query(let service): service.rawValue
        }
    }

    /// What is called, and of which service. The name is empty when nothing is named.
    func operation(_ headers: HTTPFields, body: [UInt8]) throws(APIError) -> (name: String, target: OperationTarget) {
        switch self {
        case .json:
            let asked = (headers[.target] ?? "").split(separator: ".", maxSplits: 1, omittingEmptySubsequences: false)
            guard asked.count == 2, let target = OperationTarget(rawValue: String(asked[0])),
                !QueryService.allCases.contains(where: { $0.target == target })
            else { return ("", .systemsManager) }
            return (String(asked[1]), target)
        case .query(let service):
            let form = try Self.fields(body)
            let action = form["Action"] ?? ""
            guard action.isEmpty || form["Version"] == service.version else { return ("", service.target) }
            return (action, service.target)
        }
    }

    /// `output` is JSON, or the XML of the result.
    func success(_ output: [UInt8], operation: String, requestID: String) -> Answer {
        guard case .query(let service) = self else { return .success(output) }
        return Self.xml(
            .ok,
            """
            <\(operation)Response xmlns="\(service.namespace)">
            \(String(decoding: output, as: UTF8.self))  <ResponseMetadata>
                <RequestId>\(requestID)</RequestId>
              </ResponseMetadata>
            </\(operation)Response>

            """)
    }

    func failure(_ error: APIError, requestID: String) -> Answer {
        guard case .query(let service) = self else { return .failure(error) }
        let (code, status) = Self.queryError(error)
        var answer = Self.xml(
            HTTPResponse.Status(code: status),
            """
            <ErrorResponse xmlns="\(service.namespace)">
              <Error>
                <Type>\(status >= 500 ? "Receiver" : "Sender")</Type>
                <Code>\(Self.escaped(code))</Code>
                <Message>\(Self.escaped(error.message))</Message>
              </Error>
              <RequestId>\(requestID)</RequestId>
            </ErrorResponse>

            """)
        answer.errorType = code
        return answer
    }

    /// The query services have names of their own for the common errors, and answer most of them with 403.
    /// https://docs.aws.amazon.com/STS/latest/APIReference/CommonErrors.html
    private static func queryError(_ error: APIError) -> (code: String, status: Int) {
        switch error.code {
        case "MissingAuthenticationTokenException": ("MissingAuthenticationToken", 403)
        case "IncompleteSignatureException": ("IncompleteSignature", 400)
        case "InvalidSignatureException": ("SignatureDoesNotMatch", 403)
        case "UnrecognizedClientException": ("InvalidClientTokenId", 403)
        case "ExpiredTokenException": ("ExpiredToken", 403)
        case "AccessDeniedException": ("AccessDenied", 403)
        case "ThrottlingException": ("Throttling", 400)
        case "UnknownOperationException": ("InvalidAction", 400)
        case "SerializationException": ("MalformedQueryString", 400)
        case "ValidationException": ("ValidationError", 400)
        case "InternalServerError": ("InternalFailure", 500)
        default: (error.code, error.status)
        }
    }

    private static func xml(_ status: HTTPResponse.Status, _ text: String) -> Answer {
        Answer(status: status, contentType: "text/xml", body: Array(text.utf8))
    }

    // MARK: The form

    /// https://url.spec.whatwg.org/#urlencoded-parsing, but strict: what is no form is refused.
    static func fields(_ body: [UInt8]) throws(APIError) -> [String: String] {
        var found: [String: String] = [:]
        let pairs = body.split(separator: UInt8(ascii: "&"), maxSplits: maximumFields, omittingEmptySubsequences: true)
        guard pairs.count <= maximumFields else { throw .serialization("The form has more than \(maximumFields) fields.") }
        for pair in pairs {
            let parts = pair.split(separator: UInt8(ascii: "="), maxSplits: 1, omittingEmptySubsequences: false)
            guard let name = decoded(parts[0]), let value = decoded(parts.count > 1 ? parts[1] : []) else {
                throw .serialization("The form has a field that is not percent-encoded UTF-8.")
            }
            // Two of one name leave open which one counts.
            guard found.updateValue(value, forKey: name) == nil else { throw .serialization("The form has a field twice.") }
        }
        return found
    }

    private static func decoded(_ bytes: ArraySlice<UInt8>) -> String? {
        var plain: [UInt8] = []
        plain.reserveCapacity(bytes.count)
        var rest = bytes
        while let byte = rest.popFirst() {
            switch byte {
            case UInt8(ascii: "+"): plain.append(0x20)
            case UInt8(ascii: "%"):
                guard let high = rest.popFirst().flatMap(hexValue), let low = rest.popFirst().flatMap(hexValue) else { return nil }
                plain.append(high << 4 | low)
            default: plain.append(byte)
            }
        }
        return String(validating: plain, as: UTF8.self)
    }

    private static func hexValue(_ byte: UInt8) -> UInt8? {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): byte - UInt8(ascii: "0")
        case UInt8(ascii: "a")...UInt8(ascii: "f"): byte - UInt8(ascii: "a") + 10
        case UInt8(ascii: "A")...UInt8(ascii: "F"): byte - UInt8(ascii: "A") + 10
        default: nil
        }
    }

    /// What XML 1.0 cannot say at all (most control characters) becomes U+FFFD.
    static func escaped(_ text: String) -> String {
        var out = ""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "&": out += "&amp;"
            case "<": out += "&lt;"
            case ">": out += "&gt;"
            case "\"": out += "&quot;"
            case "\t", "\n": out.unicodeScalars.append(scalar)
            default:
                out.unicodeScalars.append(scalar.value < 0x20 || scalar.value == 0xfffe || scalar.value == 0xffff ? "\u{fffd}" : scalar)
            }
        }
        return out
    }
}
