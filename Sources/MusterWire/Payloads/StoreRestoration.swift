package import MusterCrypto

/// What the controller says of a store that was restored from a backup. [value]
package struct StoreRestorationStatement: Codable, Sendable, Hashable {
    /// Of the backup.
    package var former: String
    /// From this restore on.
    package var epoch: String
    package var time: Timestamp
    /// Where the audit trail of the backup ended: what came behind it is gone.
    package var mark: AuditMark

    package init(former: String, epoch: String, time: Timestamp, mark: AuditMark) {
        (self.former, self.epoch, self.time, self.mark) = (former, epoch, time, mark)
    }
}

/// The proof that a store's epoch changed because the holder of the CA's key restored it, and not because an old copy runs. [value]
package struct StoreRestoration: SignedStatement {
    package typealias Content = StoreRestorationStatement
    package static let purpose = "muster store restoration"

    package let text: String
    package let signature: String
    package let authority: String

    package init(text: String, signature: String, authority: String) {
        (self.text, self.signature, self.authority) = (text, signature, authority)
    }
}

/// The rule by which a node takes a store for its controller's. [value]
///
/// A node knows the epoch of its store and when that epoch began. Another epoch counts only with the CA's signature, and only if it began
/// later: an old copy of the store can show no more than an old proof.
package struct StoreEpoch: Sendable, Hashable {
    package let name: String
    /// Zero for a store that was never restored while the node knew it.
    package let began: Timestamp

    package init(name: String, began: Timestamp = Timestamp(milliseconds: 0)) {
        (self.name, self.began) = (name, began)
    }

    package enum Refusal: Error, Sendable, Hashable, CustomStringConvertible {
        case unproven
        case otherSigner
        case outdated

        package var description: String {
            let advice = "If it was put back from a backup, use muster-controller restore, which proves it to the nodes."
            return switch self {
            case .unproven: "The controller's store is another one than this node knows, and nothing proves that it was restored. \(advice)"
            case .otherSigner:
                "The controller's store is another one, and the proof is not signed by an authority that this node trusts. \(advice)"
            case .outdated: "The controller runs on an older copy of its store than this node has seen. \(advice)"
            }
        }
    }

    /// The epoch that the node knows from now on.
    package func following(
        _ presented: String, _ proof: StoreRestoration?, trusted: [Certificate]
    ) throws(Refusal) -> StoreEpoch {
        // Nodes from before epochs were held against anything may know none.
        if presented == name || name.isEmpty { return StoreEpoch(name: presented, began: began) }
        guard let proof, let statement = try? proof.decoded(), statement.epoch == presented else { throw .unproven }
        guard trusted.contains(where: { proof.isSigned(by: $0) }) else { throw .otherSigner }
        guard statement.time > began else { throw .outdated }
        return StoreEpoch(name: presented, began: statement.time)
    }
}
