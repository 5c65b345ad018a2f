import COpenSSL

/// A P-256 public key as a SubjectPublicKeyInfo (RFC 5480): the identity of a node.
///
/// Only the usual encoding is taken (named curve, uncompressed point). Otherwise one key would have several encodings and
/// so several fingerprints, and a stranger could choose how long its verification takes.
package final class PublicKey: Sendable, Equatable, CustomStringConvertible {
    private static let prefix: [UInt8] = [
        0x30, 0x59, 0x30, 0x13,
        0x06, 0x07, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x02, 0x01,  // id-ecPublicKey
        0x06, 0x08, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x03, 0x01, 0x07,  // secp256r1
        0x03, 0x42, 0x00, 0x04,  // 65 bytes: an uncompressed point
    ]
    private static let length = prefix.count + 64

    package let der: [UInt8]
    /// Owned; complete before anybody else sees it, and OpenSSL only reads it then.
    private nonisolated(unsafe) let key: OpaquePointer

    package init(der: [UInt8]) throws(CryptoError) {
        guard der.count == Self.length, der.starts(with: Self.prefix) else {
            throw CryptoError("read a public key of \(der.count) bytes", reasons: ["it is not a P-256 key with an uncompressed point"])
        }
        OpenSSLErrors.clear()
        // A point that is not on the curve is refused here.
        guard let key = derDecoding(der, by: { d2i_PUBKEY(nil, $0, $1) }, free: EVP_PKEY_free) else {
            throw .drained("read a public key")
        }
        self.der = der
        self.key = key
    }

    /// The public half of an EVP_PKEY that stays its owner's.
    convenience init(copying key: OpaquePointer) throws(CryptoError) {
        OpenSSLErrors.clear()
        guard let der = derEncoding(by: { i2d_PUBKEY(key, $0) }) else { throw .drained("write a public key") }
        try self.init(der: der)
    }

    deinit {
        EVP_PKEY_free(key)
    }

    /// SHA-256 of the DER.
    package var fingerprint: [UInt8] { SHA256.hash(der) }

    /// Whether this is the key's ECDSA signature (SHA-256, DER) of the message. A malformed one is simply not valid.
    package func isValid(signature: [UInt8], for message: [UInt8]) -> Bool {
        guard let context = EVP_MD_CTX_new() else { return false }
        defer {
            EVP_MD_CTX_free(context)
            OpenSSLErrors.clear()
        }
        return EVP_DigestVerifyInit(context, nil, Digests.sha256, nil, key) == 1
            && EVP_DigestVerify(context, signature, signature.count, message, message.count) == 1
    }

    /// The EVP_PKEY, valid inside the closure.
    func withHandle<Result>(_ body: (OpaquePointer) -> Result) -> Result {
        body(key)
    }

    package static func == (a: PublicKey, b: PublicKey) -> Bool { a.der == b.der }

    package var description: String { "PublicKey(sha256:\(Hex.encode(fingerprint)))" }
}
