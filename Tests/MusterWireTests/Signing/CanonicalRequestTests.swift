import MusterCrypto
import Testing

@testable import MusterWire

func hash(_ body: [UInt8]) -> String { Hex.encode(SHA256.hash(body)) }
func code(_ key: [UInt8], _ text: String) -> String { Hex.encode(HMACSHA256.code(key: key, message: Array(text.utf8))) }

@Suite struct CanonicalRequestTests {
    @Test(arguments: [
        ("", "/"), ("/", "/"), ("//", "/"), ("/./", "/"), ("/..", "/"), ("/a", "/a"), ("/a/", "/a/"), ("/a/../b", "/b"), ("/a//b", "/a/b"),
        ("/a%20b", "/a%2520b"), ("/ü~-_.", "/%C3%BC~-_."),
    ])
    func path(given: String, canonical: String) {
        #expect(CanonicalRequest.path(given) == canonical)
    }

    @Test(arguments: [
        ("", ""), ("b=2&a=1", "a=1&b=2"), ("a=2&a=1", "a=1&a=2"), ("a", "a="), ("a=%2f", "a=%2F"), ("a=b=c", "a=b%3Dc"),
        ("a=%zz", "a=%25zz"), ("a=%", "a=%25"),
    ])
    func query(given: String, canonical: String) {
        #expect(CanonicalRequest.query(given) == canonical)
    }

    @Test(arguments: [("", ""), ("  ", ""), (" a ", "a"), ("a   b", "a b"), ("a\t b", "a b"), ("é  é", "é é")])
    func values(given: String, canonical: String) {
        #expect(CanonicalRequest.trimmed(given) == canonical)
    }

    /// The example of AWS's signing guide (the "get-vanilla" request of its test suite).
    @Test func awsExample() {
        let request = CanonicalRequest(
            method: "GET", path: "/", query: "", headers: [("Host", "example.amazonaws.com"), ("X-Amz-Date", "20150830T123600Z")],
            signedHeaders: ["host", "x-amz-date"], payloadHash: hash([]))
        #expect(
            request.text
                == "GET\n/\n\nhost:example.amazonaws.com\nx-amz-date:20150830T123600Z\n\nhost;x-amz-date\ne3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        )
        let key = SigV4.signingKey(
            secret: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", date: "20150830", region: "us-east-1", service: "service")
        #expect(
            code(key, SigV4.stringToSign(time: "20150830T123600Z", scope: "20150830/us-east-1/service/aws4_request", request: request))
                == "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31")
    }
}
