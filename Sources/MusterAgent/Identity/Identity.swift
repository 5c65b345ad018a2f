package import MusterClient
package import MusterCrypto
package import MusterWire

/// Who this host is, to whom it belongs, and how it proves it. Described without its key.
package struct Identity: Sendable, CustomStringConvertible {
    package let node: NodeID
    /// Counts the enrolments of a node id: what was meant for an earlier one is not for us.
    package let generation: Int
    /// Which store of the controller this node knows.
    package let storeEpoch: StoreEpoch
    package var controller: Endpoint
    package let key: PrivateKey
    /// Leaf first.
    package let chain: [Certificate]
    package let leaf: Certificate
    /// The only certificates that a controller's own may end at.
    package let authorities: [Certificate]
    /// The latest time that the controller is known to have reached. Time does not go back: a host clock before it is wrong.
    package let knownTime: Timestamp

    /// Checks everything that will be relied upon later: the certificate is for this key and this node, and all parts are readable.
    package init(
        node: NodeID,
        generation: Int,
        storeEpoch: StoreEpoch,
        controller: Endpoint,
        key: PrivateKey,
        chain: [Certificate],
        authorities: [Certificate],
        knownTime: Timestamp
    ) throws(AgentError) {
        guard let leaf = chain.first else { throw AgentError("The controller's answer holds no certificate for \(node).") }
        let expected = NodeIdentity(node: node, generation: generation)
        guard leaf.uris == [expected.uri] else {
            throw AgentError("The certificate is for \(leaf.uris.joined(separator: ", ")) and not for \(expected.uri).")
        }
        do {
            guard try leaf.publicKey == key.publicKey else {
                throw AgentError("The certificate of \(node) is for another key than this host's.")
            }
        } catch let error as AgentError {
            throw error
        } catch {
            throw AgentError("Cannot compare the certificate of \(node) with this host's key: \(error)")
        }
        guard !authorities.isEmpty, authorities.allSatisfy(\.isCertificateAuthority) else {
            throw AgentError("The controller at \(controller) named no certificate authority to trust.")
        }
        self.node = node
        self.generation = generation
        self.storeEpoch = storeEpoch
        self.controller = controller
        self.key = key
        self.chain = chain
        self.leaf = leaf
        self.authorities = authorities
        self.knownTime = max(knownTime, Timestamp(milliseconds: leaf.notBefore * 1000))
    }

    /// The same, at a store that was restored.
    func following(_ epoch: StoreEpoch) throws(AgentError) -> Identity {
        try Identity(
            node: node, generation: generation, storeEpoch: epoch, controller: controller, key: key, chain: chain, authorities: authorities,
            knownTime: knownTime)
    }

    package var description: String { "\(node) (generation \(generation)) at \(controller)" }
}

/// The stored form. One file, so that key, certificate and authorities change together or not at all.
struct IdentityFile: Codable {
    var node: String
    var generation: Int
    var storeEpoch: String
    /// Absent until a restored store was met.
    var storeEpochBegan: Int64?
    var controller: String
    var privateKey: String
    var certificate: String
    var authorities: [String]
    var knownTime: Int64

    init(_ identity: Identity) throws(CryptoError) {
        node = identity.node.rawValue
        generation = identity.generation
        storeEpoch = identity.storeEpoch.name
        storeEpochBegan = identity.storeEpoch.began.milliseconds
        controller = identity.controller.description
        privateKey = try identity.key.pem()
        certificate = identity.chain.map { $0.pem() }.joined()
        authorities = identity.authorities.map { $0.pem() }
        knownTime = identity.knownTime.milliseconds
    }

    func identity() throws -> Identity {
        guard let node = NodeID(node) else { throw AgentError("the node id is malformed") }
        return try Identity(
            node: node,
            generation: generation,
            storeEpoch: StoreEpoch(name: storeEpoch, began: Timestamp(milliseconds: storeEpochBegan ?? 0)),
            controller: Endpoint(url: controller),
            key: PrivateKey(pem: privateKey),
            chain: Certificate.chain(pem: certificate),
            authorities: authorities.map { try Certificate(pem: $0) },
            knownTime: Timestamp(milliseconds: knownTime)
        )
    }
}
