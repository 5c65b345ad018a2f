internal import HTTPTypes
internal import MusterCrypto
internal import MusterTLS
internal import MusterWire

/// Finds out who calls. An operator proves itself with a signature and nothing else, a node with its certificate and
/// nothing else: what belongs to the other side is refused even when it comes along with something valid.
package struct Authentication: Sendable {
    /// `last_used_at` need not be younger than this.
    private static let usageGrainSeconds: Int64 = 300
    /// Ours have 64 characters.
    private static let longestToken = 4_096

    private static let iamRegion = "us-east-1"

    private let keys: OperatorKeyStore
    private let database: any SQLDatabase
    private let account: String
    private let regions: Set<String>
    private let signingKeys = SigningKeyCache()

    package init(keys: OperatorKeyStore, database: any SQLDatabase, account: String, regions: Set<String>) {
        self.keys = keys
        self.database = database
        self.account = account
        self.regions = regions
    }

    /// What a request says about its sender, before anything of it is believed.
    struct Evidence: Sendable {
        let method: String
        let path: String
        let query: String
        /// Host included, in arrival order.
        let headers: [(name: String, value: String)]
        let body: [UInt8]
        let certificate: Certificate?
        let sourceAddress: String
        let userAgent: String
        let connectionEnd: ConnectionEnd

        init(_ request: HTTPRequest, body: [UInt8], connection: UpgradeChannel.Connection) {
            let parts = (request.path ?? "").split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
            method = request.method.rawValue
            path = parts.first.map(String.init) ?? ""
            query = parts.count > 1 ? String(parts[1]) : ""
            var headers = request.headerFields.map { (name: $0.name.canonicalName, value: $0.value) }
            // NIO's HTTP types keep Host apart from the other fields.
            if let host = request.authority { headers.append((name: "host", value: host)) }
            self.headers = headers
            self.body = body
            certificate = connection.peer?.leaf
            sourceAddress = connection.remoteAddress
            userAgent = request.headerFields[.userAgent] ?? ""
            connectionEnd = connection.end
        }

        var authorization: String? { headers.first { $0.name == "authorization" }?.value }
        /// Two of them are refused with the signature.
        var securityToken: String? { headers.first { $0.name == "x-amz-security-token" }?.value }
    }

    func operatorCaller(_ evidence: Evidence, service: String = "ssm", now: Timestamp) async throws -> (
        caller: Caller, requestedRegion: String
    ) {
        guard evidence.certificate == nil else {
            throw APIError.accessDenied(
                "A node's certificate is no proof of identity for operators' calls. Call without a client certificate, signed with an access key."
            )
        }
        guard let header = evidence.authorization else { throw APIError.missingAuthenticationToken }
        let authorization = try SigV4.Authorization(header: header)
        // What the token says comes before the signature: its secret is the temporary one.
        guard evidence.securityToken?.utf8.count ?? 0 <= Self.longestToken,
            let key = try await keys.key(authorization.accessKeyID, token: evidence.securityToken, now: now)
        else { throw APIError.unrecognizedClient }
        try SigV4.verify(
            authorization: authorization, method: evidence.method, path: evidence.path, query: evidence.query,
            headers: evidence.headers, body: evidence.body, secret: key.credentials.secretAccessKey,
            sessionToken: key.credentials.sessionToken, regions: regions(for: service), service: service, now: now, keyCache: signingKeys)
        if (key.lastUsedAt?.adding(seconds: Self.usageGrainSeconds) ?? Timestamp(milliseconds: 0)) < now {
            try await keys.used(key.principal.accessKeyID, service: service, region: authorization.region, now: now)
        }
        let caller = Caller(
            accessKeyID: authorization.accessKeyID, userName: key.userName, arn: key.principal.arn(account: account),
            sourceAddress: evidence.sourceAddress, userAgent: evidence.userAgent, principal: key.principal)
        return (caller, authorization.region)
    }

    /// IAM has no regions: clients sign for this one wherever they are.
    private func regions(for service: String) -> Set<String> {
        service == "iam" && !regions.isEmpty ? regions.union([Self.iamRegion]) : regions
    }

    /// The node that the certificate names, if it is still one of ours. TLS has verified the chain; the store knows the rest.
    func node(_ certificate: Certificate?, now: Timestamp) async throws -> NodeIdentity {
        guard let certificate else {
            throw APIError.accessDenied("This call needs the client certificate of a registered node.")
        }
        switch try await database.read({ tx in try NodeAdmission.admit(certificate, at: now, in: tx) }) {
        case .success(let node): return node.identity
        case .failure(let refusal): throw refusal.apiError
        }
    }
}
