/// An IP address in one form: sixteen bytes. An IPv4 address is its IPv4-mapped IPv6 address (RFC 4291 §2.5.5.2).
package struct NetworkAddress: Sendable, Hashable {
    package let bytes: [UInt8]

    package init(ipv4: [UInt8]) { bytes = [UInt8](repeating: 0, count: 10) + [0xFF, 0xFF] + ipv4 }

    package init(ipv6: [UInt8]) { bytes = ipv6 }

    package static let loopback = NetworkAddress(ipv4: [127, 0, 0, 1])
    package static let loopback6 = NetworkAddress(ipv6: [UInt8](repeating: 0, count: 15) + [1])

    /// The other addresses that reaching this one may mean: those that translators and tunnels carry in IPv6 (RFC 4291 compatible, RFC 6052
    /// 64:ff9b::/96, RFC 3056 2002::/16), and this host, which Linux connects to under the addresses of no host (0.0.0.0/8, ::).
    var carried: [NetworkAddress] {
        let tail = NetworkAddress(ipv4: Array(bytes[12...]))
        if bytes[..<10].allSatisfy({ $0 == 0 }), bytes[10...12] == [0xFF, 0xFF, 0] { return [.loopback] }
        if bytes.allSatisfy({ $0 == 0 }) { return [.loopback6, .loopback] }
        if bytes[..<12].allSatisfy({ $0 == 0 }), bytes[12...] != [0, 0, 0, 1] { return [tail] + tail.carried }
        if bytes[..<12] == [0, 0x64, 0xFF, 0x9B, 0, 0, 0, 0, 0, 0, 0, 0] { return [tail] + tail.carried }
        if bytes[0] == 0x20, bytes[1] == 0x02 {
            let inner = NetworkAddress(ipv4: Array(bytes[2..<6]))
            return [inner] + inner.carried
        }
        return []
    }
}

/// Where port sessions never lead: the metadata services of clouds and other link-local addresses. It is asked about the address that is
/// connected to, after the name was resolved and also where there was no name: how it was written, and what it resolves to the next time,
/// does not matter. Pure.
package struct DeniedTargets: Sendable, Equatable {
    package struct Range: Sendable, Hashable {
        let base: [UInt8]
        let bits: Int

        /// `169.254.0.0/16`, `fd00:ec2::254`. Nil when it is neither an address nor a range.
        package init?(_ text: String, parse: (String) -> NetworkAddress?) {
            let parts = text.split(separator: "/", omittingEmptySubsequences: false)
            guard parts.count <= 2, let first = parts.first, let address = parse(String(first)) else { return nil }
            let isShort = first.contains(".") && !first.contains(":")
            let longest = isShort ? 32 : 128
            var bits = longest
            if parts.count == 2 {
                guard parts[1].utf8.allSatisfy({ (0x30...0x39).contains($0) }), let number = Int(parts[1]), number <= longest else {
                    return nil
                }
                bits = number
            }
            base = address.bytes
            self.bits = bits + (isShort ? 96 : 0)
        }

        func contains(_ address: NetworkAddress) -> Bool {
            let whole = bits / 8
            guard base[..<whole] == address.bytes[..<whole] else { return false }
            let rest = bits % 8
            return rest == 0 || (base[whole] ^ address.bytes[whole]) >> (8 - rest) == 0
        }
    }

    /// All link-local addresses, which the metadata services of most clouds have, and those of the others: EC2 over IPv6, Azure's wire server,
    /// Alibaba Cloud, Oracle Cloud, Google Cloud over IPv6.
    package static let standard = [
        "169.254.0.0/16", "fe80::/10", "fd00:ec2::/32", "168.63.129.16", "100.100.100.200", "192.0.0.192", "fd20:ce::254",
    ]

    package let ranges: [Range]

    package init(_ ranges: [Range]) { self.ranges = ranges }

    package func contains(_ address: NetworkAddress) -> Bool {
        ([address] + address.carried).contains { candidate in ranges.contains { $0.contains(candidate) } }
    }
}
