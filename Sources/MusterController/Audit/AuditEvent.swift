package import MusterWire

/// One line of the audit trail: who did what to which resource, from where, and how it ended. Never a parameter's value.
///
/// The member names follow CloudTrail's record contents, which people's tools already read.
/// https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-event-reference-record-contents.html
package struct AuditEvent: Sendable {
    package enum Outcome: String, Sendable {
        case success
        case denied
        case failed
    }

    package let id: String
    package let time: Timestamp
    package let caller: String
    package let operation: String
    package let resource: String
    package let outcome: Outcome
    package let record: Record

    package struct Record: Sendable, Codable {
        package let userIdentity: UserIdentity
        package let sourceIPAddress: String
        package let userAgent: String
        package let requestID: String
        package let awsRegion: String
        package let details: [String: String]
    }

    package struct UserIdentity: Sendable, Codable {
        package let arn: String
        package let userName: String
        package let accessKeyId: String
    }

    package init(
        time: Timestamp, caller: Caller, requestID: String, region: String,
        operation: String, resource: String, outcome: Outcome, details: [String: String] = [:]
    ) {
        self.id = AuditEvent.makeID()
        self.time = time
        self.caller = caller.arn
        self.operation = operation
        self.resource = resource
        self.outcome = outcome
        self.record = Record(
            userIdentity: UserIdentity(arn: caller.arn, userName: caller.userName, accessKeyId: caller.accessKeyID),
            sourceIPAddress: caller.sourceAddress, userAgent: String(caller.userAgent.prefix(256)),
            requestID: requestID, awsRegion: region, details: details)
    }

    /// For what the controller does by itself, such as quarantining a node.
    package init(
        time: Timestamp, controllerDid operation: String, resource: String,
        outcome: Outcome = .success, details: [String: String] = [:]
    ) {
        self.init(
            time: time,
            caller: Caller(accessKeyID: "", userName: "", arn: "muster-controller", sourceAddress: "", userAgent: ""),
            requestID: "", region: "", operation: operation, resource: resource, outcome: outcome, details: details)
    }
}
