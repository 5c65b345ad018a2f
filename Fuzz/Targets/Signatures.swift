import HTTPTypes
import MusterCrypto
import NIOHTTPTypes

@testable import MusterController
@testable import MusterWire

extension FuzzTarget {
    /// A request as lines: Authorization, method and target, fields, an empty line, the body. Without a signature of ours it is never
    /// verified; with it always, unless the request is refused for another reason.
    static let signatures = FuzzTarget(name: "signatures") { bytes in
        var input = FuzzInput(bytes)
        let header = text(input.part(until: 10))
        let line = text(input.part(until: 10)).split(separator: " ", maxSplits: 1).map(String.init)
        let target = (line.last ?? "/").split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
        var fields: [(name: String, value: String)] = []
        while !input.isEmpty {
            let field = input.part(until: 10)
            if field.isEmpty { break }
            let parts = field.split(separator: UInt8(ascii: ":"), maxSplits: 1, omittingEmptySubsequences: false)
            fields.append((text(parts[0]).lowercased(), parts.count > 1 ? text(parts[1]) : ""))
        }
        let body = input.all()
        try readForm(fields, body)
        try verify(header, line.first ?? "POST", target.first ?? "/", target.count > 1 ? target[1] : "", fields, body)
    }

    private static let keyCache = SigningKeyCache()
    private static let secret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"

    private static func verify(
        _ header: String, _ method: String, _ path: String, _ query: String, _ fields: [(name: String, value: String)], _ body: [UInt8]
    ) throws {
        guard let authorization = try? SigV4.Authorization(header: header) else { return }
        let time = fields.first { $0.name == "x-amz-date" }.flatMap { Timestamp(basicISO8601: CanonicalRequest.trimmed($0.value)) }
        func isVerified(_ authorization: SigV4.Authorization) -> Bool {
            do {
                try SigV4.verify(
                    authorization: authorization, method: method, path: path, query: query, headers: fields, body: body, secret: secret,
                    service: authorization.service, now: time ?? Timestamp(milliseconds: 1_440_938_160_000), keyCache: keyCache)
                return true
            } catch { return false }
        }
        try Finding.unless(!isVerified(authorization), "a signature that nobody made was verified")
        guard let time else { return }
        // The same with the right signature: as far as its author can compute it, so can we.
        let request = CanonicalRequest(
            method: method, path: path, query: query, headers: fields, signedHeaders: authorization.signedHeaders,
            payloadHash: Hex.encode(SHA256.hash(body)))
        let key = SigV4.signingKey(
            secret: secret, date: authorization.date, region: authorization.region, service: authorization.service)
        let scope = "\(authorization.date)/\(authorization.region)/\(authorization.service)/\(SigV4.terminator)"
        let signature = HMACSHA256.code(
            key: key, message: Array(SigV4.stringToSign(time: time.basicISO8601, scope: scope, request: request).utf8))
        let names = authorization.signedHeaders.joined(separator: ";")
        let signed = try? SigV4.Authorization(
            header:
                "\(SigV4.algorithm) Credential=\(authorization.accessKeyID)/\(scope), SignedHeaders=\(names), Signature=\(Hex.encode(signature))"
        )
        guard let signed, isVerified(signed) else { return }
        for name in ["host", "x-amz-date", "x-amz-target"] where fields.contains(where: { $0.name == name }) {
            try Finding.unless(signed.signedHeaders.contains(name), "verified without \(name), which was sent")
        }
    }

    private static func readForm(_ fields: [(name: String, value: String)], _ body: [UInt8]) throws {
        var headers = HTTPFields()
        for field in fields {
            if let name = HTTPField.Name(field.name) { headers.append(HTTPField(name: name, value: field.value)) }
        }
        let format = CallFormat(headers, body: body)
        _ = try? format.operation(headers, body: body)
        let answer = format.failure(.validation(text(body)), requestID: "-")
        if case .query = format {
            let xml = text(answer.body)
            try Finding.unless(xml.count(where: { $0 == "<" }) == 12, "an answer's markup depends on what was sent")
        }
    }
}
