import Testing

@testable import MusterCrypto

@Suite struct Poly1305Tests {
    private func words(_ hex: String) -> (UInt64, UInt64)? {
        guard let high = UInt64(hex.prefix(16), radix: 16), let low = UInt64(hex.suffix(16), radix: 16) else { return nil }
        return (high, low)
    }

    /// RFC 8439 §2.5.2.
    @Test func theExampleOfTheRFC() throws {
        let key = try #require(Hex.decode("85d6be7857556d337f4452fe42d506a80103808afb0db2fd4abff6af4149f51b"))
        let message = Array("Cryptographic Forum Research Group".utf8)
        let code = message.withUnsafeBytes { Poly1305(key: key).code(of: $0) }
        #expect(try #require(words("a8061dc1305136c6c22b8baf0c0127a9")) == code)
    }

    @Test func oneKeyServesManyMessagesAndNoOtherIsTheSame() {
        let (code, other) = (Poly1305(), Poly1305())
        for length in [0, 1, 15, 16, 17, 4_096] {
            var message = [UInt8](repeating: 7, count: length)
            let first = message.withUnsafeBytes { code.code(of: $0) }
            #expect(message.withUnsafeBytes { code.code(of: $0) } == first)
            #expect(message.withUnsafeBytes { other.code(of: $0) } != first)
            message.append(0)
            #expect(message.withUnsafeBytes { code.code(of: $0) } != first)
        }
    }
}
