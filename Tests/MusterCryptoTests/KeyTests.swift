import MusterCrypto
import Testing

@Suite("Keys and signatures")
struct KeyTests {
    @Test("a key survives PEM, and signs what its public half accepts")
    func roundTrip() throws {
        let key = try PrivateKey.generate(), pem = try key.pem()
        #expect(pem.hasPrefix("-----BEGIN PRIVATE KEY-----\n"))
        let read = try PrivateKey(pem: pem)
        #expect(try read.publicKey == key.publicKey)
        #expect(try read.publicKey != PrivateKey.generate().publicKey)
        let message = Array("muster".utf8), publicKey = try PublicKey(der: key.publicKey.der)
        var signature = try read.sign(message)
        #expect(publicKey.isValid(signature: signature, for: message))
        #expect(!publicKey.isValid(signature: signature, for: message + [0]))
        #expect(try !PrivateKey.generate().publicKey.isValid(signature: signature, for: message))
        #expect(!publicKey.isValid(signature: [], for: message))
        for length in signature.indices { #expect(!publicKey.isValid(signature: Array(signature.prefix(length)), for: message)) }
        signature[signature.count - 1] ^= 1
        #expect(!publicKey.isValid(signature: signature, for: message))
        #expect(publicKey.isValid(signature: try key.sign([]), for: []))
    }

    @Test("openssl verifies our signature and agrees on the fingerprint")
    func againstOpenSSL() throws {
        let key = try PrivateKey.generate(), message = Array("muster".utf8)
        let files = try [
            "key.pem": Array(key.pem().utf8), "public.der": key.publicKey.der, "signature": key.sign(message), "message": message,
        ]
        let verified = try OpenSSLCommand.run(
            ["dgst", "-sha256", "-keyform", "DER", "-verify", "public.der", "-signature", "signature", "message"], files: files)
        #expect(verified.output.contains("Verified OK"), "\(verified.output)")
        let derived = try OpenSSLCommand.run(["pkey", "-in", "key.pem", "-pubout", "-outform", "DER", "-out", "/dev/stdout"], files: files)
        #expect(derived.status == 0)
        let digest = try OpenSSLCommand.run(["dgst", "-sha256", "public.der"], files: files)
        #expect(digest.output.contains(Hex.encode(try key.publicKey.fingerprint)))
    }

    @Test("an encrypted key is an error, not a question on the terminal")
    func encryptedKey() throws {
        let made = try OpenSSLCommand.run([
            "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-aes256", "-pass", "pass:secret",
        ])
        #expect(made.output.contains("ENCRYPTED"), "\(made.output)")
        #expect(throws: CryptoError.self) { try PrivateKey(pem: made.output) }
    }

    @Test(
        "other curves and kinds of public key are refused",
        arguments: [
            ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"], ["-algorithm", "ED25519"], ["-algorithm", "RSA"],
        ])
    func otherKeys(_ arguments: [String]) throws {
        let made = try OpenSSLCommand.run(["genpkey"] + arguments)
        // Progress dots may stand before the key; PEM readers skip them.
        let key = try PrivateKey(pem: made.output)
        #expect(throws: CryptoError.self) { try key.publicKey }
    }

    @Test("garbage is an error")
    func garbage() throws {
        let pem = try PrivateKey.generate().pem(), der = try PrivateKey.generate().publicKey.der
        for length in stride(from: 0, to: pem.count - 30, by: 7) {
            #expect(throws: CryptoError.self) { try PrivateKey(pem: String(pem.prefix(length))) }
        }
        for length in der.indices { #expect(throws: CryptoError.self) { try PublicKey(der: Array(der.prefix(length))) } }
        #expect(throws: CryptoError.self) { try PublicKey(der: der + [0]) }
        for index in der.indices {
            var changed = der
            changed[index] ^= 0x01
            // A changed coordinate is a point off the curve.
            #expect(throws: CryptoError.self, "byte \(index)") { try PublicKey(der: changed) }
        }
    }

    @Test("a private key does not print itself")
    func redaction() throws {
        let key = try PrivateKey.generate()
        var dumped = ""
        dump(key, to: &dumped)
        #expect("\(key)" == "PrivateKey(redacted)")
        #expect(!dumped.contains("0x"))
    }

    @Test("an error says what was tried and why it failed")
    func errorText() {
        let error = #expect(throws: CryptoError.self) { try Certificate(der: [1, 2, 3]) }
        #expect(error?.description.hasPrefix("Cannot read a certificate of 3 bytes: ") == true)
        #expect(error?.reasons.isEmpty == false)
    }
}
