import COpenSSL

/// Signs the certificates of nodes and of the controller (profile of RFC 5280, ECDSA with SHA-256).
package struct CertificateAuthority: Sendable {
    package let certificate: Certificate
    private let key: PrivateKey

    package init(certificate: Certificate, key: PrivateKey) {
        self.certificate = certificate
        self.key = key
    }

    /// A self-signed authority that may sign leaves only (path length 0).
    package static func create(
        commonName: String, notBefore: Int64, notAfter: Int64, key: PrivateKey
    ) throws(CryptoError) -> CertificateAuthority {
        let attempt = "make the certificate authority \(commonName)"
        let builder = try CertificateBuilder(attempt)
        try builder.setSubject(commonName)
        try builder.setIssuerToSubject()
        try builder.setValidity(from: notBefore, to: notAfter)
        try builder.setKey(try key.publicKey)
        try builder.addBasicConstraints(isAuthority: true)
        try builder.addKeyUsage(bits: [5, 6])  // keyCertSign, cRLSign
        try builder.addKeyIdentifiers(issuer: nil)
        return CertificateAuthority(certificate: try builder.sign(with: key), key: key)
    }

    /// A certificate of ours for the key of another authority with our name: what that one signs is then valid for those who know
    /// only us ("new with old", RFC 4210 §4.4). With the same name it counts as issued by itself, so the path length of 0 that we
    /// and it have is kept (RFC 5280 §4.2.1.9).
    package func bridge(to other: Certificate) throws(CryptoError) -> Certificate {
        guard let name = other.commonName, name == certificate.commonName else {
            throw CryptoError("certify another authority", reasons: ["it has another name"])
        }
        let builder = try CertificateBuilder("certify the authority \(name)")
        try builder.setSubject(name)
        try builder.setIssuer(certificate)
        try builder.setValidity(
            from: max(other.notBefore, certificate.notBefore), to: min(other.notAfter, certificate.notAfter))
        try builder.setKey(try other.publicKey)
        try builder.addBasicConstraints(isAuthority: true)
        try builder.addKeyUsage(bits: [5, 6])  // as in `create`
        try builder.addKeyIdentifiers(issuer: certificate)
        return try builder.sign(with: key)
    }

    /// Whether the key is the certificate's: two files may come from two backups.
    package var holdsItsKey: Bool {
        guard let ours = try? key.publicKey, let certified = try? certificate.publicKey else { return false }
        return ours == certified
    }

    /// A certificate for the key. It never outlives the authority's own: no chain would be valid then anyway.
    package func issue(_ template: CertificateTemplate, for key: PublicKey) throws(CryptoError) -> Certificate {
        let builder = try CertificateBuilder("issue a certificate for \(template.commonName)")
        try builder.setSubject(template.commonName)
        try builder.setIssuer(certificate)
        try builder.setValidity(from: template.notBefore, to: min(template.notAfter, certificate.notAfter))
        try builder.setKey(key)
        try builder.addBasicConstraints(isAuthority: false)
        try builder.addKeyUsage(bits: [0])  // digitalSignature: all that ECDHE with ECDSA needs
        try builder.addExtendedKeyUsage(template.usage)
        try builder.addAlternativeNames(template)
        try builder.addKeyIdentifiers(issuer: certificate)
        return try builder.sign(with: self.key)
    }
}

/// An X509 in the making, with the extensions built as values: OpenSSL's configuration strings would let a name smuggle in
/// further names after a comma.
private final class CertificateBuilder {
    private let attempt: String
    private let certificate: OpaquePointer

    init(_ attempt: String) throws(CryptoError) {
        OpenSSLErrors.clear()
        guard let certificate = X509_new() else { throw .drained(attempt) }
        self.attempt = attempt
        self.certificate = certificate
        try check(X509_set_version(certificate, Int(X509_VERSION_3)) == 1)
        try setSerialNumber()
    }

    deinit {
        X509_free(certificate)
    }

    private func check(_ isDone: Bool, _ reason: String? = nil) throws(CryptoError) {
        guard !isDone else { return }
        var error = CryptoError.drained(attempt)
        if let reason { error = CryptoError(attempt, reasons: [reason] + error.reasons) }
        throw error
    }

    /// 127 random bits: positive, and with more than the 64 bits of entropy that CAs must use.
    private func setSerialNumber() throws(CryptoError) {
        var bytes = RandomBytes.make(16)
        bytes[0] &= 0x7F
        if bytes.allSatisfy({ $0 == 0 }) { bytes[15] = 1 }
        let number = BN_bin2bn(bytes, Int32(bytes.count), nil)
        defer { BN_free(number) }
        try check(number != nil && BN_to_ASN1_INTEGER(number, X509_get_serialNumber(certificate)) != nil)
    }

    func setSubject(_ commonName: String) throws(CryptoError) {
        try check(setCommonName(commonName, of: X509_get_subject_name(certificate)), "a common name has 1 to 64 characters")
    }

    func setIssuerToSubject() throws(CryptoError) {
        try check(X509_set_issuer_name(certificate, X509_get_subject_name(certificate)) == 1)
    }

    func setIssuer(_ issuer: Certificate) throws(CryptoError) {
        let isDone = issuer.withHandle { X509_set_issuer_name(certificate, X509_get_subject_name($0)) }
        try check(isDone == 1)
    }

    func setValidity(from notBefore: Int64, to notAfter: Int64) throws(CryptoError) {
        try check(notBefore <= notAfter, "it would end (\(notAfter)) before it begins (\(notBefore))")
        try check(
            ASN1_TIME_set(X509_getm_notBefore(certificate), Int(notBefore)) != nil
                && ASN1_TIME_set(X509_getm_notAfter(certificate), Int(notAfter)) != nil,
            "a time is out of range")
    }

    func setKey(_ key: PublicKey) throws(CryptoError) {
        try check(key.withHandle { X509_set_pubkey(certificate, $0) } == 1)
    }

    func addBasicConstraints(isAuthority: Bool) throws(CryptoError) {
        let constraints = BASIC_CONSTRAINTS_new()
        defer { BASIC_CONSTRAINTS_free(constraints) }
        try check(constraints != nil)
        if isAuthority, let constraints {
            constraints.pointee.ca = 0xFF  // DER's TRUE
            constraints.pointee.pathlen = ASN1_INTEGER_new()
            try check(ASN1_INTEGER_set(constraints.pointee.pathlen, 0) == 1)
        }
        try add(NID_basic_constraints, constraints, isCritical: true)
    }

    func addKeyUsage(bits: [Int32]) throws(CryptoError) {
        let usage = ASN1_BIT_STRING_new()
        defer { ASN1_BIT_STRING_free(usage) }
        for bit in bits { try check(ASN1_BIT_STRING_set_bit(usage, bit, 1) == 1) }
        try add(NID_key_usage, usage, isCritical: true)
    }

    func addExtendedKeyUsage(_ usage: CertificateTemplate.Usage) throws(CryptoError) {
        let purposes = OPENSSL_sk_new_null()
        defer { OPENSSL_sk_free(purposes) }  // OBJ_nid2obj's objects are static
        let purpose =
            switch usage {
            case .server: OBJ_nid2obj(NID_server_auth)
            case .client: OBJ_nid2obj(NID_client_auth)
            }
        try check(purposes != nil && purpose != nil && OPENSSL_sk_push(purposes, UnsafeRawPointer(purpose)) > 0)
        try add(NID_ext_key_usage, purposes.map(UnsafeMutableRawPointer.init), isCritical: false)
    }

    func addAlternativeNames(_ template: CertificateTemplate) throws(CryptoError) {
        if template.uris.isEmpty, template.dnsNames.isEmpty, template.ipAddresses.isEmpty { return }
        guard let names = OPENSSL_sk_new_null() else { throw .drained(attempt) }
        defer { GENERAL_NAMES_free(names) }
        for uri in template.uris { try append(uri, GEN_URI, to: names) }
        for name in template.dnsNames { try append(name, GEN_DNS, to: names) }
        for address in template.ipAddresses {
            let value = a2i_IPADDRESS(address)
            try check(value != nil, "“\(address)” is not an IP address")
            try append(UnsafeMutableRawPointer(value), GEN_IPADD, to: names) { ASN1_OCTET_STRING_free(value) }
        }
        try add(NID_subject_alt_name, UnsafeMutableRawPointer(names), isCritical: false)
    }

    private func append(_ name: String, _ type: Int32, to names: OpaquePointer) throws(CryptoError) {
        let characters = Array(name.utf8)
        try check(!characters.isEmpty && characters.allSatisfy { (0x21...0x7E).contains($0) }, "“\(name)” is not a plain ASCII name")
        let value = ASN1_IA5STRING_new()
        let isSet = ASN1_STRING_set(value, characters, Int32(characters.count)) == 1
        if !isSet { ASN1_IA5STRING_free(value) }
        try check(isSet)
        try append(UnsafeMutableRawPointer(value), type, to: names) { ASN1_IA5STRING_free(value) }
    }

    /// Takes the value over, or frees it.
    private func append(
        _ value: UnsafeMutableRawPointer?, _ type: Int32, to names: OpaquePointer, free: () -> Void
    ) throws(CryptoError) {
        guard let name = GENERAL_NAME_new() else {
            free()
            throw .drained(attempt)
        }
        GENERAL_NAME_set0_value(name, type, value)
        guard OPENSSL_sk_push(names, name) > 0 else {
            GENERAL_NAME_free(name)
            throw .drained(attempt)
        }
    }

    /// Subject and authority key identifiers (RFC 5280 §4.2.1.1 and .2), so that verifiers find the right one of two
    /// authorities with the same name while one replaces the other. A self-signed certificate needs only its own.
    func addKeyIdentifiers(issuer: Certificate?) throws(CryptoError) {
        var context = X509V3_CTX()
        let issuerHandle = issuer?.withHandle { $0 } ?? certificate
        X509V3_set_ctx(&context, issuerHandle, certificate, nil, nil, 0)
        try addConstant(NID_subject_key_identifier, "hash", &context)
        if issuer != nil { try addConstant(NID_authority_key_identifier, "keyid:always", &context) }
    }

    private func addConstant(_ nid: Int32, _ value: StaticString, _ context: inout X509V3_CTX) throws(CryptoError) {
        let ext = value.withUTF8Buffer { text in
            text.withMemoryRebound(to: CChar.self) { X509V3_EXT_conf_nid(nil, &context, nid, $0.baseAddress) }
        }
        defer { X509_EXTENSION_free(ext) }
        try check(ext != nil && X509_add_ext(certificate, ext, -1) == 1)
    }

    private func add(_ nid: Int32, _ value: UnsafeMutableRawPointer?, isCritical: Bool) throws(CryptoError) {
        try check(value != nil && X509_add1_ext_i2d(certificate, nid, value, isCritical ? 1 : 0, UInt(X509V3_ADD_DEFAULT)) == 1)
    }

    func sign(with key: PrivateKey) throws(CryptoError) -> Certificate {
        try check(key.withHandle { X509_sign(certificate, $0, EVP_sha256()) } > 0)
        guard let der = derEncoding(by: { i2d_X509(certificate, $0) }) else { throw .drained(attempt) }
        return try Certificate(der: der)
    }
}
