import COpenSSL

/// AES-256 in Galois/Counter Mode (NIST SP 800-38D): what is sealed can be neither read nor changed without the key.
///
///     nonce (12 bytes) | ciphertext (as long as the plaintext) | tag (16 bytes)
///
/// The nonce is random, so one key should seal fewer than 2³² messages.
package struct AuthenticatedCipher: Sendable, CustomStringConvertible, CustomReflectable {
    private static let keyLength = 32, nonceLength = 12, tagLength = 16

    private let key: [UInt8]

    package init(key: [UInt8]) throws(CryptoError) {
        guard key.count == Self.keyLength else {
            throw CryptoError("use a key of \(key.count) bytes for AES-256", reasons: ["it must have \(Self.keyLength)"])
        }
        OpenSSLLibrary.prepare()
        self.key = key
    }

    package func seal(_ plaintext: [UInt8], authenticating data: [UInt8]) throws(CryptoError) -> [UInt8] {
        try seal(plaintext, authenticating: data, nonce: RandomBytes.make(Self.nonceLength))
    }

    /// With a given nonce, for known-answer tests: two messages under one nonce would give both away.
    func seal(_ plaintext: [UInt8], authenticating data: [UInt8], nonce: [UInt8]) throws(CryptoError) -> [UInt8] {
        let attempt = "seal \(plaintext.count) bytes"
        guard nonce.count == Self.nonceLength, let length = Int32(exactly: plaintext.count), let dataLength = Int32(exactly: data.count),
            let context = EVP_CIPHER_CTX_new()
        else { throw .drained(attempt) }
        defer { EVP_CIPHER_CTX_free(context) }
        var ciphertext = [UInt8](repeating: 0, count: plaintext.count), tag = [UInt8](repeating: 0, count: Self.tagLength)
        var written: Int32 = 0
        guard EVP_EncryptInit_ex(context, EVP_aes_256_gcm(), nil, key, nonce) == 1,
            dataLength == 0 || EVP_EncryptUpdate(context, nil, &written, data, dataLength) == 1,
            length == 0 || EVP_EncryptUpdate(context, &ciphertext, &written, plaintext, length) == 1,
            EVP_EncryptFinal_ex(context, &tag, &written) == 1,  // writes nothing in this mode
            EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, Int32(Self.tagLength), &tag) == 1
        else { throw .drained(attempt) }
        return nonce + ciphertext + tag
    }

    package func open(_ sealed: [UInt8], authenticating data: [UInt8]) throws(CryptoError) -> [UInt8] {
        let attempt = "open \(sealed.count) sealed bytes"
        guard sealed.count >= Self.nonceLength + Self.tagLength else { throw CryptoError(attempt, reasons: ["they are too few"]) }
        guard let dataLength = Int32(exactly: data.count), let context = EVP_CIPHER_CTX_new() else { throw .drained(attempt) }
        defer { EVP_CIPHER_CTX_free(context) }
        let nonce = Array(sealed.prefix(Self.nonceLength))
        let ciphertext = Array(sealed.dropFirst(Self.nonceLength).dropLast(Self.tagLength))
        var tag = Array(sealed.suffix(Self.tagLength)), end = [UInt8](repeating: 0, count: Self.tagLength)
        guard let length = Int32(exactly: ciphertext.count) else { throw CryptoError(attempt, reasons: ["they are too many"]) }
        var plaintext = [UInt8](repeating: 0, count: ciphertext.count)
        var written: Int32 = 0
        guard EVP_DecryptInit_ex(context, EVP_aes_256_gcm(), nil, key, nonce) == 1,
            dataLength == 0 || EVP_DecryptUpdate(context, nil, &written, data, dataLength) == 1,
            length == 0 || EVP_DecryptUpdate(context, &plaintext, &written, ciphertext, length) == 1,
            EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_TAG, Int32(Self.tagLength), &tag) == 1
        else { throw .drained(attempt) }
        guard EVP_DecryptFinal_ex(context, &end, &written) == 1 else {
            OpenSSLErrors.clear()
            throw CryptoError(attempt, reasons: ["they were sealed with another key or for another purpose, or were changed"])
        }
        return plaintext
    }

    package var description: String { "AuthenticatedCipher(key redacted)" }
    package var customMirror: Mirror { Mirror(self, children: []) }
}
