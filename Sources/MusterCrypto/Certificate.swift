import COpenSSL

/// An X.509 certificate (RFC 5280). Having one says nothing about whether to believe it: TLS verification does that.
package final class Certificate: Sendable, Equatable, CustomStringConvertible {
    package let der: [UInt8]
    package let commonName: String?
    /// Subject alternative names. Names that are not plain ASCII or contain a NUL are left out: no host or node has such a name,
    /// and a reader that stops at the NUL would see another one.
    package let uris: [String]
    package let dnsNames: [String]
    /// Seconds since 1970, both inclusive.
    package let notBefore: Int64
    package let notAfter: Int64
    /// Lower-case hexadecimal.
    package let serialNumber: String
    package let isCertificateAuthority: Bool

    /// Owned; OpenSSL fills its cache of extensions under a lock of its own.
    private nonisolated(unsafe) let certificate: OpaquePointer

    package convenience init(der: [UInt8]) throws(CryptoError) {
        OpenSSLErrors.clear()
        guard let certificate = derDecoding(der, by: { d2i_X509(nil, $0, $1) }, free: X509_free) else {
            throw .drained("read a certificate of \(der.count) bytes")
        }
        try self.init(owning: certificate)
        // OpenSSL forgives some encodings that are not the distinguished one; a certificate has one fingerprint here.
        guard self.der == der else {
            throw CryptoError("read a certificate of \(der.count) bytes", reasons: ["it is not encoded in DER"])
        }
    }

    /// The first certificate in the text.
    package convenience init(pem: String) throws(CryptoError) {
        OpenSSLErrors.clear()
        guard let certificate = withReadingBIO(Array(pem.utf8), { PEM_read_bio_X509($0, nil, { _, _, _, _ in -1 }, nil) }) else {
            throw .drained("read a certificate from PEM")
        }
        OpenSSLErrors.clear()
        try self.init(owning: certificate)
    }

    /// Another reference to an X509 that stays its owner's.
    package convenience init(referencing certificate: OpaquePointer) throws(CryptoError) {
        X509_up_ref(certificate)
        try self.init(owning: certificate)
    }

    init(owning certificate: OpaquePointer) throws(CryptoError) {
        OpenSSLErrors.clear()
        defer { OpenSSLErrors.clear() }
        let der = derEncoding(by: { i2d_X509(certificate, $0) })
        let serialNumber = X509Fields.serialNumber(of: certificate)
        guard let der, let serialNumber,
            let notBefore = X509Fields.seconds(X509_get0_notBefore(certificate)),
            let notAfter = X509Fields.seconds(X509_get0_notAfter(certificate))
        else {
            let error = CryptoError.drained("read a certificate's serial number and validity")
            X509_free(certificate)
            throw error
        }
        self.der = der
        self.serialNumber = serialNumber
        self.notBefore = notBefore
        self.notAfter = notAfter
        commonName = X509Fields.commonName(of: certificate)
        (uris, dnsNames) = X509Fields.alternativeNames(of: certificate)
        isCertificateAuthority = X509_check_ca(certificate) == 1
        self.certificate = certificate
    }

    deinit {
        X509_free(certificate)
    }

    /// Every certificate in the text, in its order; at least one. Text between them is skipped, a damaged one is an error.
    package static func chain(pem: String) throws(CryptoError) -> [Certificate] {
        OpenSSLErrors.clear()
        return try withReadingBIO(Array(pem.utf8)) { bio throws(CryptoError) in
            var chain: [Certificate] = []
            while let certificate = PEM_read_bio_X509(bio, nil, { _, _, _, _ in -1 }, nil) {
                chain.append(try Certificate(owning: certificate))
            }
            let isAtEnd = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE
            let error = CryptoError.drained("read certificate \(chain.count + 1) from PEM")
            guard isAtEnd, !chain.isEmpty else { throw error }
            return chain
        }
    }

    package func pem() -> String {
        var text = "-----BEGIN CERTIFICATE-----\n"
        var line = 0
        for character in Base64.encode(der) {
            text.append(character)
            line += 1
            if line == 64 {
                text.append("\n")
                line = 0
            }
        }
        return text + (line == 0 ? "" : "\n") + "-----END CERTIFICATE-----\n"
    }

    /// SHA-256 of the DER.
    package var fingerprint: [UInt8] { SHA256.hash(der) }

    package var publicKey: PublicKey {
        get throws(CryptoError) {
            guard let key = X509_get0_pubkey(certificate) else { throw .drained("read the public key of a certificate") }
            return try PublicKey(copying: key)
        }
    }

    /// The fingerprint of `publicKey`, without making a key of the bytes: with OpenSSL 3 that costs more than all the rest of
    /// looking at a certificate. Bytes that are no key have the fingerprint of none.
    package var publicKeyFingerprint: [UInt8]? {
        guard let der = derEncoding(by: { i2d_X509_PUBKEY(X509_get_X509_PUBKEY(certificate), $0) }) else {
            OpenSSLErrors.clear()
            return nil
        }
        return SHA256.hash(der)
    }

    /// The extension's bytes, lower-case hexadecimal (RFC 5280 §4.2.1.2).
    package var subjectKeyIdentifier: String? { X509Fields.hexadecimal(X509_get0_subject_key_id(certificate)) }

    /// The `subjectKeyIdentifier` of the authority that signed it, as it says itself: to be believed after a verification.
    package var authorityKeyIdentifier: String? { X509Fields.hexadecimal(X509_get0_authority_key_id(certificate)) }

    /// The X509, valid inside the closure.
    package func withHandle<Result, Failure: Error>(_ body: (OpaquePointer) throws(Failure) -> Result) throws(Failure) -> Result {
        try body(certificate)
    }

    package static func == (a: Certificate, b: Certificate) -> Bool { a.der == b.der }

    package var description: String { "Certificate(\(commonName ?? "no common name"), serial \(serialNumber))" }
}

/// Fields of an X509 as Swift values.
private enum X509Fields {
    static func seconds(_ time: UnsafePointer<ASN1_TIME>?) -> Int64? {
        guard let time, let epoch = ASN1_TIME_set(nil, 0) else { return nil }
        defer { ASN1_STRING_free(epoch) }
        var days: Int32 = 0, seconds: Int32 = 0
        guard ASN1_TIME_diff(&days, &seconds, epoch, time) == 1 else { return nil }
        return Int64(days) * 86_400 + Int64(seconds)
    }

    static func hexadecimal(_ text: UnsafePointer<ASN1_OCTET_STRING>?) -> String? {
        guard let text, let start = ASN1_STRING_get0_data(text) else { return nil }
        return Hex.encode(Array(UnsafeBufferPointer(start: start, count: Int(ASN1_STRING_length(text)))))
    }

    static func serialNumber(of certificate: OpaquePointer) -> String? {
        guard let number = ASN1_INTEGER_to_BN(X509_get0_serialNumber(certificate), nil) else { return nil }
        defer { BN_free(number) }
        guard let text = BN_bn2hex(number) else { return nil }
        defer { CRYPTO_free(text, nil, 0) }
        return String(cString: text).lowercased()
    }

    static func commonName(of certificate: OpaquePointer) -> String? {
        guard let name = X509_get_subject_name(certificate) else { return nil }
        let index = X509_NAME_get_index_by_NID(name, NID_commonName, -1)
        guard index >= 0, let entry = X509_NAME_get_entry(name, index), let value = X509_NAME_ENTRY_get_data(entry) else { return nil }
        var text: UnsafeMutablePointer<UInt8>?
        let count = ASN1_STRING_to_UTF8(&text, value)
        guard let text, count >= 0 else { return nil }
        defer { CRYPTO_free(text, nil, 0) }
        return String(validating: UnsafeBufferPointer(start: text, count: Int(count)), as: UTF8.self)
    }

    static func alternativeNames(of certificate: OpaquePointer) -> (uris: [String], dnsNames: [String]) {
        guard let names = X509_get_ext_d2i(certificate, NID_subject_alt_name, nil, nil) else { return ([], []) }
        let stack = OpaquePointer(names)
        defer { GENERAL_NAMES_free(stack) }
        var uris: [String] = [], dnsNames: [String] = []
        for index in 0..<max(0, OPENSSL_sk_num(stack)) {
            guard let name = OPENSSL_sk_value(stack, index)?.assumingMemoryBound(to: GENERAL_NAME.self) else { continue }
            switch name.pointee.type {
            case GEN_URI: ascii(name).map { uris.append($0) }
            case GEN_DNS: ascii(name).map { dnsNames.append($0) }
            default: break
            }
        }
        return (uris, dnsNames)
    }

    private static func ascii(_ name: UnsafeMutablePointer<GENERAL_NAME>) -> String? {
        var type: Int32 = 0
        guard let value = GENERAL_NAME_get0_value(name, &type)?.assumingMemoryBound(to: ASN1_STRING.self),
            let start = ASN1_STRING_get0_data(value)
        else { return nil }
        let characters = UnsafeBufferPointer(start: start, count: Int(ASN1_STRING_length(value)))
        guard characters.allSatisfy({ (0x20...0x7E).contains($0) }) else { return nil }
        return String(decoding: characters, as: UTF8.self)
    }
}
