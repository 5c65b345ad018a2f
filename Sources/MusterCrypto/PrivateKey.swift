import COpenSSL

/// A private key. Muster makes P-256 keys; a key from elsewhere (an operator's own server certificate) may be of any kind
/// that OpenSSL reads from PEM without a pass phrase.
///
/// It never prints itself.
package final class PrivateKey: Sendable, CustomStringConvertible, CustomReflectable {
    /// Owned; OpenSSL only reads a key once it is complete, and counts references atomically.
    private nonisolated(unsafe) let key: OpaquePointer

    private init(owning key: OpaquePointer) {
        self.key = key
    }

    deinit {
        EVP_PKEY_free(key)
    }

    package static func generate() throws(CryptoError) -> PrivateKey {
        OpenSSLErrors.clear()
        guard let key = shim_EVP_EC_gen("P-256") else { throw .drained("make a P-256 key") }
        return PrivateKey(owning: key)
    }

    package init(pem: String) throws(CryptoError) {
        OpenSSLErrors.clear()
        let key = withReadingBIO(Array(pem.utf8)) { bio in
            // Without this callback OpenSSL asks the terminal for the pass phrase of an encrypted key, and waits.
            PEM_read_bio_PrivateKey(bio, nil, { _, _, _, _ in -1 }, nil)
        }
        guard let key else { throw .drained("read a private key from PEM (is it whole, and without a pass phrase?)") }
        OpenSSLErrors.clear()
        self.key = key
    }

    /// Unencrypted PKCS#8. Write it only where its owner alone can read.
    package func pem() throws(CryptoError) -> String {
        OpenSSLErrors.clear()
        guard let text = textWritten(by: { PEM_write_bio_PKCS8PrivateKey($0, key, nil, nil, 0, nil, nil) }) else {
            throw .drained("write a private key as PEM")
        }
        return text
    }

    package var publicKey: PublicKey {
        get throws(CryptoError) { try PublicKey(copying: key) }
    }

    /// ECDSA with SHA-256, the signature in DER.
    package func sign(_ message: [UInt8]) throws(CryptoError) -> [UInt8] {
        OpenSSLErrors.clear()
        guard let context = EVP_MD_CTX_new() else { throw .drained("sign") }
        defer { EVP_MD_CTX_free(context) }
        var length = 0
        guard EVP_DigestSignInit(context, nil, Digests.sha256, nil, key) == 1,
            EVP_DigestSign(context, nil, &length, message, message.count) == 1
        else { throw .drained("sign") }
        var signature = [UInt8](repeating: 0, count: length)
        guard EVP_DigestSign(context, &signature, &length, message, message.count) == 1 else { throw .drained("sign") }
        return Array(signature.prefix(length))
    }

    /// The EVP_PKEY, valid inside the closure.
    package func withHandle<Result, Failure: Error>(_ body: (OpaquePointer) throws(Failure) -> Result) throws(Failure) -> Result {
        try body(key)
    }

    package var description: String { "PrivateKey(redacted)" }
    package var customMirror: Mirror { Mirror(self, children: []) }
}
