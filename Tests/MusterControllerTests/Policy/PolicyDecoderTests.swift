import Testing

@testable import MusterController

@Suite struct PolicyDecoderTests {
    @Test func aStatementMayStandAlone() throws {
        let document = try policy(#"{"Version":"2012-10-17","Id":"x","Statement":{"Effect":"Allow","Action":"ssm:*","Resource":"*"}}"#)
        #expect(document.id == "x")
        #expect(document.statements.map(\.name) == ["1"])
        #expect(document.statements.map(\.effect) == [.allow])
        #expect(!document.requiresApproval)
    }

    @Test func everyMemberIsRead() throws {
        let document = try policy(
            #"""
            {"Version":"2012-10-17","Statement":[
              {"Sid":"One","Effect":"Allow","NotAction":["ssm:Delete*"],"NotResource":["arn:aws:ssm:*:*:document/x"],"Condition":{}},
              {"Effect":"Allow","Action":["ssm:SendCommand","ssm:startsession"],"Resource":"*","RequireApproval":
                {"Approvers":["alice","group/leads"],"Count":2,"Reason":true,"Ticket":"OPS-[0-9]+","MaximumMinutes":30,
                 "EndSessions":false}}]}
            """#)
        #expect(document.statements.map(\.name) == ["One", "2"])
        #expect(
            document.statements[1].approval
                == ApprovalRequirement(
                    approvers: [.user("alice"), .group("leads")], count: 2, needsReason: true, ticket: .matching("OPS-[0-9]+"),
                    maximumMinutes: 30, endsSessions: false))
        #expect(document.requiresApproval)
    }

    /// Each with the place and a word of the reason.
    static let refusals: [(String, String, String)] = [
        ("[]", "", "object"), ("", "", "empty"), ("{", "", "member's name"), (#"{"Version":"2012-10-17"}"#, "Statement", "Missing"),
        (#"{"Version":"2020-01-01","Statement":[]}"#, "Version", "2012-10-17"),
        (#"{"Version":"2012-10-17","Statement":[]}"#, "Statement", "empty"),
        (#"{"Version":"2012-10-17","statement":[]}"#, "", "did you mean 'Statement'"),
        (#"{"Version":"2012-10-17","Statement":[1]}"#, "Statement[0]", "an integer"),
        (#"{"Version":"2012-10-17","Statement":[],"Statement":[]}"#, "", "given twice"),
        (statement(#""Effect":"Allow","Effect":"Deny","Action":"*","Resource":"*""#), "", "given twice"),
        (statement(#""Action":"*","Resource":"*""#), "Statement[0].Effect", "Allow"),
        (statement(#""Effect":"allow","Action":"*","Resource":"*""#), "Statement[0].Effect", "Allow"),
        (statement(#""Effect":"Allow","Resource":"*""#), "Statement[0]", "Action is missing"),
        (statement(#""Effect":"Allow","Action":"*""#), "Statement[0]", "Resource is missing"),
        (allow(#""NotAction":"ssm:*""#), "Statement[0]", "exclude"), (allow(#""NotResource":"*""#), "Statement[0]", "exclude"),
        (allow(#""Principal":"*""#), "Statement[0].Principal", "attaching"), (allow(#""Conditions":{}"#), "Statement[0]", "'Condition'"),
        (allow(#""Sid":"No Weekends""#), "Statement[0].Sid", "letters"), (allow(#""Sid":7"#), "Statement[0].Sid", "string"),
        (statement(#""Effect":"Allow","Action":[],"Resource":"*""#), "Statement[0].Action", "list of strings"),
        (statement(#""Effect":"Allow","Action":[1],"Resource":"*""#), "Statement[0].Action", "list of strings"),
        (statement(#""Effect":"Allow","Action":"StartSession","Resource":"*""#), "Statement[0].Action", "service:Name"),
        (statement(#""Effect":"Allow","Action":["ssm:*","ssm:${aws:username}"],"Resource":"*""#), "Statement[0].Action[1]", "service:Name"),
        (statement(#""Effect":"Allow","Action":"ssm:StartSesion","Resource":"*""#), "Statement[0].Action", "'ssm:StartSession'"),
        (statement(#""Effect":"Allow","Action":"ssm:Bogus","Resource":"*""#), "Statement[0].Action", "nothing that is served"),
        (statement(#""Effect":"Allow","Action":"ec2:Describe*","Resource":"*""#), "Statement[0].Action", "nothing that is served"),
        (statement(#""Effect":"Allow","Action":"*","Resource":"mi-0123""#), "Statement[0].Resource", "six parts"),
        (statement(#""Effect":"Allow","Action":"*","Resource":"arn:aws:ssm:*:document/x""#), "Statement[0].Resource", "six parts"),
        (
            statement(#""Effect":"Allow","Action":"*","Resource":"arn:aws:ssm:*:*:session/${aws:user}-*""#), "Statement[0].Resource",
            "aws:userid"
        ),
        (statement(#""Effect":"Allow","Action":"*","Resource":"arn:aws:ssm:*:*:session/${aws:username""#), "Statement[0].Resource", "no }"),
        (
            statement(#""Effect":"Allow","Action":"*","Resource":"arn:aws:ssm:*:*:session/${aws:TagKeys}""#), "Statement[0].Resource",
            "several values"
        ),
        (
            #"{"Statement":{"Effect":"Allow","Action":"*","Resource":"arn:aws:ssm:*:*:session/${aws:username}-*"}}"#, "Statement.Resource",
            "2012-10-17"
        ),
        (condition("StringEqual", "aws:username", "\"a\""), "Statement[0].Condition", "'StringEquals'"),
        (condition("ForAnyValues:StringEquals", "aws:username", "\"a\""), "Statement[0].Condition", "no operator"),
        (condition("NullIfExists", "aws:username", "\"true\""), "Statement[0].Condition", "Null"),
        (condition("ForAnyValue:Null", "aws:TagKeys", "\"true\""), "Statement[0].Condition", "Null"),
        (condition("StringEquals", "aws:usrname", "\"a\""), "Statement[0].Condition.StringEquals", "'aws:username'"),
        (condition("StringEquals", "ssm:resourceTag/", "\"a\""), "Statement[0].Condition.StringEquals", "1 to 128"),
        (condition("Bool", "aws:MultiFactorAuthPresent", "\"true\""), "Statement[0].Condition.Bool", "not served"),
        (condition("StringEquals", "aws:TagKeys", "\"a\""), "Statement[0].Condition.StringEquals.aws:TagKeys", "ForAnyValue:"),
        (condition("StringEquals", "aws:SourceIp", "\"10.0.0.1\""), "Statement[0].Condition.StringEquals.aws:SourceIp", "IpAddress"),
        (condition("StringEquals", "aws:username", "[]"), "Statement[0].Condition.StringEquals.aws:username", "empty"),
        (condition("StringEquals", "aws:username", "null"), "Statement[0].Condition.StringEquals.aws:username", "null"),
        (condition("StringEquals", "aws:username", "[\"a\",{}]"), "Statement[0].Condition.StringEquals.aws:username", "object"),
        (condition("NumericEquals", "muster:TargetCount", "\"ten\""), "Statement[0].Condition.NumericEquals.muster:TargetCount", "number"),
        (condition("NumericEquals", "muster:TargetCount", "\"0x10\""), "Statement[0].Condition.NumericEquals.muster:TargetCount", "number"),
        (condition("DateLessThan", "aws:CurrentTime", "\"tomorrow\""), "Statement[0].Condition.DateLessThan.aws:CurrentTime", "date"),
        (condition("DateLessThan", "aws:CurrentTime", "\"2026-02-30\""), "Statement[0].Condition.DateLessThan.aws:CurrentTime", "date"),
        (condition("Bool", "aws:SecureTransport", "\"yes\""), "Statement[0].Condition.Bool.aws:SecureTransport", "true or false"),
        (condition("Bool", "aws:SecureTransport", "\"${aws:username}\""), "Statement[0].Condition.Bool.aws:SecureTransport", "variables"),
        (condition("IpAddress", "aws:SourceIp", "\"10.0.0.0/33\""), "Statement[0].Condition.IpAddress.aws:SourceIp", "network"),
        (condition("IpAddress", "aws:SourceIp", "\"010.0.0.1\""), "Statement[0].Condition.IpAddress.aws:SourceIp", "network"),
        (condition("IpAddress", "aws:SourceIp", "\"localhost\""), "Statement[0].Condition.IpAddress.aws:SourceIp", "network"),
        (condition("muster:TimeWindow", "aws:CurrentTime", "\"Mon-Fri 9-18 Asia/Tokyo\""), timeWindow, "09:00-18:00"),
        (condition("muster:TimeWindow", "aws:CurrentTime", "\"Mon-Fri 09:00-18:00 Asia/Tokio\""), timeWindow, "'Asia/Tokyo'"),
        (condition("muster:TimeWindow", "aws:CurrentTime", "\"Mon-Fri 09:00-18:00\""), timeWindow, "zone"),
        (condition("muster:TimeWindow", "aws:CurrentTime", "\"Mon-Fry 09:00-18:00 UTC\""), timeWindow, "days"),
        (condition("muster:TimeWindow", "aws:CurrentTime", "\"daily 09:00-09:00 UTC\""), timeWindow, "different"),
        (condition("muster:TimeWindow", "aws:CurrentTime", "\"daily 09:00-24:01 UTC\""), timeWindow, "24:00"),
        (condition("muster:TimeWindow", "aws:CurrentTime", "\"daily 09:00-18:00 ../../../etc/passwd\""), timeWindow, "no time zone"),
        (condition("muster:TimeWindow", "aws:CurrentTime", "\"daily 09:00-18:00 zone.tab\""), timeWindow, "no time zone"),
        (
            condition("muster:TimeWindow", "aws:username", "\"daily 09:00-18:00 UTC\""),
            "Statement[0].Condition.muster:TimeWindow.aws:username", "String"
        ),
        (approval("{}"), "Statement[0].RequireApproval.Approvers", "approvers"),
        (approval(#"{"Approvers":[]}"#), "Statement[0].RequireApproval.Approvers", "approvers"),
        (approval(#"{"Approvers":["a b"]}"#), "Statement[0].RequireApproval.Approvers", "'a b'"),
        (approval(#"{"Approvers":["a","a"]}"#), "Statement[0].RequireApproval.Approvers", "twice"),
        (approval(#"{"Approvers":["a"],"Count":2}"#), "Statement[0].RequireApproval.Count", "only 1"),
        (approval(#"{"Approvers":["a"],"Count":0}"#), "Statement[0].RequireApproval.Count", "from 1"),
        (approval(#"{"Approvers":["a"],"Ticket":"(x"}"#), "Statement[0].RequireApproval.Ticket", ""),
        (approval(#"{"Approvers":["a"],"MaximumMinutes":1e9}"#), "Statement[0].RequireApproval.MaximumMinutes", "whole number"),
        (approval(#"{"Approvers":["a"],"EndSession":true}"#), "Statement[0].RequireApproval", "'EndSessions'"),
        (allow(#""RequireApproval":{"Approvers":["a"]}"#), "Statement[0].RequireApproval", "ssm:SendCommand"),
        (
            statement(#""Effect":"Deny","Action":"*","Resource":"*","RequireApproval":{"Approvers":["a"]}"#),
            "Statement[0].RequireApproval",
            "allows"
        ),
        (
            #"{"Statement":[{"Sid":"2","Effect":"Allow","Action":"*","Resource":"*"},{"Effect":"Deny","Action":"*","Resource":"*"}]}"#,
            "Statement[1].Sid", "already"
        ),
    ]

    @Test(arguments: refusals)
    func refuses(_ text: String, path: String, word: String) {
        let error = #expect(throws: PolicyError.self) { try policy(text, actions: ["ssm:StartSession", "ssm:SendCommand"]) }
        #expect(error?.path == path)
        #expect(error?.reason.contains(word) == true, "\(error?.reason ?? "")")
    }

    static let timeWindow = "Statement[0].Condition.muster:TimeWindow.aws:CurrentTime"

    static func condition(_ name: String, _ key: String, _ value: String) -> String {
        allow(#""Condition":{"\#(name)":{"\#(key)":\#(value)}}"#)
    }

    static func approval(_ value: String) -> String {
        statement(#""Effect":"Allow","Action":"ssm:StartSession","Resource":"*","RequireApproval":\#(value)"#)
    }

    @Test func sizeAndDepthAreBounded() {
        let long = allow(#""Sid":"\#(String(repeating: "x", count: PolicyDocument.maximumCharacters))""#)
        #expect(throws: PolicyError.self) { try policy(long) }
        #expect(throws: PolicyError.self) { try policy(String(repeating: " ", count: PolicyDocument.maximumBytes) + allow()) }
        #expect(throws: PolicyError.self) { try policy(String(repeating: "[", count: 6_000)) }
        #expect(throws: Never.self) { try policy(String(repeating: " ", count: 50_000) + allow()) }
    }

    /// Whatever is cut off or turned over is refused in words or is another right policy; nothing traps.
    @Test func anyDamageIsAnError() throws {
        let text = Array(
            statement(
                #""Sid":"A","Effect":"Allow","Action":["ssm:StartSession"],"Resource":"arn:aws:ssm:*:*:session/${aws:username, 'x'}-?""#,
                #""Condition":{"ForAnyValue:StringLikeIfExists":{"aws:TagKeys":["a*"]},"#
                    + #""muster:TimeWindow":{"aws:CurrentTime":"Mon-Fri,Sun 09:00-18:00 UTC"},"#
                    + #""IpAddress":{"aws:SourceIp":"2001:db8::/32"},"NumericLessThan":{"muster:TargetCount":1.5}}"#,
                #""RequireApproval":{"Approvers":["group/x"],"Ticket":"a+"}"#
            ).utf8)
        #expect(throws: Never.self) { try PolicyDocument(json: text) }
        for length in text.indices { #expect(throws: PolicyError.self) { try PolicyDocument(json: Array(text[..<length])) } }
        for index in text.indices {
            for change: UInt8 in [0x00, 0x22, 0x2A, 0x7B, 0x7D, 0xFF] {
                var damaged = text
                damaged[index] = change
                _ = try? PolicyDocument(json: damaged)
            }
        }
    }
}
