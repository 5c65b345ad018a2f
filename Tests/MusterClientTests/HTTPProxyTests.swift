import Testing

@testable import MusterClient

@Suite struct HTTPProxyTests {
    @Test func credentialsAreSentAndNeverShown() throws {
        let proxy = try HTTPProxy(url: "http://fleet:p%40ss%3Aword@proxy.example.org:3128/")
        #expect(proxy.host == "proxy.example.org")
        #expect(proxy.port == 3128)
        #expect(proxy.authorization == "Basic ZmxlZXQ6cEBzczp3b3Jk")
        #expect("\(proxy)" == "proxy proxy.example.org:3128")
        #expect(try HTTPProxy(url: "http://fleet@[::1]:8080", password: "other").authorization == "Basic ZmxlZXQ6b3RoZXI=")
        #expect(try HTTPProxy(url: "proxy:8080").authorization == nil)
    }

    @Test(arguments: [
        "", "http://", "http://proxy", "https://proxy:1", "socks5://proxy:1080", "http://proxy:0", "http://proxy:99999", "http://@proxy:1",
        "http://secret:%zz@proxy:1", "http://secret%0d:x@proxy:1", "http://secret word@proxy:1", "http://proxy:1/path", "http://[::1]",
    ])
    func badAddressesAreRefusedWithoutRepeatingThem(_ url: String) {
        #expect { try HTTPProxy(url: url) } throws: { error in
            !"\(error)".contains("secret") && (error as? ClientError)?.kind == .configuration
        }
    }

    @Test func theEnvironmentNamesOneAndItsExceptions() throws {
        let endpoint = try Endpoint(url: "https://controller.example.org:8443")
        func proxy(_ environment: [String: String]) throws -> String? {
            try HTTPProxy.fromEnvironment(environment, for: endpoint).map { "\($0)" }
        }
        #expect(try proxy([:]) == nil)
        #expect(try proxy(["HTTPS_PROXY": ""]) == nil)
        #expect(try proxy(["HTTPS_PROXY": "http://a:1"]) == "proxy a:1")
        #expect(try proxy(["HTTPS_PROXY": "http://a:1", "https_proxy": "http://b:2"]) == "proxy b:2")
        for exception in ["*", "example.org", ".example.org", "x, controller.example.org", "*.example.org", "controller.example.org:8443"] {
            #expect(try proxy(["HTTPS_PROXY": "http://a:1", "NO_PROXY": exception]) == nil, "\(exception)")
        }
        for other in ["ample.org", "controller.example.org:1", "org.example"] {
            #expect(try proxy(["HTTPS_PROXY": "http://a:1", "NO_PROXY": other]) != nil, "\(other)")
        }
    }
}
