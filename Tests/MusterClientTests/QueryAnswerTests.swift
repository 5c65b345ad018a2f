import MusterWire
import Testing

@testable import MusterClient

@Suite struct QueryAnswerTests {
    @Test func elementsTextAndLists() throws {
        let xml = """
            <?xml version="1.0" encoding="UTF-8"?>
            <ListUsersResponse xmlns="https://iam.amazonaws.com/doc/2010-05-08/">
              <ListUsersResult>
                <Users>
                  <member><UserName>a &amp; &lt;b&gt; &quot;&#233;&#x1F600;&apos;</UserName><Path/></member>
                  <member><UserName>c</UserName></member>
                </Users>
                <IsTruncated>false</IsTruncated>
              </ListUsersResult>
            </ListUsersResponse>

            """
        let answer = try #require(QueryAnswer(xml: Array(xml.utf8)))
        let result = try #require(answer["ListUsersResult"])
        #expect(result.list("Users").map { $0["UserName"]?.text } == ["a & <b> \"é😀'", "c"])
        #expect(result["IsTruncated"]?.text == "false" && answer.value("UserName") == "a & <b> \"é😀'")
        #expect(result.list("Groups").isEmpty)
    }

    @Test(arguments: [
        "", "text", "<a>", "<a></b>", "<a><b></a></b>", "<a/><b/>", "<a>&unknown;</a>", "<a>&amp</a>", "<a>&#xD800;</a>",
        "<!DOCTYPE a><a/>",
        "<a><![CDATA[x]]></a>", "<a><!-- x --></a>", "<", "</a>", "<>", "< a/>x",
    ])
    func whatIsNoAnswerIsRefused(xml: String) {
        #expect(QueryAnswer(xml: Array(xml.utf8)) == nil)
    }

    @Test func depthIsBounded() {
        let deep = String(repeating: "<a>", count: 10_000) + String(repeating: "</a>", count: 10_000)
        #expect(QueryAnswer(xml: Array(deep.utf8)) == nil)
    }

    @Test func percentEncodingGoesBothWays() {
        let text = "{\"a\": \"é~%+\"}\n"
        #expect(PercentEncoding.decoded(PercentEncoding.encoded(text)) == text)
        for bad in ["%", "%4", "%zz", "%ff"] { #expect(PercentEncoding.decoded(bad) == nil) }
    }
}
