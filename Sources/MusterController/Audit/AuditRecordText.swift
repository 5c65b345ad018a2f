internal import MusterCrypto
internal import MusterWire

/// An event as the text that is kept: one line of JSON in the shape of CloudTrail's records, which people's tools already read. [value]
/// https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-event-reference-record-contents.html
///
/// Written by hand: it is made inside the store's one writer, twice for every host of every command, and JSONEncoder takes ten times as
/// long.
struct AuditRecordText {
    /// What is longer is cut, and says so.
    private static let longestValue = 2_048
    private static let longestParameters = 16 << 10

    private(set) var bytes: [UInt8] = []
    private var isFirst = true

    init(_ event: AuditEvent, account: String, region: String, time: String) {
        bytes.reserveCapacity(1_024)
        let region = event.region.isEmpty ? region : event.region
        let isRequest = !event.requestID.isEmpty
        open()
        text("eventVersion", "1.11")
        identity(event.caller, account: account)
        text("eventTime", time)
        text("eventSource", Self.source(of: event.operation, isRequest: isRequest))
        text("eventName", event.operation)
        text("awsRegion", region)
        text("sourceIPAddress", event.caller.sourceAddress.isEmpty ? event.caller.arn : event.caller.sourceAddress)
        text("userAgent", event.caller.userAgent, longest: 512)
        if event.outcome != .success {
            text("errorCode", event.details["errorCode"] ?? (event.outcome == .denied ? "AccessDenied" : "Failed"))
            if let words = event.details["errorMessage"] { text("errorMessage", words) }
        }
        parameters(event)
        answer(event)
        data(event)
        if isRequest { text("requestID", event.requestID) }
        text("eventID", event.id)
        flag("readOnly", Self.isReading(event.operation))
        resources(event, account: account, region: region)
        text("eventType", isRequest ? "AwsApiCall" : "AwsServiceEvent")
        let isManagement = !Self.isAboutData(event.operation)
        flag("managementEvent", isManagement)
        text("eventCategory", isManagement ? "Management" : "Data")
        text("recipientAccountId", account)
        close()
    }

    // MARK: Members

    private mutating func identity(_ caller: Caller, account: String) {
        name("userIdentity")
        open()
        let arn = caller.arn
        if arn.hasPrefix("arn:") {
            let parts = arn.split(separator: ":", maxSplits: 5, omittingEmptySubsequences: false)
            let path = parts.count == 6 ? parts[5].split(separator: "/") : []
            switch path.first {
            case "user":
                text("type", "IAMUser")
                text("principalId", caller.userName)
            case "assumed-role":
                text("type", "AssumedRole")
                text("principalId", path.dropFirst().joined(separator: ":"))
            case "managed-instance":
                text("type", "ManagedInstance")
                text("principalId", caller.userName)
            default:
                text("type", "Unknown")
                text("principalId", caller.userName)
            }
            text("arn", arn)
            text("accountId", account)
            if !caller.accessKeyID.isEmpty { text("accessKeyId", caller.accessKeyID) }
            if !caller.userName.isEmpty { text("userName", caller.userName) }
            if path.first == "assumed-role", path.count > 1 { session(parts, role: path[1]) }
        } else if arn == AuditEvent.controller.arn {
            text("type", "AWSService")
            text("invokedBy", arn)
        } else {
            text("type", arn == "anonymous" ? "Unknown" : "LocalAdministrator")
            text("principalId", arn)
            if !caller.userName.isEmpty { text("userName", caller.userName) }
        }
        close()
    }

    private mutating func session(_ arn: [Substring], role: Substring) {
        name("sessionContext")
        open()
        name("sessionIssuer")
        open()
        text("type", "Role")
        text("arn", "arn:aws:iam::\(arn[4]):role/\(role)")
        text("accountId", String(arn[4]))
        text("userName", String(role))
        close()
        close()
    }

    private mutating func parameters(_ event: AuditEvent) {
        name("requestParameters")
        guard let parameters = event.parameters else { return null() }
        guard parameters.count <= Self.longestParameters else {
            open()
            text("cut", "\(parameters.count) bytes, SHA-256 \(Hex.encode(SHA256.hash(parameters)))")
            close()
            return
        }
        bytes += parameters
    }

    /// What a call made, where a reader would otherwise have to guess.
    private mutating func answer(_ event: AuditEvent) {
        name("responseElements")
        guard event.outcome == .success, let answer = Self.answers[event.operation] else { return null() }
        open()
        if let structure = answer.structure {
            name(structure)
            open()
        }
        for (member, detail) in answer.members {
            if let value = detail.map({ event.details[$0] }) ?? event.resource { text(member, value) }
        }
        if answer.structure != nil { close() }
        close()
    }

    /// The members of an answer that say what was made, in the structure where the operation has them.
    private struct Answered {
        var structure: String?
        /// From the event's details, or its resource.
        var members: KeyValuePairs<String, String?>
    }

    private static let session = Answered(members: ["sessionId": nil])
    private static let document = Answered(
        structure: "documentDescription", members: ["name": nil, "documentVersion": "version", "hash": "sha256"])
    private static let credentials = Answered(structure: "credentials", members: ["accessKeyId": "accessKeyId"])

    private static let answers: [String: Answered] = [
        "SendCommand": Answered(structure: "command", members: ["commandId": nil]),
        "StartSession": session, "ResumeSession": session, "TerminateSession": session,
        "CreateActivation": Answered(members: ["activationId": nil]),
        "CreateDocument": document, "UpdateDocument": document,
        "UpdateDocumentDefaultVersion": Answered(structure: "description", members: ["name": nil, "defaultVersion": "version"]),
        "StartAccessRequest": Answered(members: ["accessRequestId": nil]),
        "AssumeRole": credentials, "GetSessionToken": credentials, "GetAccessToken": credentials,
        "CreateUser": Answered(structure: "user", members: ["arn": nil, "userName": "userName"]),
        "CreateGroup": Answered(structure: "group", members: ["arn": nil]),
        "CreatePolicy": Answered(structure: "policy", members: ["arn": nil, "policyName": "policyName"]),
        "CreateAccessKey": Answered(structure: "accessKey", members: ["accessKeyId": "createdAccessKeyId", "userName": "userName"]),
    ]

    private mutating func data(_ event: AuditEvent) {
        let keys = event.details.keys.filter { $0 != "errorCode" && $0 != "errorMessage" }.sorted()
        guard !keys.isEmpty else { return }
        name("additionalEventData")
        open()
        for key in keys { text(key, event.details[key] ?? "") }
        close()
    }

    private mutating func resources(_ event: AuditEvent, account: String, region: String) {
        name("resources")
        bytes.append(UInt8(ascii: "["))
        isFirst = true
        for resource in [event.resource, event.related] {
            guard let found = AuditResource(resource, operation: event.operation, region: region, account: account) else { continue }
            if !isFirst { bytes.append(UInt8(ascii: ",")) }
            open()
            text("ARN", found.arn)
            text("type", found.type)
            close()
        }
        bytes.append(UInt8(ascii: "]"))
        isFirst = false
    }

    // MARK: What an operation is

    private static let tokenService: Set<String> = ["GetCallerIdentity", "AssumeRole", "GetSessionToken", "GetFederationToken"]

    static func source(of operation: String, isRequest: Bool) -> String {
        if OperationCatalog.all.contains(operation) { return "ssm.amazonaws.com" }
        if tokenService.contains(operation) { return "sts.amazonaws.com" }
        if operation == LookupEvents.name { return "cloudtrail.amazonaws.com" }
        if isIdentity(operation) { return "iam.amazonaws.com" }
        return "muster"
    }

    /// Names of IAM's operations: a verb and one of its nouns.
    private static func isIdentity(_ operation: String) -> Bool {
        guard !operation.holds("Managed"), !operation.holds("Resource") else { return false }
        return [
            "User", "Users", "Group", "Groups", "Role", "Roles", "Policy", "Policies", "AccessKey", "AccessKeys", "LastUsed", "ToGroup",
            "FromGroup",
        ]
        .contains { operation.hasSuffix($0) }
    }

    static func isReading(_ operation: String) -> Bool {
        ["Get", "List", "Describe", "Lookup", "Follow", "Export", "Simulate"].contains { operation.hasPrefix($0) }
    }

    /// Not about the fleet's management but about what went over it.
    private static let aboutData: Set<String> = [
        "StartInvocation", "EndInvocation", "GetCommandInvocation", "GetCommandOutput", "FollowCommandOutput", "GetRecording",
        "FollowRecording",
        "CommitRecording",
    ]

    static func isAboutData(_ operation: String) -> Bool { aboutData.contains(operation) }

    // MARK: JSON

    private mutating func open() {
        bytes.append(UInt8(ascii: "{"))
        isFirst = true
    }

    private mutating func close() {
        bytes.append(UInt8(ascii: "}"))
        isFirst = false
    }

    private mutating func name(_ name: String) {
        if !isFirst { bytes.append(UInt8(ascii: ",")) }
        isFirst = false
        string(name)
        bytes.append(UInt8(ascii: ":"))
    }

    private mutating func null() { bytes += "null".utf8 }

    private mutating func flag(_ name: String, _ value: Bool) {
        self.name(name)
        bytes += value ? "true".utf8 : "false".utf8
    }

    private mutating func text(_ name: String, _ value: String, longest: Int = longestValue) {
        self.name(name)
        string(Self.cut(value, longest))
    }

    /// Never inside a character.
    static func cut(_ value: String, _ longest: Int = longestValue) -> String {
        let length = value.utf8.count
        guard length > longest else { return value }
        var end = value.utf8.index(value.startIndex, offsetBy: longest)
        while end > value.startIndex, String.Index(end, within: value.unicodeScalars) == nil { end = value.utf8.index(before: end) }
        return value[..<end] + "… (cut: \(length) bytes)"
    }

    private static let hexadecimal = Array("0123456789abcdef".utf8)

    private mutating func string(_ value: String) {
        bytes.append(UInt8(ascii: "\""))
        for byte in value.utf8 {
            switch byte {
            case UInt8(ascii: "\""), UInt8(ascii: "\\"):
                bytes.append(UInt8(ascii: "\\"))
                bytes.append(byte)
            case 0..<0x20:
                bytes += "\\u00".utf8
                bytes.append(Self.hexadecimal[Int(byte >> 4)])
                bytes.append(Self.hexadecimal[Int(byte & 15)])
            default:
                bytes.append(byte)
            }
        }
        bytes.append(UInt8(ascii: "\""))
    }
}
