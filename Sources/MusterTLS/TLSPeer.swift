package import MusterCrypto

/// Who is at the other end, as the handshake proved it.
package struct TLSPeer: Sendable {
    /// Leaf first, as far as it was verified; empty for a client without a certificate. On a resumed connection the leaf
    /// comes out of the session, and the authority that issued it is found again among the trusted ones.
    package let chain: [Certificate]
    /// "TLSv1.3" or "TLSv1.2".
    package let version: String
    package let isResumed: Bool
    /// The trusted certificate at which the chain ended; nil without a certificate.
    package let verificationAnchor: Certificate?

    package var leaf: Certificate? { chain.first }
}
