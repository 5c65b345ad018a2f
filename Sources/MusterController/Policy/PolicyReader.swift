internal import MusterCrypto
internal import NIOConcurrencyHelpers

/// The policies of a principal as the store has them now. Texts that were decoded once are not decoded again.
package final class PolicyReader: Sendable {
    private static let most = 4_096
    private let documents = NIOLockedValueBox<[[UInt8]: PolicyDocument]>([:])

    package init() {}

    /// Nothing at all for a user who is gone or is another under the same name, and for a role whose group is gone or without this user.
    package func set(of principal: Principal, in tx: any SQLTransaction) throws -> PolicySet {
        guard let user = try UserStore.user(principal.user, in: tx), user.id == principal.userID else { return PolicySet([]) }
        var holders: [PolicyStore.Holder] = []
        if let role = principal.role {
            guard let group = try GroupStore.group(role.group, in: tx), group.id == role.groupID,
                try GroupStore.isMember(user.name, of: group.name, in: tx)
            else { return PolicySet([]) }
            holders = [.group(group.name)]
        } else {
            holders = try [.user(user.name)] + GroupStore.groups(of: user.name, in: tx).map { .group($0.name) }
        }
        return PolicySet(try holders.flatMap { try policies(of: $0, in: tx) }, boundary: principal.boundary.map { document($0) })
    }

    package func policies(of holder: PolicyStore.Holder, in tx: any SQLTransaction) throws -> [AttachedPolicy] {
        try PolicyStore.held(by: holder, in: tx).map {
            AttachedPolicy(name: $0.name, holder: holder.description, document: document($0.document))
        }
    }

    /// It was one when it was saved. Should this version not understand it, it might have forbidden anything: then everything is.
    private func document(_ text: String) -> PolicyDocument {
        let digest = SHA256.hash(Array(text.utf8))
        if let known = documents.withLockedValue({ $0[digest] }) { return known }
        let document = (try? PolicyDocument(json: Array(text.utf8))) ?? .unreadable
        documents.withLockedValue { documents in
            if documents.count >= Self.most { documents.removeAll(keepingCapacity: true) }
            documents[digest] = document
        }
        return document
    }
}

extension PolicyDocument {
    static let unreadable = PolicyDocument(statements: [
        Statement(
            name: "(cannot be read)", effect: .deny, approval: nil, actions: .except([]), resources: .except([]), conditions: [])
    ])
}

extension PolicySet {
    /// Whether any statement could allow the action at all, on whatever resource.
    func couldAllow(_ action: String) -> Bool {
        let action = asciiLowercased(action)
        return policies.contains { policy in
            policy.document.statements.contains { statement in
                statement.effect == .allow && statement.concerns(action)
            }
        }
    }
}
