package import MusterCrypto
package import MusterWire

/// Issues the certificates of nodes.
package struct NodeCertificates: Sendable {
    /// Hosts whose clock is a little slow accept a fresh certificate as well.
    package static let backdatedSeconds: Int64 = 5 * 60

    private let authority: CertificateAuthority
    private let hours: Int
    /// What agents are to trust: the current CA first, then those that overlap with it.
    package let trusted: [Certificate]

    package init(authority: CertificateAuthority, hours: Int, alsoTrusted: [Certificate] = []) {
        self.authority = authority
        self.hours = hours
        self.trusted = [authority.certificate] + alsoTrusted.filter { $0 != authority.certificate }
    }

    /// Only the key comes from the request; every name in the certificate is ours.
    package func issue(_ identity: NodeIdentity, for key: PublicKey, at now: Timestamp) throws(CryptoError) -> Certificate {
        let seconds = now.milliseconds / 1000
        return try authority.issue(
            CertificateTemplate(
                commonName: identity.node.description, uris: [identity.uri],
                notBefore: seconds - Self.backdatedSeconds, notAfter: seconds + Int64(hours) * 3600, usage: .client),
            for: key)
    }

    package func chain(_ leaf: Certificate) -> String {
        leaf.pem() + authority.certificate.pem()
    }
}
