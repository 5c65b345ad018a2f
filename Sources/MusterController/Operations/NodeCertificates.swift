package import MusterCrypto
package import MusterWire

/// Issues the certificates of nodes.
package struct NodeCertificates: Sendable {
    /// Hosts whose clock is a little slow accept a fresh certificate as well.
    package static let backdatedSeconds: Int64 = 5 * 60

    /// A certificate, and what a node gets along with it.
    package struct Issued: Sendable {
        package let leaf: Certificate
        package let authorities: AuthoritySet

        /// PEM: the leaf, then its issuer.
        package var chain: String { leaf.pem() + authorities.issuing.certificate.pem() }
    }

    private let authorities: @Sendable () -> AuthoritySet
    private let reread: @Sendable () async throws -> Void
    private let hours: Int

    package init(_ authorities: Authorities, hours: Int) {
        self.authorities = { authorities.current }
        self.reread = { try await authorities.reload() }
        self.hours = hours
    }

    /// For authorities that do not change.
    package init(authority: CertificateAuthority, hours: Int) {
        let set = AuthoritySet(issuing: authority)
        self.authorities = { set }
        self.reread = {}
        self.hours = hours
    }

    /// Only the key comes from the request; every name in the certificate is ours.
    package func issue(_ identity: NodeIdentity, for key: PublicKey, at now: Timestamp) throws(CryptoError) -> Issued {
        let seconds = now.milliseconds / 1000
        let authorities = authorities()
        let leaf = try authorities.issuing.issue(
            CertificateTemplate(
                commonName: identity.node.description, uris: [identity.uri],
                notBefore: seconds - Self.backdatedSeconds, notAfter: seconds + Int64(hours) * 3600, usage: .client),
            for: key)
        return Issued(leaf: leaf, authorities: authorities)
    }

    /// After the store had other authorities than those a certificate was issued by.
    package func reload() async throws { try await reread() }
}
