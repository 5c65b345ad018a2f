import COpenSSL

/// A certification request (PKCS#10, RFC 2986). Its signature proves that the sender holds the key; everything else in it
/// is only a wish, and the certificate authority takes none of it.
package struct CertificateRequest: Sendable {
    private static let maximumLength = 16_384

    package let der: [UInt8]
    package let publicKey: PublicKey

    package init(commonName: String, key: PrivateKey) throws(CryptoError) {
        OpenSSLErrors.clear()
        let attempt = "make a certificate request for \(commonName)"
        guard let request = X509_REQ_new() else { throw .drained(attempt) }
        defer { X509_REQ_free(request) }
        let isMade = key.withHandle { key in
            X509_REQ_set_version(request, 0) == 1
                && setCommonName(commonName, of: X509_REQ_get_subject_name(request))
                && X509_REQ_set_pubkey(request, key) == 1
                && X509_REQ_sign(request, key, EVP_sha256()) > 0
        }
        guard isMade, let der = derEncoding(by: { i2d_X509_REQ(request, $0) }) else { throw .drained(attempt) }
        self.der = der
        publicKey = try key.publicKey
    }

    /// Refuses a request that is not signed by the P-256 key in it.
    package init(der: [UInt8]) throws(CryptoError) {
        OpenSSLErrors.clear()
        let attempt = "read a certificate request of \(der.count) bytes"
        guard der.count <= Self.maximumLength else {
            throw CryptoError(attempt, reasons: ["it is longer than \(Self.maximumLength)"])
        }
        guard let request = derDecoding(der, by: { d2i_X509_REQ(nil, $0, $1) }, free: X509_REQ_free) else { throw .drained(attempt) }
        defer { X509_REQ_free(request) }
        guard let key = X509_REQ_get0_pubkey(request) else { throw .drained(attempt) }
        publicKey = try PublicKey(copying: key)
        guard X509_REQ_verify(request, key) == 1 else { throw .drained("verify the signature of a certificate request") }
        self.der = der
    }
}

/// Gives a name of a certificate or a request its one component.
func setCommonName(_ commonName: String, of name: OpaquePointer?) -> Bool {
    let bytes = Array(commonName.utf8)
    guard let name, !bytes.isEmpty, let count = Int32(exactly: bytes.count) else { return false }
    return X509_NAME_add_entry_by_NID(name, NID_commonName, MBSTRING_UTF8, bytes, count, -1, 0) == 1
}
