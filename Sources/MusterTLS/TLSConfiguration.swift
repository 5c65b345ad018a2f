package import MusterCrypto

/// What we prove ourselves with: a certificate, the chain above it, and the key.
package struct TLSIdentity: Sendable {
    /// Leaf first. A server whose clients pin its authority has to present that as well.
    package let chain: [Certificate]
    package let key: PrivateKey

    package init(chain: [Certificate], key: PrivateKey) {
        self.chain = chain
        self.key = key
    }
}

/// Which authorities a client believes. In every case the whole chain, its validity and purposes and the host name are checked.
package enum TLSTrust: Sendable {
    /// Those of the operating system.
    case system
    case authorities([Certificate])
    /// The authority whose DER has this SHA-256. It has to be in the presented chain, and becomes the only anchor:
    /// a stranger's certificate with the pinned one merely appended leads nowhere.
    case pinned([UInt8])
}

/// One side of TLS 1.3 or 1.2, server or client.
package struct TLSConfiguration: Sendable {
    enum Side: Sendable {
        case server(TLSIdentity, clientAuthorities: [Certificate]?, sessionIDContext: String)
        case client(TLSTrust, TLSIdentity?)
    }

    let side: Side

    /// Seconds since 1970, by which certificates are judged in place of the host's clock: a node whose clock is wrong
    /// still renews its certificate, once it knows the controller's time.
    package var verificationTime: Int64?

    /// - Parameter clientAuthorities: nil asks for no client certificate. Otherwise one is asked for; a client may come
    ///   without, but what it presents must lead to one of these.
    /// - Parameter sessionIDContext: sessions are resumed only by contexts of the same name and certificates.
    package static func server(
        identity: TLSIdentity, clientAuthorities: [Certificate]?, sessionIDContext: String = "muster"
    ) -> TLSConfiguration {
        TLSConfiguration(side: .server(identity, clientAuthorities: clientAuthorities, sessionIDContext: sessionIDContext))
    }

    package static func client(trust: TLSTrust, identity: TLSIdentity? = nil) -> TLSConfiguration {
        TLSConfiguration(side: .client(trust, identity))
    }

    private init(side: Side) {
        self.side = side
    }
}
