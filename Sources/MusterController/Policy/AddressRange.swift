internal import Glibc
internal import MusterCrypto

/// An IP address, or a network of them in CIDR notation. [value]
///
/// IPv4 addresses that came mapped into IPv6 (`::ffff:10.0.0.1`) are IPv4 addresses.
package struct AddressRange: Sendable, Hashable {
    /// Four bytes or sixteen.
    private let bytes: [UInt8]
    private let prefixBits: Int

    /// As inet_pton(3) reads addresses.
    package init?(_ text: String) {
        let parts = text.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
        guard var bytes = Self.bytes(parts[0]) else { return nil }
        var bits = bytes.count * 8
        if parts.count == 2 {
            guard (1...3).contains(parts[1].utf8.count), parts[1].utf8.allSatisfy({ (0x30...0x39).contains($0) }),
                let given = Int(parts[1]), given <= bits
            else { return nil }
            bits = given
        }
        if bytes.count == 16, bytes.starts(with: Self.mapped), bits >= 96 {
            bytes.removeFirst(Self.mapped.count)
            bits -= 96
        }
        self.bytes = bytes
        prefixBits = bits
    }

    private static let mapped: [UInt8] = Array(repeating: 0, count: 10) + [0xFF, 0xFF]

    private static func bytes(_ text: String) -> [UInt8]? {
        var four = in_addr()
        if inet_pton(AF_INET, text, &four) == 1 { return withUnsafeBytes(of: four) { Array($0) } }
        var six = in6_addr()
        if inet_pton(AF_INET6, text, &six) == 1 { return withUnsafeBytes(of: six) { Array($0) } }
        return nil
    }

    /// Whom one has to take for one stranger: an IPv4 address, or the /64 that a single host has to itself in IPv6 (RFC 6177 gives sites more).
    /// What is no address stands for itself.
    package static func stranger(_ address: String) -> String {
        // A zone is the listener's, not the stranger's.
        guard let range = AddressRange(String(address.prefix { $0 != "%" })), range.bytes.count == 16 else { return address }
        return Hex.encode(range.bytes.prefix(8)) + "::/64"
    }

    package func contains(_ other: AddressRange) -> Bool {
        guard bytes.count == other.bytes.count, prefixBits <= other.prefixBits else { return false }
        let whole = prefixBits / 8
        guard bytes[..<whole].elementsEqual(other.bytes[..<whole]) else { return false }
        let rest = prefixBits % 8
        return rest == 0 || (bytes[whole] ^ other.bytes[whole]) >> (8 - rest) == 0
    }
}
