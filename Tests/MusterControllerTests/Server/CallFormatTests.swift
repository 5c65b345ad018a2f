import HTTPTypes
import MusterWire
import Testing

@testable import MusterController

@Suite struct CallFormatTests {
    let form: HTTPFields = [.contentType: "application/x-www-form-urlencoded; charset=utf-8"]

    @Test func theHeaderDecides() {
        let body = Array("Version=2011-06-15&Action=GetCallerIdentity".utf8)
        #expect(CallFormat(form, body: body) == .query(.securityToken))
        #expect(CallFormat(form, body: Array("{}".utf8)) == .json)
        #expect(CallFormat(form, body: []) == .json)
        #expect(CallFormat([.contentType: "application/x-amz-json-1.1"], body: body) == .json)
        #expect(CallFormat([.contentType: "application/x-www-form-urlencoded", .amzTarget: "AmazonSSM.ListCommands"], body: body) == .json)
        #expect(CallFormat([:], body: body) == .json)
    }

    @Test func fields() throws {
        #expect(try CallFormat.fields(Array("a=1&b=x+y%2Bz&c&%C3%A9=%e2%82%ac".utf8)) == ["a": "1", "b": "x y+z", "c": "", "é": "€"])
        #expect(try CallFormat.fields([]) == [:])
    }

    @Test(arguments: ["a=%", "a=%4", "a=%zz", "a=%ff", "a=1&a=2", String(repeating: "x=1&", count: 200)])
    func formsThatAreNone(_ text: String) {
        #expect(throws: APIError.self) { try CallFormat.fields(Array(text.utf8)) }
    }

    /// Every truncation and every flipped byte is an answer or an error, never a trap.
    @Test func anyBytesAreSurvived() {
        let good = Array("Action=GetCallerIdentity&Version=2011-06-15&x=%41".utf8)
        for end in good.indices { _ = try? CallFormat.query(.securityToken).operation(form, body: Array(good[..<end])) }
        for index in good.indices {
            for bit in 0..<8 {
                var bad = good
                bad[index] ^= 1 << bit
                _ = try? CallFormat.query(.securityToken).operation(form, body: bad)
            }
        }
    }

    @Test func operations() throws {
        let caller = try CallFormat.query(.securityToken).operation(form, body: Array("Version=2011-06-15&Action=GetCallerIdentity".utf8))
        #expect(caller.name == "GetCallerIdentity" && caller.target == .securityToken)
        #expect(
            try CallFormat.query(.securityToken).operation(form, body: Array("Version=2010-05-08&Action=GetCallerIdentity".utf8)).name == ""
        )
        let commands = try CallFormat.json.operation([.amzTarget: "AmazonSSM.ListCommands"], body: [])
        #expect(commands.name == "ListCommands" && commands.target == .systemsManager)
        #expect(try CallFormat.json.operation([.amzTarget: "Other.ListCommands"], body: []).name == "")
    }

    @Test func answersAreXML() throws {
        let value = QueryValue.members(["Arn": .text("arn"), "UserId": .text("a<&>\""), "Absent": nil])
        let answer = CallFormat.query(.securityToken).success(
            value.xml(resultOf: "GetCallerIdentity"), operation: "GetCallerIdentity", requestID: "r")
        #expect(answer.contentType == "text/xml")
        #expect(
            String(decoding: answer.body, as: UTF8.self) == """
                <GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
                  <GetCallerIdentityResult>
                    <Arn>arn</Arn>
                    <UserId>a&lt;&amp;&gt;&quot;</UserId>
                  </GetCallerIdentityResult>
                  <ResponseMetadata>
                    <RequestId>r</RequestId>
                  </ResponseMetadata>
                </GetCallerIdentityResponse>

                """)
        let failure = CallFormat.query(.securityToken).failure(.unrecognizedClient, requestID: "r")
        #expect(failure.status.code == 403 && failure.errorType == "InvalidClientTokenId")
        #expect(CallFormat.query(.securityToken).failure(.internalServerError, requestID: "r").status.code == 500)
        #expect(CallFormat.escaped("a\u{0}\u{1b}b") == "a\u{fffd}\u{fffd}b")
    }

    @Test func theVersionNamesTheService() throws {
        let body = Array("Action=ListUsers&Version=2010-05-08".utf8)
        #expect(CallFormat(form, body: body) == .query(.identity))
        let called = try CallFormat.query(.identity).operation(form, body: body)
        #expect(called.name == "ListUsers" && called.target == .identity)
        // What is written as a form is not called in JSON.
        let asked: HTTPFields = [.amzTarget: "AWSIdentityManagementV20100508.ListUsers"]
        #expect(try CallFormat.json.operation(asked, body: []).name == "")
    }

    @Test func aFormsMembers() throws {
        let operation = QueryOperation(
            "TagUser",
            [.text("UserName", .length(1...4)), .tags(), .texts("TagKeys"), .number("MaxItems", 1...10), .flag("Force"), .path()])
        func call(_ text: String) throws -> QueryCall { try operation.decode(Array(text.utf8)) }
        let good = try call(
            "Action=TagUser&Version=2010-05-08&UserName=bob&Tags.member.2.Key=b&Tags.member.2.Value=2&Tags.member.1.Key=a"
                + "&Tags.member.1.Value=&TagKeys.member.1=x&MaxItems=7&Force=true&Path=%2F")
        #expect(try good.text("UserName") == "bob" && good.tags == [Tag(key: "a", value: ""), Tag(key: "b", value: "2")])
        #expect(good.list("TagKeys") == ["x"] && good.number("MaxItems") == 7 && good.isSet("Force"))
        for bad in [
            "UserName=bob", "TagKeys.member.1=x", "UserName=bobby&TagKeys.member.1=x", "UserName=bob&TagKeys.member.1=x&Path=%2Fa%2F",
            "UserName=bob&TagKeys.member.1=x&MaxItems=11", "UserName=bob&TagKeys.member.1=x&MaxItems=x",
            "UserName=bob&TagKeys.member.1=x&Force=yes", "UserName=bob&TagKeys.member.0=x", "UserName=bob&TagKeys.member.x=x",
            "UserName=bob&TagKeys.member.1.Key=x", "UserName=bob&TagKeys.member.1=x&Tags.member.1.Key=a",
            "UserName=bob&TagKeys.member.1=x&PermissionsBoundary=arn",
        ] {
            #expect(throws: APIError.self) { try call(bad) }
        }
    }

    @Test func listsAndEncodedTexts() {
        let value = QueryValue.members(["Users": .list([.members(["Name": .text("a")]), .text("b")]), "IsTruncated": .flag(false)])
        #expect(
            String(decoding: value.xml(resultOf: "List"), as: UTF8.self) == """
                  <ListResult>
                    <Users>
                      <member>
                        <Name>a</Name>
                      </member>
                      <member>b</member>
                    </Users>
                    <IsTruncated>false</IsTruncated>
                  </ListResult>

                """)
        #expect(QueryValue.nothing.xml(resultOf: "Delete") == [])
        #expect(PercentEncoding.encoded("{\"a\": 1}é~") == "%7B%22a%22%3A%201%7D%C3%A9~")
    }
}
