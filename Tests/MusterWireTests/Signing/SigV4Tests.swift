import FoundationEssentials
import HTTPTypes
import Testing

@testable import MusterWire

struct SignatureVector: Decodable, Sendable, CustomTestStringConvertible {
    let name, method, path, query, body, secret, region, service, time: String
    let headers: [[String]]
    let token: String?

    static let all = (try? JSONDecoder().decode([SignatureVector].self, from: Data(signatureVectors.utf8))) ?? []

    var testDescription: String { self.name }
    var pairs: [(name: String, value: String)] { self.headers.map { ($0[0], $0[1]) } }
    var moment: Timestamp { Timestamp(basicISO8601: self.time)! }
    func header(_ name: String) -> String { self.pairs.first { $0.name.lowercased() == name }!.value }
}

@Suite struct SigV4Tests {
    /// A request that verifies, to be changed.
    private struct Request {
        var method = "POST"
        var path = "/"
        var query = ""
        var headers: [(name: String, value: String)]
        var body: [UInt8]
        var secret: String
        var token: String?
        var regions: Set<String> = []
        var now: Timestamp
        var cache = SigningKeyCache()

        init(_ vector: SignatureVector) {
            self.method = vector.method
            self.path = vector.path
            self.query = vector.query
            self.headers = vector.pairs
            self.body = Array(vector.body.utf8)
            self.secret = vector.secret
            self.token = vector.token
            self.now = vector.moment
        }

        subscript(name: String) -> String? {
            get { self.headers.first { $0.name.lowercased() == name }?.value }
            set {
                if let index = self.headers.firstIndex(where: { $0.name.lowercased() == name }) {
                    if let newValue { self.headers[index].value = newValue } else { self.headers.remove(at: index) }
                } else if let newValue {
                    self.headers.append((name, newValue))
                }
            }
        }

        func refusal() -> APIError? {
            do throws(APIError) {
                let authorization = try SigV4.Authorization(header: self["authorization"] ?? "")
                try SigV4.verify(
                    authorization: authorization, method: method, path: path, query: query, headers: headers, body: body, secret: secret,
                    sessionToken: token, regions: regions, now: now, keyCache: cache)
                return nil
            } catch { return error }
        }

        /// Signs with whatever headers it has, as an attacker who owns a key can.
        mutating func signAgain(headers names: [String], date: String = "20261123", scope: String = "eu-muster-1/ssm/aws4_request") {
            let parts = scope.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
            let time = self["x-amz-date"].flatMap { Timestamp(basicISO8601: $0) } ?? self["date"].flatMap { Timestamp(httpDate: $0) } ?? now
            let request = CanonicalRequest(
                method: method, path: path, query: query, headers: headers, signedHeaders: names, payloadHash: hash(body))
            let key = SigV4.signingKey(secret: secret, date: date, region: parts[0], service: parts[1])
            let signature = code(key, SigV4.stringToSign(time: time.basicISO8601, scope: "\(date)/\(scope)", request: request))
            self["authorization"] =
                "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/\(date)/\(scope), SignedHeaders=\(names.joined(separator: ";")), Signature=\(signature)"
        }
    }

    private static let plain = ["content-type", "host", "x-amz-date", "x-amz-target"]
    private var request: Request { Request(SignatureVector.all[0]) }

    @Test(arguments: SignatureVector.all) func requestsOfBotocoreVerify(vector: SignatureVector) {
        #expect(Request(vector).refusal() == nil)
    }

    @Test(arguments: SignatureVector.all) func ourSignatureIsTheOneOfBotocore(vector: SignatureVector) throws {
        let theirs = try SigV4.Authorization(header: vector.header("authorization"))
        var fields = HTTPFields()
        for (name, value) in vector.pairs
        where theirs.signedHeaders.contains(name.lowercased())
            && !["host", "x-amz-date", "x-amz-security-token"].contains(name.lowercased())
        {
            fields.append(HTTPField(name: HTTPField.Name(name)!, value: value))
        }
        SigV4.sign(
            method: vector.method, path: vector.path, query: vector.query, headers: &fields, body: Array(vector.body.utf8),
            host: vector.header("host"),
            credentials: Credentials(accessKeyID: "AKIDEXAMPLE", secretAccessKey: vector.secret, sessionToken: vector.token),
            region: vector.region,
            service: vector.service, at: vector.moment)
        #expect(fields[.authorization] == vector.header("authorization"))
        #expect(fields[.amzDate] == vector.time && fields[.amzSecurityToken] == vector.token)
    }

    @Test func whatWeSignVerifies() throws {
        var fields = HTTPFields()
        fields[.contentType] = "application/x-amz-json-1.1"
        fields[.amzTarget] = "AmazonSSM.ListCommands"
        fields[.userAgent] = "muster"
        fields[HTTPField.Name("amz-sdk-invocation-id")!] = "x"
        let credentials = Credentials(accessKeyID: "AKID", secretAccessKey: "s")
        SigV4.sign(
            method: "POST", path: "/", headers: &fields, body: [1, 2], host: "h:1", credentials: credentials, region: "r", service: "ssm",
            at: .now())
        var request = self.request
        request.headers = [("host", "h:1")] + fields.map { ($0.name.canonicalName, $0.value) }
        request.body = [1, 2]
        request.secret = "s"
        request.now = .now()
        #expect(request.refusal() == nil)
        #expect(fields[.authorization]?.contains("amz-sdk-invocation-id;content-type;host;x-amz-date;x-amz-target") == true)
    }

    @Test func noVectorIsLost() {
        #expect(SignatureVector.all.count == 7)
    }

    @Test func anyChangeBreaksTheSignature() {
        let mismatch =
            "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for details."
        func check(_ change: (inout Request) -> Void) {
            var changed = request
            change(&changed)
            #expect(changed.refusal() == .invalidSignature(mismatch))
        }
        check { $0.body[3] ^= 1 }
        check { $0.body.append(0x20) }
        check { $0.secret += "x" }
        check { $0.method = "PUT" }
        check { $0.path = "/x" }
        check { $0.query = "a=b" }
        check { $0["x-amz-target"] = "AmazonSSM.DeleteDocument" }
        check { $0["host"] = "127.0.0.1:8444" }
        check { $0["content-type"] = "text/plain" }
        check {
            $0["authorization"]!.removeLast(1); $0["authorization"]! += "0"
        }
        check { $0["authorization"] = $0["authorization"]!.replacing("eu-muster-1", with: "eu-muster-2") }
    }

    @Test func anyOrderOfTheParts() {
        var changed = request
        let parts = changed["authorization"]!.dropFirst(17).split(separator: ", ")
        changed["authorization"] = "AWS4-HMAC-SHA256 \(parts[2]),\(parts[0]),   \(parts[1])"
        #expect(changed.refusal() == nil)
    }

    @Test(arguments: [
        "", "Basic abc", "AWS4-ECDSA-P256-SHA256 Credential=a", "AWS4-HMAC-SHA256", "AWS4-HMAC-SHA256 ", "AWS4-HMAC-SHA256 Credential",
        "AWS4-HMAC-SHA256 Credential=a/20261123/r/ssm/aws4_request, SignedHeaders=host",
        "AWS4-HMAC-SHA256 Credential=a/20261123/r/ssm, SignedHeaders=host, Signature=" + String(repeating: "0", count: 64),
        "AWS4-HMAC-SHA256 Credential=a/b/20261123/r/ssm/aws4_request, SignedHeaders=host, Signature=" + String(repeating: "0", count: 64),
        "AWS4-HMAC-SHA256 Credential=/20261123/r/ssm/aws4_request, SignedHeaders=host, Signature=" + String(repeating: "0", count: 64),
        "AWS4-HMAC-SHA256 Credential=a/2026112/r/ssm/aws4_request, SignedHeaders=host, Signature=" + String(repeating: "0", count: 64),
        "AWS4-HMAC-SHA256 Credential=a/20261123/r/ssm/aws4_request, SignedHeaders=host;Date, Signature="
            + String(repeating: "0", count: 64),
        "AWS4-HMAC-SHA256 Credential=a/20261123/r/ssm/aws4_request, SignedHeaders=x;host, Signature=" + String(repeating: "0", count: 64),
        "AWS4-HMAC-SHA256 Credential=a/20261123/r/ssm/aws4_request, SignedHeaders=host;host, Signature="
            + String(repeating: "0", count: 64),
        "AWS4-HMAC-SHA256 Credential=a/20261123/r/ssm/aws4_request, SignedHeaders=host;, Signature=" + String(repeating: "0", count: 64),
        "AWS4-HMAC-SHA256 Credential=a/20261123/r/ssm/aws4_request, SignedHeaders=host, Signature=" + String(repeating: "0", count: 63),
        "AWS4-HMAC-SHA256 Credential=a/20261123/r/ssm/aws4_request, SignedHeaders=host, Signature=" + String(repeating: "0", count: 64)
            + ", Signature=x",
        "AWS4-HMAC-SHA256 Credential=" + String(repeating: "a", count: 10_000),
    ])
    func malformedHeaders(header: String) {
        let error = #expect(throws: APIError.self) { try SigV4.Authorization(header: header) }
        #expect(error?.code == "IncompleteSignatureException" && error?.status == 400)
    }

    @Test func missingPartsAreNamed() {
        #expect(
            throws: APIError.incompleteSignature(
                "Authorization header requires 'Credential' parameter. Authorization header requires 'Signature' parameter.")
        ) {
            try SigV4.Authorization(header: "AWS4-HMAC-SHA256 SignedHeaders=host")
        }
    }

    @Test func aHeaderCutAnywhereIsRefused() {
        let header = request["authorization"]!
        for length in 0..<header.count {
            var changed = request
            changed["authorization"] = String(header.prefix(length))
            #expect(changed.refusal()?.code == "IncompleteSignatureException")
        }
    }

    @Test func time() {
        var changed = request
        changed["x-amz-date"] = nil
        #expect(
            changed.refusal()
                == .incompleteSignature("Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header."))
        changed["x-amz-date"] = "2026-11-23T12:55:23Z"
        #expect(changed.refusal()?.code == "IncompleteSignatureException")
        changed["x-amz-date"] = "20261124T125523Z"
        #expect(
            changed.refusal()
                == .invalidSignature(
                    "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '20261123' != '20261124', from '20261124T125523Z'."
                ))
    }

    @Test func theDateHeaderServesInstead() {
        var changed = request
        changed["x-amz-date"] = nil
        changed["date"] = "Mon, 23 Nov 2026 12:55:23 GMT"
        changed.signAgain(headers: ["content-type", "date", "host", "x-amz-target"])
        #expect(changed.refusal() == nil)
        changed.signAgain(headers: ["content-type", "host", "x-amz-target"])
        #expect(changed.refusal() == .invalidSignature("'date' must be a 'SignedHeader' in the AWS Authorization."))
    }

    @Test func skew() {
        var changed = request
        let signed = changed.now
        for seconds: Int64 in [-300, -299, 0, 299, 300] {
            changed.now = signed.adding(seconds: seconds)
            #expect(changed.refusal() == nil)
        }
        changed.now = signed.adding(seconds: 301)
        #expect(
            changed.refusal()
                == .invalidSignature("Signature expired: 20261123T125523Z is now earlier than 20261123T125524Z (20261123T130024Z - 5 min.)")
        )
        changed.now = signed.adding(seconds: -301)
        #expect(
            changed.refusal()
                == .invalidSignature(
                    "Signature not yet current: 20261123T125523Z is still later than 20261123T125522Z (20261123T125022Z + 5 min.)"))
    }

    @Test func scope() {
        var changed = request
        changed.signAgain(headers: Self.plain, scope: "eu-muster-1/sts/aws4_request")
        #expect(changed.refusal() == .invalidSignature("Credential should be scoped to correct service: 'ssm'."))
        changed.signAgain(headers: Self.plain, scope: "eu-muster-1/ssm/aws5_request")
        #expect(changed.refusal() == .invalidSignature("Credential should be scoped with a valid terminator: 'aws4_request'."))
        changed.signAgain(headers: Self.plain, scope: "eu muster/ssm/aws4_request")
        #expect(changed.refusal() == .invalidSignature("Credential should be scoped to a valid region."))
        changed.signAgain(headers: Self.plain)
        changed.regions = ["eu-muster-2"]
        #expect(changed.refusal() == .invalidSignature("Credential should be scoped to a valid region."))
        changed.regions = ["eu-muster-1", "eu-muster-2"]
        #expect(changed.refusal() == nil)
    }

    @Test func whatMustBeSigned() {
        var changed = request
        changed.signAgain(headers: ["content-type", "x-amz-date", "x-amz-target"])
        #expect(changed.refusal() == .invalidSignature("'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization."))
        changed.signAgain(headers: ["content-type", "host", "x-amz-date"])
        #expect(changed.refusal() == .invalidSignature("'x-amz-target' must be a 'SignedHeader' in the AWS Authorization."))
        changed.signAgain(headers: ["content-type", "host", "x-amz-target"])
        #expect(changed.refusal() == .invalidSignature("'x-amz-date' must be a 'SignedHeader' in the AWS Authorization."))
        changed.signAgain(headers: Self.plain)
        changed["x-amz-anything"] = "y"
        #expect(changed.refusal() == .invalidSignature("'x-amz-anything' must be a 'SignedHeader' in the AWS Authorization."))
        changed = request
        changed.signAgain(headers: ["absent"] + Self.plain)
        #expect(
            changed.refusal()
                == .invalidSignature("'absent' is a 'SignedHeader' in the AWS Authorization, but the request does not have it."))
    }

    @Test(arguments: ["host", "x-amz-date", "x-amz-target"]) func doubledHeaders(name: String) {
        var changed = request
        changed.headers.append((name, changed[name]!))
        #expect(changed.refusal() == .incompleteSignature("The header '\(name)' was sent more than once."))
    }

    @Test func repeatedHeadersJoinInArrivalOrder() {
        var changed = request
        changed.headers += [("my-header", "b"), ("My-Header", " a  c ")]
        changed.signAgain(headers: ["content-type", "host", "my-header", "x-amz-date", "x-amz-target"])
        #expect(changed.refusal() == nil)
        changed.headers.swapAt(changed.headers.count - 1, changed.headers.count - 2)
        #expect(changed.refusal()?.code == "InvalidSignatureException")
    }

    @Test(arguments: ["UNSIGNED-PAYLOAD", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", String(repeating: "0", count: 64), ""])
    func declaredPayloadHash(value: String) {
        var changed = request
        changed["x-amz-content-sha256"] = value
        changed.signAgain(headers: ["content-type", "host", "x-amz-content-sha256", "x-amz-date", "x-amz-target"])
        #expect(changed.refusal()?.message.hasPrefix("The x-amz-content-sha256 header must be") == true)
        changed["x-amz-content-sha256"] = hash(changed.body)
        changed.signAgain(headers: ["content-type", "host", "x-amz-content-sha256", "x-amz-date", "x-amz-target"])
        #expect(changed.refusal() == nil)
    }

    @Test func querySignatures() {
        var changed = request
        for query in ["X-Amz-Signature=0", "a=b&x-amz-algorithm=AWS4-HMAC-SHA256"] {
            changed.query = query
            #expect(
                changed.refusal()
                    == .incompleteSignature("Signatures in the query are not accepted: send the signature in the Authorization header."))
        }
    }

    @Test func sessionTokens() {
        var changed = Request(SignatureVector.all[1])
        changed.token = nil
        #expect(changed.refusal() == .unrecognizedClient)
        changed.token = "another"
        #expect(changed.refusal() == .unrecognizedClient)
        changed = request
        changed.token = "expected"
        #expect(changed.refusal() == .unrecognizedClient)
    }

    @Test func keysAreCachedWithinBounds() {
        let cache = SigningKeyCache(capacity: 4)
        var seen: Set<[UInt8]> = []
        for number in 0..<50 {
            let key = cache.key(accessKeyID: "a", secret: "s", date: "20261123", region: "r\(number)", service: "ssm")
            #expect(key == SigV4.signingKey(secret: "s", date: "20261123", region: "r\(number)", service: "ssm"))
            #expect(cache.count <= 4)
            seen.insert(key)
        }
        #expect(seen.count == 50)
        // A new secret under the same id does not find the old key.
        let one = cache.key(accessKeyID: "a", secret: "1", date: "d", region: "r", service: "s")
        #expect(cache.key(accessKeyID: "a", secret: "2", date: "d", region: "r", service: "s") != one)
        #expect(cache.key(accessKeyID: "a", secret: "1", date: "d", region: "r", service: "s") == one)
    }

    @Test func credentialsDoNotPrint() {
        let credentials = Credentials(accessKeyID: "AKID", secretAccessKey: "hunter2", sessionToken: "hunter3")
        var dumped = "\(credentials) \([credentials]) \(String(reflecting: credentials))"
        dump(credentials, to: &dumped)
        #expect(!dumped.contains("hunter") && dumped.contains("AKID"))
    }
}
