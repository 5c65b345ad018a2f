import MusterCrypto
import MusterWire
import Testing

@testable import MusterController

@Suite struct AuditRecordTests {
    static let time = Timestamp(milliseconds: 1_700_000_000_123)
    static let jane = Caller(
        accessKeyID: "AKIAEXAMPLE", userName: "jane", arn: "arn:aws:iam::000000000001:user/jane", sourceAddress: "192.0.2.7",
        userAgent: "aws-cli/2 \"quoted\"\u{1b}[31m")

    private func text(_ event: AuditEvent) -> String {
        String(decoding: AuditRecordText(event, account: "000000000001", region: "local", time: event.time.iso8601).bytes, as: UTF8.self)
    }

    @Test func aRecordHasCloudTrailsShape() throws {
        let event = AuditEvent(
            time: Self.time, caller: Self.jane, requestID: "r-1", region: "eu-west-1", operation: "StartSession",
            resource: "jane-0123456789abcdef0", outcome: .success, details: ["target": "mi-0123456789abcdef0", "reason": "look\n"],
            parameters: Array(#"{"Target":"mi-0123456789abcdef0"}"#.utf8), id: "e-1")
        #expect(
            text(event) == """
                {"eventVersion":"1.11","userIdentity":{"type":"IAMUser","principalId":"jane","arn":"arn:aws:iam::000000000001:user/jane",\
                "accountId":"000000000001","accessKeyId":"AKIAEXAMPLE","userName":"jane"},"eventTime":"2023-11-14T22:13:20.123Z",\
                "eventSource":"ssm.amazonaws.com","eventName":"StartSession","awsRegion":"eu-west-1","sourceIPAddress":"192.0.2.7",\
                "userAgent":"aws-cli/2 \\"quoted\\"\\u001b[31m","requestParameters":{"Target":"mi-0123456789abcdef0"},\
                "responseElements":{"sessionId":"jane-0123456789abcdef0"},"additionalEventData":{"reason":"look\\u000a",\
                "target":"mi-0123456789abcdef0"},"requestID":"r-1","eventID":"e-1","readOnly":false,"resources":[\
                {"ARN":"arn:aws:ssm:eu-west-1:000000000001:session/jane-0123456789abcdef0","type":"AWS::SSM::Session"},\
                {"ARN":"arn:aws:ssm:eu-west-1:000000000001:managed-instance/mi-0123456789abcdef0","type":"AWS::SSM::ManagedInstance"}],\
                "eventType":"AwsApiCall","managementEvent":true,"eventCategory":"Management","recipientAccountId":"000000000001"}
                """)
        #expect(event.related == "mi-0123456789abcdef0")
        let fields = try AuditRecord(sequence: 1, digest: [], bytes: Array(text(event).utf8)).decoded()
        #expect(fields.time == Self.time && fields.additionalEventData?["reason"] == "look\n" && fields.errorCode == nil)
    }

    @Test func whoActed() {
        func identity(_ caller: Caller, request: String = "r") -> String {
            let text = text(
                AuditEvent(
                    time: Self.time, caller: caller, requestID: request, region: "", operation: "X", resource: "*", outcome: .denied,
                    details: ["errorCode": "AccessDeniedException", "errorMessage": "no"]))
            #expect(text.contains(#""errorCode":"AccessDeniedException","errorMessage":"no""#) && text.contains(#""resources":[]"#))
            return text
        }
        let role = Caller(
            accessKeyID: "ASIA", userName: "jane", arn: "arn:aws:sts::000000000001:assumed-role/ops/night", sourceAddress: "192.0.2.7",
            userAgent: "")
        #expect(
            identity(role).contains(
                #""type":"AssumedRole","principalId":"ops:night","arn":"arn:aws:sts::000000000001:assumed-role/ops/night""#))
        #expect(identity(role).contains(#""sessionContext":{"sessionIssuer":{"type":"Role","arn":"arn:aws:iam::000000000001:role/ops""#))
        #expect(identity(.anonymous(sourceAddress: "192.0.2.9", userAgent: "")).contains(#""type":"Unknown","principalId":"anonymous""#))
        #expect(identity(AuditEvent.controller, request: "").contains(#""type":"AWSService","invokedBy":"muster-controller""#))
        #expect(identity(AuditEvent.controller, request: "").contains(#""eventType":"AwsServiceEvent""#))
    }

    @Test func whatIsLongIsCutAndSaysSo() {
        let long = String(repeating: "é", count: 5_000)
        let event = AuditEvent(time: Self.time, controllerDid: "X", resource: "*", details: ["words": long])
        #expect(text(event).contains("éé… (cut: 10000 bytes)\""))
        #expect(text(event).utf8.count < 4_000)
        let parameters = AuditEvent(
            time: Self.time, caller: Self.jane, requestID: "r", region: "", operation: "X", resource: "*", outcome: .success,
            parameters: Array((#"{"A":""# + String(repeating: "x", count: 40_000) + #""}"#).utf8))
        #expect(text(parameters).contains(#""requestParameters":{"cut":"40008 bytes, SHA-256 "#))
    }

    @Test func secretsAreMaskedAndTextsAreDigested() throws {
        let body = """
            {"DocumentName":"AWS-RunShellScript","InstanceIds":["mi-1"],"Parameters":{"commands":["mysql -phunter2"],"dbPassword":["hunter3"]},
             "ActivationCode":"hunter4","Content":"hunter5","Tags":[{"Key":"env","Value":"staging"}],"NextToken":"page","Value":"hunter6",
             "Credentials":{"SecretAccessKey":"hunter7"},"Targets":[{"Key":"tag:env","Values":["prod"]}]}
            """
        let shown = String(decoding: try #require(AuditParameters.text(Array(body.utf8))), as: UTF8.self)
        #expect(!shown.contains("hunter"))
        for kept in [
            "AWS-RunShellScript", "mi-1", "staging", "tag:env", "prod", "\"nextToken\":\"page\"", "\"documentName\":",
            "\"tags\":[{\"key\":\"env\",",
        ] {
            #expect(shown.contains(kept), "\(kept)")
        }
        #expect(shown.contains("sha256:" + Hex.encode(SHA256.hash("mysql -phunter2"))))
        #expect(shown.contains("\"dbPassword\":\"HIDDEN_DUE_TO_SECURITY_REASONS\""))
        #expect(AuditParameters.text(Array("[]".utf8)) == nil && AuditParameters.text(Array("{}".utf8)) == nil)
        let deep = String(repeating: #"{"a":"#, count: 40) + "1" + String(repeating: "}", count: 40)
        #expect(AuditParameters.text(Array(deep.utf8)).map { String(decoding: $0, as: UTF8.self).contains("too deep") } == true)
    }

    @Test func callsOfTheQueryProtocolAreShownLikeAnyOther() throws {
        let policy = #"{"Version":"2012-10-17","Statement":[]}"# + String(repeating: " ", count: 3_000)
        let operation = QueryOperation(
            "PutUserPolicy", [.text("UserName"), .text("PolicyDocument"), .number("DurationSeconds", 1...9), .texts("TagKeys"), .tags()])
        let call = try operation.decode(fields: [
            "UserName": "jane", "PolicyDocument": policy, "DurationSeconds": "5", "TagKeys.member.1": "env", "Tags.member.1.Key": "team",
            "Tags.member.1.Value": "blue",
        ])
        let shown = try JSONCoding.decode(JSONValue.self, from: try #require(AuditParameters.text(call)))
        #expect(
            shown
                == .object([
                    "userName": .string("jane"), "policyDocument": .string(policy), "durationSeconds": .integer(5),
                    "tagKeys": .array([.string("env")]), "tags": .array([.object(["key": .string("team"), "value": .string("blue")])]),
                ]))
        #expect(AuditParameters.text(QueryCall()) == nil)
    }

    @Test func anAnswerNamesWhatWasMade() {
        func answer(_ operation: String, _ resource: String, _ details: [String: String]) -> Bool {
            let event = AuditEvent(
                time: Self.time, caller: Self.jane, requestID: "r", region: "", operation: operation, resource: resource, outcome: .success,
                details: details)
            return text(event).contains(
                #""responseElements":{"accessKey":{"accessKeyId":"AKIA2","userName":"bob"}},"additionalEventData""#)
        }
        #expect(answer("CreateAccessKey", "arn:aws:iam::000000000001:user/bob", ["createdAccessKeyId": "AKIA2", "userName": "bob"]))
        #expect(!answer("UpdateAccessKey", "arn:aws:iam::000000000001:user/bob", ["createdAccessKeyId": "AKIA2", "userName": "bob"]))
    }

    @Test func eventIDsGrowWithTime() {
        let first = AuditEvent.makeID(at: Self.time)
        let second = AuditEvent.makeID(at: Self.time.adding(milliseconds: 1))
        #expect(first < second && first.count == 36 && Array(first)[14] == "7" && "89ab".contains(Array(first)[19]))
        #expect(Set((0..<1_000).map { _ in AuditEvent.makeID(at: Self.time) }).count == 1_000)
    }

    @Test func sourcesAreTheServicesThatPeopleKnow() {
        let expected = [
            "SendCommand": "ssm.amazonaws.com", "AssumeRole": "sts.amazonaws.com", "CreateUser": "iam.amazonaws.com",
            "PutUserPolicy": "iam.amazonaws.com", "UpdateAccessKey": "iam.amazonaws.com", "LookupEvents": "cloudtrail.amazonaws.com",
            "EndInvocation": "muster", "CommitRecording": "muster", "QuarantineManagedInstance": "muster",
        ]
        for (operation, source) in expected { #expect(AuditRecordText.source(of: operation, isRequest: true) == source, "\(operation)") }
        #expect(AuditRecordText.isReading("GetRecording") && !AuditRecordText.isReading("SendCommand"))
    }
}
