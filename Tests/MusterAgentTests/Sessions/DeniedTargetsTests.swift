import Testing

@testable import MusterAgent

@Suite struct DeniedTargetsTests {
    let standard = DeniedTargets(DeniedTargets.standard.compactMap { DeniedTargets.Range($0, parse: NetworkAddress.init) })

    @Test(arguments: [
        "169.254.169.254", "169.254.0.1", "::ffff:169.254.169.254", "::169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::1",
        "fe80::1", "febf::1", "fd00:ec2::254", "fd00:ec2::23", "168.63.129.16", "::ffff:168.63.129.16", "100.100.100.200", "192.0.0.192",
        "64:ff9b::c000:c0", "fd20:ce::254",
    ])
    func denied(_ text: String) throws {
        let address = try #require(NetworkAddress(text))
        #expect(standard.contains(address))
    }

    @Test(arguments: [
        "169.253.255.255", "169.255.0.0", "127.0.0.1", "10.0.0.1", "::1", "::", "2001:db8::1", "fd00:ec3::1", "fec0::1", "64:ff9b::a00:1",
        "2002:a00:1::1", "0.0.0.0",
    ])
    func allowed(_ text: String) throws {
        let address = try #require(NetworkAddress(text))
        #expect(!standard.contains(address))
    }

    /// Linux connects to itself under the addresses of no host.
    @Test(arguments: [
        "127.0.0.1", "127.9.9.9", "::1", "0.0.0.0", "0.1.2.3", "::", "::ffff:0.0.0.0", "::ffff:0.255.0.1", "::ffff:127.0.0.1", "64:ff9b::",
        "64:ff9b::7f00:1", "2002:7f00:1::1", "2002::1",
    ])
    func thisHostUnderEveryAddress(_ text: String) throws {
        let denied = DeniedTargets(["127.0.0.0/8", "::1"].compactMap { DeniedTargets.Range($0, parse: NetworkAddress.init) })
        #expect(denied.contains(try #require(NetworkAddress(text))))
    }

    @Test func rangesAreReadStrictly() {
        for text in ["10.0.0.0/8", "10.1.2.3", "fd00::/8", "::1/128", "0.0.0.0/0"] {
            #expect(DeniedTargets.Range(text, parse: NetworkAddress.init) != nil, "\(text)")
        }
        for text in ["", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/8/8", "host", "::1/129", "10.0.0", "10.0.0.0/"] {
            #expect(DeniedTargets.Range(text, parse: NetworkAddress.init) == nil, "\(text)")
        }
    }

    @Test func aRangeThatEndsWithinAByte() throws {
        let range = try #require(DeniedTargets.Range("10.16.0.0/12", parse: NetworkAddress.init))
        #expect(DeniedTargets([range]).contains(try #require(NetworkAddress("10.31.255.255"))))
        #expect(!DeniedTargets([range]).contains(try #require(NetworkAddress("10.32.0.0"))))
    }
}
