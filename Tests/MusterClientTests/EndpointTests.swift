import MusterClient
import Testing

struct EndpointTests {
    @Test(arguments: [
        ("https://controller.example:8443", "controller.example", 8443, "controller.example:8443"),
        ("https://Controller.Example", "controller.example", 443, "controller.example"),
        ("HTTPS://127.0.0.1:1/", "127.0.0.1", 1, "127.0.0.1:1"),
        ("https://[2001:db8::1]:8443", "2001:db8::1", 8443, "[2001:db8::1]:8443"),
        ("https://[::1]", "::1", 443, "[::1]"),
    ])
    func reads(url: String, host: String, port: Int, authority: String) throws {
        let endpoint = try Endpoint(url: url)
        #expect(endpoint.host == host)
        #expect(endpoint.port == port)
        #expect(endpoint.authority == authority)
        #expect(try Endpoint(url: endpoint.description) == endpoint)
    }

    @Test(arguments: [
        "", "http://controller:8443", "controller:8443", "https://", "https://:8443", "https://a:0", "https://a:65536", "https://a:x",
        "https://a:+1", "https://a/b", "https://a?b", "https://a#b", "https://user:secret@a", "https://::1", "https://[::1", "https://[a]",
        "https://[::1]x", "https://a b", "https://a\r\nX: y", "https://ä", "https://a:1:2",
    ])
    func refuses(url: String) {
        #expect(throws: ClientError.self) { try Endpoint(url: url) }
    }
}
