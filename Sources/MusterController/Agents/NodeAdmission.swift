package import MusterCrypto
package import MusterWire

/// Whether a client certificate still counts. [value]
///
/// TLS has verified the chain, but a certificate outlives a deregistration, and a resumed handshake does not look at it
/// again. So the node is looked up after every handshake and for every call: its state, the generation of its identity,
/// and the key that it enrolled with.
package enum NodeAdmission {
    package enum Refusal: Error, Sendable, Equatable, CustomStringConvertible {
        case notANodeCertificate
        case unknown(NodeID)
        case deregistered(NodeID)
        case quarantined(NodeID)
        case otherGeneration(NodeID, presented: Int, current: Int)
        case otherKey(NodeID)
        case expired(NodeID)
        case retiredAuthority(NodeID)
        case notProven(NodeID)

        package var node: NodeID? {
            switch self {
            case .notANodeCertificate: nil
            case .unknown(let node), .deregistered(let node), .quarantined(let node), .otherKey(let node), .expired(let node),
                .retiredAuthority(let node), .notProven(let node), .otherGeneration(let node, _, _):
                node
            }
        }

        package var description: String {
            switch self {
            case .notANodeCertificate:
                "The client certificate does not name a node."
            case .unknown(let node):
                "Node \(node) is not registered here."
            case .deregistered(let node):
                "Node \(node) has been deregistered. Register the host again with a new activation."
            case .quarantined(let node):
                "Node \(node) is in quarantine, because two hosts presented its identity. Deregister it and register the hosts again, each by itself."
            case .otherGeneration(let node, let presented, let current):
                "The certificate of node \(node) belongs to generation \(presented) of its identity; the current one is \(current)."
            case .otherKey(let node):
                "The certificate of node \(node) is not for the key it registered with."
            case .expired(let node):
                "The certificate of node \(node) has expired. Renew it."
            case .retiredAuthority(let node):
                "The certificate of node \(node) is of a certificate authority that has been retired. Renew it."
            case .notProven(let node):
                "Nothing proves that this is node \(node): the nonce or the signature over it is not valid."
            }
        }

        package var apiError: APIError {
            APIError(code: "AccessDeniedException", message: description, status: 400)
        }
    }

    /// The identity that a certificate names. It proves nothing before `admit` has seen the node.
    package static func identity(in certificate: Certificate) -> NodeIdentity? {
        let identities = certificate.uris.compactMap { NodeIdentity(uri: $0) }
        return identities.count == 1 ? identities[0] : nil
    }

    package static func admit(
        _ certificate: Certificate, at now: Timestamp, in tx: any SQLTransaction
    ) throws -> Result<Node, Refusal> {
        guard let identity = identity(in: certificate), let fingerprint = certificate.publicKeyFingerprint else {
            return .failure(.notANodeCertificate)
        }
        switch try admit(identity, in: tx) {
        case .failure(let refusal):
            return .failure(refusal)
        case .success(let node):
            guard equalInConstantTime(fingerprint, node.keyFingerprint) else { return .failure(.otherKey(node.id)) }
            // A connection may be older than its certificate's end.
            guard certificate.notAfter > now.milliseconds / 1000 else { return .failure(.expired(node.id)) }
            guard try !AuthorityStore.isRetired(issuerOf: certificate, in: tx) else { return .failure(.retiredAuthority(node.id)) }
            return .success(node)
        }
    }

    /// For an identity whose certificate has been admitted on this connection before: what may have changed since.
    package static func admit(_ identity: NodeIdentity, in tx: any SQLTransaction) throws -> Result<Node, Refusal> {
        guard let node = try NodeStore.node(identity.node, in: tx) else { return .failure(.unknown(identity.node)) }
        switch node.state {
        case .deregistered: return .failure(.deregistered(node.id))
        case .quarantined: return .failure(.quarantined(node.id))
        case .registered: break
        }
        guard identity.generation == node.generation else {
            return .failure(.otherGeneration(node.id, presented: identity.generation, current: node.generation))
        }
        return .success(node)
    }
}
