import HTTPTypes
import MusterWire
import Testing

@testable import MusterController

@Suite struct CallFormatTests {
    let form: HTTPFields = [.contentType: "application/x-www-form-urlencoded; charset=utf-8"]

    @Test func theHeaderDecides() {
        let body = Array("Version=2011-06-15&Action=GetCallerIdentity".utf8)
        #expect(CallFormat(form, body: body) == .query)
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

    @Test(arguments: ["a=%", "a=%4", "a=%zz", "a=%ff", "a=1&a=2", String(repeating: "x=1&", count: 100)])
    func formsThatAreNone(_ text: String) {
        #expect(throws: APIError.self) { try CallFormat.fields(Array(text.utf8)) }
    }

    /// Every truncation and every flipped byte is an answer or an error, never a trap.
    @Test func anyBytesAreSurvived() {
        let good = Array("Action=GetCallerIdentity&Version=2011-06-15&x=%41".utf8)
        for end in good.indices { _ = try? CallFormat.query.operation(form, body: Array(good[..<end])) }
        for index in good.indices {
            for bit in 0..<8 {
                var bad = good
                bad[index] ^= 1 << bit
                _ = try? CallFormat.query.operation(form, body: bad)
            }
        }
    }

    @Test func operations() throws {
        let caller = try CallFormat.query.operation(form, body: Array("Version=2011-06-15&Action=GetCallerIdentity".utf8))
        #expect(caller.name == "GetCallerIdentity" && caller.target == .securityToken)
        #expect(try CallFormat.query.operation(form, body: Array("Version=2010-05-08&Action=GetCallerIdentity".utf8)).name == "")
        let commands = try CallFormat.json.operation([.amzTarget: "AmazonSSM.ListCommands"], body: [])
        #expect(commands.name == "ListCommands" && commands.target == .systemsManager)
        #expect(try CallFormat.json.operation([.amzTarget: "Other.ListCommands"], body: []).name == "")
    }

    @Test func answersAreXML() throws {
        let answer = try CallFormat.query.success(
            Array(#"{"UserId":"a<&>\"","Arn":"arn"}"#.utf8), operation: "GetCallerIdentity", requestID: "r")
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
        let failure = CallFormat.query.failure(.unrecognizedClient, requestID: "r")
        #expect(failure.status.code == 403 && failure.errorType == "InvalidClientTokenId")
        #expect(CallFormat.query.failure(.internalServerError, requestID: "r").status.code == 500)
        #expect(CallFormat.escaped("a\u{0}\u{1b}b") == "a\u{fffd}\u{fffd}b")
    }
}
