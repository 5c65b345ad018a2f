@testable import MusterCrypto

extension FuzzTarget {
    /// The first byte says what the rest is taken for.
    static let certificates = FuzzTarget(name: "certificates", maximumLength: 8192) { bytes in
        let rest = Array(bytes.dropFirst())
        switch bytes.first {
        case UInt8(ascii: "r"):
            guard let request = try? CertificateRequest(der: rest) else { return }
            try Finding.unless(request.publicKey == (try PublicKey(der: request.publicKey.der)), "a key is another one when read again")
            _ = try issuer.get().issue(template, for: request.publicKey)
        case UInt8(ascii: "c"):
            guard let certificate = try? Certificate(der: rest) else { return }
            try Finding.unless(certificate.der == rest, "a certificate has two encodings")
            try look(at: certificate)
            try Finding.unless(try Certificate(pem: certificate.pem()) == certificate, "a certificate is another one as PEM")
        case UInt8(ascii: "p"):
            for certificate in (try? Certificate.chain(pem: text(rest))) ?? [] { try look(at: certificate) }
        case UInt8(ascii: "k"): _ = try? PrivateKey(pem: text(rest))
        case UInt8(ascii: "u"): _ = (try? PublicKey(der: rest))?.isValid(signature: rest, for: [1, 2, 3])
        case UInt8(ascii: "s"): _ = try anyKey.get().isValid(signature: rest, for: [1, 2, 3])
        case UInt8(ascii: "b"):
            guard let plain = Base64.decode(text(rest)) else { return }
            try Finding.unless(Base64.decode(Base64.encode(plain)) == plain, "base64 is not what it was")
        case UInt8(ascii: "h"):
            guard let plain = Hex.decode(text(rest)) else { return }
            try Finding.unless(Hex.decode(Hex.encode(plain)) == plain, "hexadecimal is not what it was")
        default: break
        }
        try Finding.unless(OpenSSLErrors.drain().isEmpty, "an error was left in the queue, for whoever comes next")
    }

    private static let issuer = Result { () throws -> CertificateAuthority in
        try CertificateAuthority.create(
            commonName: "Muster CA", notBefore: 1_700_000_000, notAfter: 4_000_000_000, key: .generate())
    }
    private static let anyKey = Result { () throws -> PublicKey in try PrivateKey.generate().publicKey }
    private static let template = CertificateTemplate(
        commonName: "mi-0123456789abcdef0", uris: ["muster:node:mi-0123456789abcdef0:3"], dnsNames: [], ipAddresses: [],
        notBefore: 1_700_000_000, notAfter: 1_700_086_400, usage: .client)

    private static func look(at certificate: Certificate) throws {
        for name in certificate.uris + certificate.dnsNames {
            try Finding.unless(name.utf8.allSatisfy { (0x20...0x7e).contains($0) }, "a name is not plain ASCII")
        }
        _ = try? certificate.publicKey
        _ = (certificate.publicKeyFingerprint, certificate.subjectKeyIdentifier, certificate.authorityKeyIdentifier)
    }
}
