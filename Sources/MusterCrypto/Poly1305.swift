import COpenSSL

/// Poly1305 (RFC 8439 §2.5) with one random key for many messages. That is sound only for codes that nobody else ever sees: from two of
/// them the key could be computed. For everything else there is HMAC.
package struct Poly1305: Sendable {
    private static let keyLength = 32, codeLength = 16

    /// Fetched once, as the digests are: nothing changes it then, and OpenSSL counts references to it atomically.
    private nonisolated(unsafe) static let algorithm: OpaquePointer = {
        OpenSSLLibrary.prepare()
        guard let algorithm = EVP_MAC_fetch(nil, "POLY1305", nil) else {
            preconditionFailure("OpenSSL on this host offers no Poly1305: \(OpenSSLErrors.drain())")
        }
        return algorithm
    }()

    private let key: [UInt8]

    package init() {
        self.init(key: RandomBytes.make(Self.keyLength))
    }

    /// With a given key, for known-answer tests.
    init(key: [UInt8]) {
        precondition(key.count == Self.keyLength, "a key of \(key.count) bytes for Poly1305")
        self.key = key
    }

    /// The 16 bytes of the code, as two big-endian words.
    package func code(of message: UnsafeRawBufferPointer) -> (UInt64, UInt64) {
        guard let context = EVP_MAC_CTX_new(Self.algorithm) else { preconditionFailure("out of memory for a Poly1305") }
        defer { EVP_MAC_CTX_free(context) }
        var words: (UInt64, UInt64) = (0, 0)
        var written = 0
        let isDone = withUnsafeMutableBytes(of: &words) { code in
            EVP_MAC_init(context, key, key.count, nil) == 1
                && EVP_MAC_update(context, message.baseAddress?.assumingMemoryBound(to: UInt8.self), message.count) == 1
                && EVP_MAC_final(context, code.baseAddress?.assumingMemoryBound(to: UInt8.self), &written, code.count) == 1
        }
        precondition(isDone && written == Self.codeLength, "OpenSSL cannot compute Poly1305")
        return (UInt64(bigEndian: words.0), UInt64(bigEndian: words.1))
    }
}
