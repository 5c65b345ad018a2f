import MusterCrypto
import Testing

@Suite("SHA-256 and HMAC: known answers")
struct DigestTests {
    @Test(
        "the vectors of FIPS 180-4",
        arguments: [
            ("", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
            ("abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
            (
                "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
                "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"
            ),
        ])
    func sha256(_ message: String, _ digest: String) {
        #expect(Hex.encode(SHA256.hash(message)) == digest)
        #expect(Hex.encode(SHA256.hash(Array(message.utf8))) == digest)
    }

    @Test(
        "SHA-1: the vectors of FIPS 180-4",
        arguments: [
            ("", "da39a3ee5e6b4b0d3255bfef95601890afd80709"), ("abc", "a9993e364706816aba3e25717850c26c9cd0d89d"),
            ("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", "84983e441c3bd26ebaae4aa1f95129e5e54670f1"),
        ])
    func sha1(_ message: String, _ digest: String) throws {
        #expect(Hex.encode(try #require(SHA1.hash(Array(message.utf8)))) == digest)
    }

    @Test("a million a's in uneven pieces")
    func sha256InPieces() {
        var hash = SHA256()
        var left = 1_000_000, piece = 1
        while left > 0 {
            hash.update([UInt8](repeating: UInt8(ascii: "a"), count: min(piece, left)))
            left -= min(piece, left)
            piece = piece * 3 % 8191 + 1
        }
        #expect(Hex.encode(hash.finalize()) == "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0")
    }

    @Test("a copy continues on its own, and finalize changes nothing")
    func copies() {
        var one = SHA256()
        one.update(Array("ab".utf8))
        var other = one
        one.update(Array("c".utf8))
        other.update(Array("x".utf8))
        #expect(one.finalize() == SHA256.hash("abc"))
        #expect(one.finalize() == SHA256.hash("abc"))
        #expect(other.finalize() == SHA256.hash("abx"))
    }

    @Test(
        "the vectors of RFC 4231",
        arguments: [
            (
                [UInt8](repeating: 0x0B, count: 20), "Hi There",
                "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"
            ),
            (
                Array("Jefe".utf8), "what do ya want for nothing?",
                "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
            ),
            (
                [UInt8](repeating: 0xAA, count: 131), "Test Using Larger Than Block-Size Key - Hash Key First",
                "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"
            ),
            ([], "", "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad"),
        ])
    func hmac(_ key: [UInt8], _ message: String, _ code: String) {
        #expect(Hex.encode(HMACSHA256.code(key: key, message: Array(message.utf8))) == code)
    }
}

@Suite("Texts of bytes")
struct EncodingTests {
    @Test("hexadecimal, both cases, whole bytes only")
    func hex() {
        #expect(Hex.encode([0x00, 0x9F, 0xFF]) == "009fff")
        #expect(Hex.decode("009fFF") == [0x00, 0x9F, 0xFF])
        #expect(Hex.decode("") == [])
        for wrong in ["0", "0g", "0x00", " 00", "é0"] { #expect(Hex.decode(wrong) == nil) }
    }

    @Test(
        "the vectors of RFC 4648",
        arguments: [
            ("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("fooba", "Zm9vYmE="), ("foobar", "Zm9vYmFy"),
        ])
    func base64(_ bytes: String, _ text: String) {
        #expect(Base64.encode(Array(bytes.utf8)) == text)
        #expect(Base64.decode(text) == Array(bytes.utf8))
    }

    @Test(
        "base 64 has one text for each byte string",
        arguments: [
            "Zg", "Zg=", "Zh==", "Zm9=", "Zg==\n", "Z===", "====", "Zm-v", "=Zm9", "Zg==Zg==",
        ])
    func strictBase64(_ text: String) {
        #expect(Base64.decode(text) == nil)
    }

    @Test("every byte and length survives")
    func roundTrips() {
        for length in 0..<70 {
            let bytes = RandomBytes.make(length)
            #expect(bytes.count == length)
            #expect(Base64.decode(Base64.encode(bytes)) == bytes)
            #expect(Hex.decode(Hex.encode(bytes)) == bytes)
            #expect(equalInConstantTime(bytes, bytes))
            if length > 0 {
                #expect(!equalInConstantTime(bytes, bytes.dropLast() + [bytes[length - 1] ^ 1]))
                #expect(!equalInConstantTime(bytes, Array(bytes.dropLast())))
            }
        }
        #expect(RandomBytes.make(32) != RandomBytes.make(32))
    }
}
