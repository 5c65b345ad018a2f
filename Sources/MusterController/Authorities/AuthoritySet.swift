package import MusterCrypto

/// The certificate authorities as one revision of the store has them, with the key of the one that issues. [value]
package struct AuthoritySet: Sendable {
    package let revision: Int64
    /// Of the one that issues; others are told apart by theirs.
    package let number: Int
    package let issuing: CertificateAuthority
    /// To be trusted, and not used yet.
    package let next: Member?
    /// Still trusted, and not used any more.
    package let former: Member?
    /// The issuing authority's key, certified by the former one.
    package let bridge: Certificate?

    package struct Member: Sendable {
        package let number: Int
        package let certificate: Certificate

        package init(number: Int, certificate: Certificate) {
            self.number = number
            self.certificate = certificate
        }
    }

    package init(
        revision: Int64 = 0, number: Int = 1, issuing: CertificateAuthority, next: Member? = nil, former: Member? = nil,
        bridge: Certificate? = nil
    ) {
        self.revision = revision
        self.number = number
        self.issuing = issuing
        self.next = next
        self.former = former
        self.bridge = bridge
    }

    /// What agents and operators are to trust, the one that issues first.
    package var trusted: [Certificate] { [issuing.certificate] + [next, former].compactMap { $0?.certificate } }
    package var trustedNumbers: [Int] { [number] + [next, former].compactMap { $0?.number } }

    /// What a server shows, for those who pinned or trust either authority. The bridge comes before the issuing authority's own
    /// certificate, because OpenSSL takes the first issuer that fits, and from a certificate that signed itself there is no way on.
    package func serverChain(_ leaf: Certificate) -> [Certificate] {
        guard let former, let bridge else { return [leaf, issuing.certificate] }
        return [leaf, bridge, former.certificate, issuing.certificate]
    }

    package var bundle: String { trusted.map { $0.pem() }.joined() }

    /// `sha256:` and the hexadecimal SHA-256 of the DER: what a join line pins.
    package static func pin(_ certificate: Certificate) -> String { "sha256:" + Hex.encode(certificate.fingerprint) }
}
