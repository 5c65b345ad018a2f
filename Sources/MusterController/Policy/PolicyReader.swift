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
        let groups = try GroupStore.groups(of: user.name, in: tx)
        let all = try ([.user(user.name)] + groups.map { .group($0.name) }).map { (holder: $0, policies: try policies(of: $0, in: tx)) }
        let boundary = principal.boundary.map { document($0) }
        guard let role = principal.role else { return PolicySet(all.flatMap(\.policies), boundary: boundary) }
        guard let group = groups.first(where: { $0.name == role.group && $0.id == role.groupID }) else { return PolicySet([]) }
        // Membership is all that a role asks for. What forbids something to its user therefore forbids it here as well: it would otherwise be
        // escaped by a call that needs no permission.
        return PolicySet(
            all.flatMap { $0.holder == .group(group.name) ? $0.policies : $0.policies.compactMap(\.denials) }, boundary: boundary)
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
