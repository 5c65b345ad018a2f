package import HTTPTypes
import MusterCrypto

/// AWS Signature Version 4 in the Authorization header, both sides of it.
/// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
package enum SigV4 {
    static let algorithm = "AWS4-HMAC-SHA256"
    static let terminator = "aws4_request"
    /// How far the clocks may be apart, in seconds.
    static let allowedSkew: Int64 = 300

    static func signingKey(secret: String, date: String, region: String, service: String) -> [UInt8] {
        var key = Array("AWS4\(secret)".utf8)
        for part in [date, region, service, Self.terminator] { key = HMACSHA256.code(key: key, message: Array(part.utf8)) }
        return key
    }

    static func stringToSign(time: String, scope: String, request: CanonicalRequest) -> String {
        [Self.algorithm, time, scope, request.hash].joined(separator: "\n")
    }
}

// Signing
extension SigV4 {
    /// Headers that proxies and HTTP libraries change: botocore leaves the same ones out.
    private static let neverSigned: Set<String> = [
        "authorization", "connection", "expect", "host", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailer",
        "transfer-encoding", "upgrade", "user-agent", "x-amzn-trace-id",
    ]

    /// Adds x-amz-date, the session token if there is one, and authorization. All other headers must be in place and stay as they are.
    /// - Parameters:
    ///   - host: the Host header as it will be sent, with the port unless it is the scheme's own.
    ///   - path: percent-encoded, without the query.
    package static func sign(
        method: String, path: String, query: String = "", headers: inout HTTPFields, body: [UInt8], host: String,
        credentials: Credentials, region: String, service: String, at time: Timestamp
    ) {
        sign(
            method: method, path: path, query: query, headers: &headers, payloadHash: Hex.encode(SHA256.hash(body)), host: host,
            credentials: credentials, region: region, service: service, isPathVerbatim: false, at: time)
    }

    /// For a body that is not in memory.
    package static func sign(
        method: String, path: String, query: String = "", headers: inout HTTPFields, payloadHash: String, host: String,
        credentials: Credentials, region: String, service: String, isPathVerbatim: Bool, at time: Timestamp
    ) {
        let moment = time.basicISO8601
        let date = String(moment.prefix(8))
        headers[.amzDate] = moment
        headers[.amzSecurityToken] = credentials.sessionToken
        headers[.authorization] = nil

        var signed: [(name: String, value: String)] = [("host", host)]
        for field in headers where !Self.neverSigned.contains(field.name.canonicalName) {
            signed.append((field.name.canonicalName, field.value))
        }
        let names = Set(signed.map(\.name)).sorted()
        let request = CanonicalRequest(
            method: method, path: path, query: query, headers: signed, signedHeaders: names, payloadHash: payloadHash,
            isPathVerbatim: isPathVerbatim)
        let scope = "\(date)/\(region)/\(service)/\(Self.terminator)"
        let key = Self.signingKey(secret: credentials.secretAccessKey, date: date, region: region, service: service)
        let signature = Hex.encode(
            HMACSHA256.code(key: key, message: Array(Self.stringToSign(time: moment, scope: scope, request: request).utf8)))
        headers[.authorization] =
            "\(Self.algorithm) Credential=\(credentials.accessKeyID)/\(scope), SignedHeaders=\(names.joined(separator: ";")), Signature=\(signature)"
    }
}

// Verifying
extension SigV4 {
    /// The parts of an Authorization header. Whose key it names is looked up before the signature is verified.
    package struct Authorization: Sendable, Equatable {
        package let accessKeyID: String
        package let date: String
        package let region: String
        package let service: String
        package let signedHeaders: [String]
        package let signature: String
        let terminator: String

        package init(header: String) throws(APIError) {
            guard header.utf8.count <= 8192 else { throw .incompleteSignature("The Authorization header is longer than 8192 bytes.") }
            guard let space = header.firstIndex(of: " "), header[..<space] == SigV4.algorithm else {
                throw .incompleteSignature("Authorization header requires the scheme '\(SigV4.algorithm)'.")
            }
            var parts: [String: String] = [:]
            for part in header[space...].split(separator: ",") {
                let pair = part.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
                guard pair.count == 2,
                    parts.updateValue(CanonicalRequest.trimmed(String(pair[1])), forKey: CanonicalRequest.trimmed(String(pair[0]))) == nil
                else {
                    throw .incompleteSignature("Authorization header has a part that is not Name=value, or one twice.")
                }
            }
            let missing = ["Credential", "Signature", "SignedHeaders"].filter { (parts[$0] ?? "").isEmpty }
            guard missing.isEmpty, let credential = parts["Credential"], let signature = parts["Signature"],
                let signedHeaders = parts["SignedHeaders"]
            else {
                throw .incompleteSignature(missing.map { "Authorization header requires '\($0)' parameter." }.joined(separator: " "))
            }
            let scope = credential.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
            guard scope.count == 5, !scope[0].isEmpty else {
                throw .incompleteSignature("Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term.")
            }
            guard scope[1].utf8.count == 8, scope[1].utf8.allSatisfy(\.isDigit) else {
                throw .incompleteSignature("Credential must have a date of the form YYYYMMDD as its second element.")
            }
            let names = signedHeaders.split(separator: ";", omittingEmptySubsequences: false).map(String.init)
            guard names.allSatisfy({ !$0.isEmpty && $0 == $0.lowercased() }), zip(names, names.dropFirst()).allSatisfy({ $0 < $1 }) else {
                throw .incompleteSignature("SignedHeaders must be lower-case names, sorted, without repeats, joined by ';'.")
            }
            guard signature.utf8.count == 64, signature.utf8.allSatisfy(\.isLowerHex) else {
                throw .incompleteSignature("Signature must be 64 lower-case hexadecimal digits.")
            }
            self.accessKeyID = scope[0]
            self.date = scope[1]
            self.region = scope[2]
            self.service = scope[3]
            self.terminator = scope[4]
            self.signedHeaders = names
            self.signature = signature
        }
    }

    /// Whether a query carries a pre-signed URL's parameters.
    private static func isPresigned(_ query: String) -> Bool {
        query.lowercased().split(separator: "&").contains { $0.hasPrefix("x-amz-") }
    }

    /// Returns if the request was signed with `secret`, here and now; throws what SSM answers otherwise.
    /// - Parameters:
    ///   - path: as received, percent-encoded, without the query.
    ///   - headers: in arrival order, with Host as the client sent it.
    ///   - sessionToken: the token that belongs to the access key; a request must carry just that, or none if there is none.
    ///   - regions: those the controller serves; empty stands for any.
    package static func verify(
        authorization: Authorization, method: String, path: String, query: String, headers: [(name: String, value: String)], body: [UInt8],
        secret: String, sessionToken: String? = nil, regions: Set<String> = [], service: String = "ssm", now: Timestamp,
        keyCache: SigningKeyCache
    ) throws(APIError) {
        guard !Self.isPresigned(query) else {
            throw .incompleteSignature("Signatures in the query are not accepted: send the signature in the Authorization header.")
        }
        let names = headers.map { $0.name.lowercased() }
        // Signed or not, two of one of these leave open which one counts.
        for name in ["host", "authorization", "date", "x-amz-date", "x-amz-target", "x-amz-content-sha256", "x-amz-security-token"]
        where names.count(where: { $0 == name }) > 1 {
            throw .incompleteSignature("The header '\(name)' was sent more than once.")
        }
        func value(_ name: String) -> String? { names.firstIndex(of: name).map { CanonicalRequest.trimmed(headers[$0].value) } }

        let time = try Self.time(amzDate: value("x-amz-date"), date: value("date"))
        let moment = time.basicISO8601
        try Self.checkScope(authorization, moment: moment, regions: regions, service: service)
        try Self.checkSkew(time, now: now)
        try Self.checkSignedHeaders(authorization.signedHeaders, sent: Set(names))

        switch (sessionToken, value("x-amz-security-token")) {
        case (nil, nil): break
        case (let expected?, let sent?) where equalInConstantTime(Array(expected.utf8), Array(sent.utf8)): break
        default: throw .unrecognizedClient
        }

        let payloadHash = Hex.encode(SHA256.hash(body))
        if let declared = value("x-amz-content-sha256"), declared != payloadHash {
            throw .invalidSignature(
                "The x-amz-content-sha256 header must be the lower-case hexadecimal SHA-256 of the body; unsigned and streaming payloads are not accepted."
            )
        }
        let request = CanonicalRequest(
            method: method, path: path, query: query, headers: headers, signedHeaders: authorization.signedHeaders, payloadHash: payloadHash
        )
        let scope = "\(authorization.date)/\(authorization.region)/\(authorization.service)/\(Self.terminator)"
        let key = keyCache.key(
            accessKeyID: authorization.accessKeyID, secret: secret, date: authorization.date, region: authorization.region,
            service: authorization.service)
        let expected = HMACSHA256.code(key: key, message: Array(Self.stringToSign(time: moment, scope: scope, request: request).utf8))
        guard equalInConstantTime(Array(Hex.encode(expected).utf8), Array(authorization.signature.utf8)) else {
            throw .invalidSignature(
                "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for details."
            )
        }
    }

    private static func time(amzDate: String?, date: String?) throws(APIError) -> Timestamp {
        if let amzDate {
            guard let time = Timestamp(basicISO8601: amzDate) else {
                throw .incompleteSignature("Date must be in ISO-8601 'basic format', YYYYMMDDThhmmssZ.")
            }
            return time
        }
        guard let date else {
            throw .incompleteSignature("Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.")
        }
        guard let time = Timestamp(basicISO8601: date) ?? Timestamp(httpDate: date) else {
            throw .incompleteSignature("Date must be in ISO-8601 'basic format', YYYYMMDDThhmmssZ, or an HTTP date.")
        }
        return time
    }

    private static func checkScope(_ authorization: Authorization, moment: String, regions: Set<String>, service: String) throws(APIError) {
        guard authorization.terminator == Self.terminator else {
            throw .invalidSignature("Credential should be scoped with a valid terminator: '\(Self.terminator)'.")
        }
        guard authorization.service == service else {
            throw .invalidSignature("Credential should be scoped to correct service: '\(service)'.")
        }
        let isName =
            (1...64).contains(authorization.region.utf8.count)
            && authorization.region.utf8.allSatisfy { $0.isLetterOrDigit || $0 == UInt8(ascii: "-") }
        guard isName, regions.isEmpty || regions.contains(authorization.region) else {
            throw .invalidSignature("Credential should be scoped to a valid region.")
        }
        guard moment.hasPrefix(authorization.date) else {
            throw .invalidSignature(
                "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '\(authorization.date)' != '\(moment.prefix(8))', from '\(moment)'."
            )
        }
    }

    private static func checkSkew(_ time: Timestamp, now: Timestamp) throws(APIError) {
        let server = now.basicISO8601
        let earliest = now.adding(seconds: -Self.allowedSkew).basicISO8601
        let latest = now.adding(seconds: Self.allowedSkew).basicISO8601
        // Whole seconds: what the texts show is what was compared.
        let signed = time.basicISO8601
        if signed < earliest {
            throw .invalidSignature("Signature expired: \(signed) is now earlier than \(earliest) (\(server) - 5 min.)")
        }
        if signed > latest {
            throw .invalidSignature("Signature not yet current: \(signed) is still later than \(latest) (\(server) + 5 min.)")
        }
    }

    private static func checkSignedHeaders(_ signed: [String], sent: Set<String>) throws(APIError) {
        guard signed.contains("host") else {
            throw .invalidSignature("'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.")
        }
        if let absent = signed.first(where: { !sent.contains($0) }) {
            throw .invalidSignature("'\(absent)' is a 'SignedHeader' in the AWS Authorization, but the request does not have it.")
        }
        // Without x-amz-date the time comes from Date, which is then what has to be covered.
        let covered = sent.filter { $0.hasPrefix("x-amz-") } + (sent.contains("x-amz-date") ? [] : ["date"])
        if let bare = covered.sorted().first(where: { !signed.contains($0) }) {
            throw .invalidSignature("'\(bare)' must be a 'SignedHeader' in the AWS Authorization.")
        }
    }
}

extension HTTPField.Name {
    package static let amzDate = HTTPField.Name(known: "x-amz-date")
    package static let amzSecurityToken = HTTPField.Name(known: "x-amz-security-token")
    package static let amzTarget = HTTPField.Name(known: "x-amz-target")

    private init(known name: String) {
        guard let name = HTTPField.Name(name) else { preconditionFailure("\(name) is not a header name") }
        self = name
    }
}
