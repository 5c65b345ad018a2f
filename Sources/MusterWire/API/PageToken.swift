import MusterCrypto

/// Where the next page begins, bound to one operation and one set of filters by HMAC-SHA256, so that a token from elsewhere is refused.
/// The position is readable to who holds the token; it can only not be made up. The key outlives the controller process.
package enum PageToken {
    /// What a caller may send: longer tokens were never ours.
    private static let maximumLength = 4096

    /// - Parameter filters: a digest of everything that selects and orders the list.
    package static func seal(_ position: String, operation: String, filters: [UInt8], key: [UInt8]) -> String {
        let position = Array(position.utf8)
        return encode(self.code(position, operation, filters, key) + position)
    }

    package static func open(_ token: String, operation: String, filters: [UInt8], key: [UInt8]) -> String? {
        guard token.utf8.count <= self.maximumLength, let bytes = self.decode(token), bytes.count >= 32 else { return nil }
        let position = Array(bytes.dropFirst(32))
        guard equalInConstantTime(Array(bytes.prefix(32)), self.code(position, operation, filters, key)) else { return nil }
        return String(decoding: position, as: UTF8.self)
    }

    private static func code(_ position: [UInt8], _ operation: String, _ filters: [UInt8], _ key: [UInt8]) -> [UInt8] {
        // Each part after its length: no two triples give the same message.
        var message = Array("muster-page-1".utf8)
        for part in [Array(operation.utf8), filters, position] {
            withUnsafeBytes(of: UInt64(part.count).bigEndian) { message.append(contentsOf: $0) }
            message.append(contentsOf: part)
        }
        return HMACSHA256.code(key: key, message: message)
    }

    /// The URL-safe alphabet without padding (RFC 4648 §5): tokens go through shells and URLs.
    private static func encode(_ bytes: [UInt8]) -> String {
        String(Base64.encode(bytes).compactMap { $0 == "+" ? "-" : $0 == "/" ? "_" : $0 == "=" ? nil : $0 })
    }

    private static func decode(_ token: String) -> [UInt8]? {
        guard token.utf8.allSatisfy({ $0.isWord || $0 == UInt8(ascii: "-") }) else { return nil }
        let standard = String(token.map { $0 == "-" ? "+" : $0 == "_" ? "/" : $0 })
        return Base64.decode(standard + String(repeating: "=", count: (4 - standard.utf8.count % 4) % 4))
    }
}
