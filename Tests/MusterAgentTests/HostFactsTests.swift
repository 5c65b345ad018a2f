import Testing

@testable import MusterAgent

@Suite struct HostAddressTests {
    private let all: [HostFacts.InterfaceAddress] = [
        .init(interface: "lo", address: "127.0.0.1"), .init(interface: "docker0", address: "172.17.0.1"),
        .init(interface: "eth0", address: "10.0.0.7"), .init(interface: "eth0", address: "2001:db8::7"),
        .init(interface: "eth0", address: "fe80::1%eth0"),
    ]

    @Test func theConnectionsOwnAddressCounts() {
        #expect(HostFacts.address(connectedFrom: "192.0.2.9", of: all, defaultInterface: "eth0") == "192.0.2.9")
        #expect(HostFacts.address(connectedFrom: "2001:db8::9", of: all, defaultInterface: "eth0") == "2001:db8::9")
    }

    /// Docker's bridge comes first in the list of many hosts.
    @Test(arguments: [nil, "127.0.0.1", "::1", "169.254.1.1", "fe80::2%eth0"])
    func whereThatSaysNothingTheWayOutCounts(_ connectedFrom: String?) {
        #expect(HostFacts.address(connectedFrom: connectedFrom, of: all, defaultInterface: "eth0") == "10.0.0.7")
        #expect(HostFacts.address(connectedFrom: connectedFrom, of: Array(all[1...1]), defaultInterface: "eth0") == "172.17.0.1")
        #expect(HostFacts.address(connectedFrom: connectedFrom, of: [all[0], all[4]], defaultInterface: nil) == "")
    }

    @Test func theDefaultRouteWithTheLeastMetric() {
        let header = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n"
        let routes = """
            docker0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0
            wlan0\t00000000\t0100A8C0\t0003\t0\t0\t600\t00000000\t0\t0\t0
            eth0\t00000000\t0100000A\t0003\t0\t0\t100\t00000000\t0\t0\t0
            """
        #expect(HostFacts.defaultInterface(ofRoutes: header + routes) == "eth0")
        #expect(HostFacts.defaultInterface(ofRoutes: header) == nil)
        #expect(HostFacts.defaultInterface(ofRoutes: "") == nil)
    }
}
