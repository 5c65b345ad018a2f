import Testing

@testable import MusterCrypto

@Suite("AES-256-GCM")
struct AuthenticatedCipherTests {
    @Test("test cases 13, 14 and 16 of McGrew and Viega's GCM specification")
    func knownAnswers() throws {
        let zeroKey = try AuthenticatedCipher(key: [UInt8](repeating: 0, count: 32))
        let zeroNonce = [UInt8](repeating: 0, count: 12)
        #expect(Hex.encode(try zeroKey.seal([], authenticating: [], nonce: zeroNonce).dropFirst(12)) == "530f8afbc74536b9a963b4f1c4cb738b")
        #expect(
            Hex.encode(try zeroKey.seal([UInt8](repeating: 0, count: 16), authenticating: [], nonce: zeroNonce).dropFirst(12))
                == "cea7403d4d606b6e074ec5d3baf39d18" + "d0d1c8a799996bf0265b98b5d48ab919")

        func bytes(_ text: String) throws -> [UInt8] { try #require(Hex.decode(text)) }
        let cipher = try AuthenticatedCipher(key: bytes("feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308"))
        let plaintext = try bytes(
            "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39")
        let data = try bytes("feedfacedeadbeeffeedfacedeadbeefabaddad2")
        let sealed = try cipher.seal(plaintext, authenticating: data, nonce: bytes("cafebabefacedbaddecaf888"))
        #expect(
            Hex.encode(sealed) == "cafebabefacedbaddecaf888"
                + "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662"
                + "76fc6ece0f4e1768cddf8853bb2d551b")
        #expect(try cipher.open(sealed, authenticating: data) == plaintext)
    }

    @Test("a changed byte anywhere, other data, another key or a cut is refused")
    func refusals() throws {
        let cipher = try AuthenticatedCipher(key: RandomBytes.make(32)), data = Array("row 7".utf8)
        let sealed = try cipher.seal(Array("a secret".utf8), authenticating: data)
        #expect(try cipher.open(sealed, authenticating: data) == Array("a secret".utf8))
        for index in sealed.indices {
            var changed = sealed
            changed[index] ^= 0x10
            #expect(throws: CryptoError.self) { try cipher.open(changed, authenticating: data) }
            #expect(throws: CryptoError.self) { try cipher.open(Array(sealed.prefix(index)), authenticating: data) }
        }
        #expect(throws: CryptoError.self) { try cipher.open(sealed, authenticating: Array("row 8".utf8)) }
        let other = try AuthenticatedCipher(key: RandomBytes.make(32))
        #expect(throws: CryptoError.self) { try other.open(sealed, authenticating: data) }
        #expect(throws: CryptoError.self) { try AuthenticatedCipher(key: RandomBytes.make(16)) }
        #expect(try cipher.seal([1], authenticating: []) != cipher.seal([1], authenticating: []))
    }

    @Test("it does not print its key")
    func redaction() throws {
        let cipher = try AuthenticatedCipher(key: [UInt8](repeating: 0x41, count: 32))
        var dumped = ""
        dump(cipher, to: &dumped)
        #expect(!dumped.contains("65") && !"\(cipher)".contains("65") && !String(reflecting: cipher).contains("65"))
    }
}
