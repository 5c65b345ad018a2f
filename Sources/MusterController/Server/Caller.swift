package import MusterCrypto
package import MusterWire

/// Who speaks: the user whose access key signed the request, by himself or in a role, or the node that the client certificate names.
///
/// `userName` is the user's also in a role: that is who answers for it.
package struct Caller: Sendable, Hashable {
    package let accessKeyID: String
    package let userName: String
    package let arn: String
    package let sourceAddress: String
    package let userAgent: String
    /// Whose policies count. Operators have one; nodes and strangers do not.
    package let principal: Principal?

    package init(
        accessKeyID: String, userName: String, arn: String, sourceAddress: String, userAgent: String, principal: Principal? = nil
    ) {
        self.accessKeyID = accessKeyID
        self.userName = userName
        self.arn = arn
        self.sourceAddress = sourceAddress
        self.userAgent = userAgent
        self.principal = principal
    }

    package static func node(_ identity: NodeIdentity, account: String, region: String, sourceAddress: String, userAgent: String) -> Caller
    {
        Caller(
            accessKeyID: "", userName: identity.node.description,
            arn: "arn:aws:ssm:\(region):\(account):managed-instance/\(identity.node)",
            sourceAddress: sourceAddress, userAgent: userAgent)
    }

    /// Nobody yet: enrolment, where the activation code in the body is the proof.
    package static func anonymous(sourceAddress: String, userAgent: String) -> Caller {
        Caller(accessKeyID: "", userName: "", arn: "anonymous", sourceAddress: sourceAddress, userAgent: userAgent)
    }
}

/// What makes two calls the same call: SDKs repeat one with the same invocation id and the same body.
package struct RetryKey: Sendable, Hashable {
    package let accessKeyID: String
    package let invocationID: String
    package let operation: String
    /// SHA-256 of the body, hexadecimal.
    package let bodyDigest: String

    package init(accessKeyID: String, invocationID: String, operation: String, bodyDigest: String) {
        self.accessKeyID = accessKeyID
        self.invocationID = invocationID
        self.operation = operation
        self.bodyDigest = bodyDigest
    }
}

/// Everything an operation may know about its call besides the input.
package struct OperationContext: Sendable {
    package let caller: Caller
    package let requestID: String
    package let now: Timestamp
    /// The controller's own, which ARNs carry.
    package let region: String
    /// What the caller signed for. Policies can ask for it, and nothing else depends on it.
    package let requestedRegion: String
    package let account: String
    /// Host and port as the caller wrote them; part of what it signed.
    package let host: String
    /// Present when the client sent `amz-sdk-invocation-id`.
    package let retry: RetryKey?
    /// The identity in the client certificate. Always present on node routes, never on operators'.
    package let node: NodeIdentity?
    /// The certificate that names `node`.
    package let certificate: Certificate?
    /// When the client hangs up. Absent where there is no connection.
    package let connectionEnd: ConnectionEnd?
    /// Where an operation asks whether it may, once it knows what it is about.
    package let access: AccessCheck
    /// What an operator's call that changes something asks for, masked, as JSON; for the audit trail.
    package var parameters: [UInt8]?

    package init(
        caller: Caller, requestID: String, now: Timestamp, region: String, requestedRegion: String? = nil, account: String,
        host: String = "",
        retry: RetryKey? = nil, node: NodeIdentity? = nil, certificate: Certificate? = nil,
        connectionEnd: ConnectionEnd? = nil, access: AccessCheck = AccessCheck()
    ) {
        self.caller = caller
        self.requestID = requestID
        self.now = now
        self.region = region
        self.requestedRegion = requestedRegion ?? region
        self.account = account
        self.host = host
        self.retry = retry
        self.node = node
        self.certificate = certificate
        self.connectionEnd = connectionEnd
        self.access = access
    }

    package func audit(
        _ operation: String, resource: String, outcome: AuditEvent.Outcome = .success, details: [String: String] = [:]
    ) -> AuditEvent {
        AuditEvent(
            time: now, caller: caller, requestID: requestID, region: region,
            operation: operation, resource: resource, outcome: outcome,
            details: AuditEvent.details(details, requestedRegion: requestedRegion, in: region),
            parameters: parameters)
    }
}
