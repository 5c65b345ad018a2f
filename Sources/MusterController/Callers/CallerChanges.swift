package import MusterCrypto
internal import MusterDocuments
package import MusterWire

/// Changes of users, groups, keys and policies, in the caller's transaction: the same for the API and for the local administrator. Each says
/// what it did for the audit trail; what was refused has changed nothing.
package struct CallerChanges {
    package enum Limit {
        static let users = 5_000
        static let groups = 300
        static let policies = 1_500
        static let groupsOfUser = 10
        static let policiesOfHolder = 20
    }

    let now: Timestamp
    let account: String
    let tx: any SQLTransaction

    package init(now: Timestamp, account: String, tx: any SQLTransaction) {
        self.now = now
        self.account = account
        self.tx = tx
    }

    // MARK: Finding

    package func user(_ name: String) throws -> User {
        guard let user = try UserStore.user(name, in: tx) else {
            throw APIError.noSuchEntity("The user with name \(name.prefix(128)) cannot be found.")
        }
        return user
    }

    package func group(_ name: String) throws -> Group {
        guard let group = try GroupStore.group(name, in: tx) else {
            throw APIError.noSuchEntity("The group with name \(name.prefix(128)) cannot be found.")
        }
        return group
    }

    package func policy(_ name: String) throws -> ManagedPolicy {
        guard let policy = try PolicyStore.policy(name, in: tx) else {
            throw APIError.noSuchEntity("Policy \(name.prefix(128)) does not exist or is not attachable.")
        }
        return policy
    }

    package func policy(arn: String) throws -> ManagedPolicy {
        guard let name = CallerName.policy(inARN: arn, account: account) else {
            throw APIError.noSuchEntity("Policy \(arn.prefix(256)) does not exist or is not attachable.")
        }
        return try policy(name)
    }

    package func holder(_ holder: PolicyStore.Holder) throws -> PolicyStore.Holder {
        switch holder {
        case .user(let name): .user(try user(name).name)
        case .group(let name): .group(try group(name).name)
        }
    }

    /// A key, if it is this user's. Another's is told from none by nobody.
    package func key(_ accessKeyID: String, of user: String?) throws -> OperatorKeyStore.Listed {
        guard let key = try OperatorKeyStore.listed(accessKeyID, in: tx), user == nil || key.user == user else {
            throw APIError.noSuchEntity("The Access Key with id \(accessKeyID.prefix(128)) cannot be found.")
        }
        return key
    }

    // MARK: Users

    package func createUser(_ name: String, tags: [Tag]) throws -> User {
        let name = try CallerName.checked(name, "userName")
        if try UserStore.isTaken(name, in: tx) {
            throw APIError.entityAlreadyExists("User with name \(name) already exists.")
        }
        // Also of those who are gone, while there are sessions or recordings of theirs.
        let others = try UserStore.all(in: tx).map(\.name) + SessionStore.owners(in: tx)
        if let other = others.first(where: { CallerName.collide(name, $0) }) {
            let shorter = name.utf8.count < other.utf8.count ? name : other
            throw APIError.invalidInput(
                "A user \(name) beside \(other), who is one or has sessions that are kept, is refused: the ids of sessions begin with their "
                    + "owners' names, and session/\(shorter)-* would be both's.")
        }
        guard try UserStore.count(in: tx) < Limit.users else { throw APIError.limitExceeded("There are \(Limit.users) users already.") }
        let user = User(name: name, id: CallerID.make(.user), createdAt: now)
        try UserStore.insert(user, in: tx)
        try TagStore.set(Self.checked(tags), of: name, type: UserStore.tagType, in: tx)
        return user
    }

    /// As IAM does it: only one who has nothing any more. `force` takes everything away with the user.
    package func deleteUser(_ name: String, force: Bool = false) throws -> User {
        let user = try user(name)
        if !force {
            let holder = PolicyStore.Holder.user(user.name)
            if try !OperatorKeyStore.keys(of: user.name, in: tx).isEmpty {
                throw APIError.deleteConflict("Cannot delete entity, must delete access keys first.")
            }
            if try !PolicyStore.attached(to: holder, in: tx).isEmpty {
                throw APIError.deleteConflict("Cannot delete entity, must detach all policies first.")
            }
            if try !PolicyStore.inline(of: holder, in: tx).isEmpty {
                throw APIError.deleteConflict("Cannot delete entity, must delete policies first.")
            }
            if try !GroupStore.groups(of: user.name, in: tx).isEmpty {
                throw APIError.deleteConflict("Cannot delete entity, must remove users from group first.")
            }
        }
        try UserStore.remove(user, in: tx)
        return user
    }

    package func tags(of user: User) throws -> [Tag] {
        try TagStore.tags(of: user.name, type: UserStore.tagType, in: tx).sorted { $0.key < $1.key }.map {
            Tag(key: $0.key, value: $0.value)
        }
    }

    package func tagUser(_ name: String, _ tags: [Tag]) throws {
        let user = try user(name)
        let new = try Self.checked(tags)
        _ = try TagRules.adding(new, to: try TagStore.tags(of: user.name, type: UserStore.tagType, in: tx))
        try TagStore.set(new, of: user.name, type: UserStore.tagType, in: tx)
    }

    private static func checked(_ tags: [Tag]) throws -> [String: String] {
        let tags = try TagRules.dictionary(tags)
        if let runAs = tags[SessionOrder.runAsTag], !SessionPreferences.isUserName(runAs) {
            throw APIError.invalidInput("The tag \(SessionOrder.runAsTag) has to be the name of a user on the nodes.")
        }
        return tags
    }

    package func untagUser(_ name: String, _ keys: [String]) throws {
        try TagStore.remove(keys, of: try user(name).name, type: UserStore.tagType, in: tx)
    }

    // MARK: Groups

    package func createGroup(_ name: String) throws -> Group {
        let name = try CallerName.checked(name, "groupName")
        if try GroupStore.isTaken(name, in: tx) {
            throw APIError.entityAlreadyExists("Group with name \(name) already exists.")
        }
        guard try GroupStore.all(in: tx).count < Limit.groups else {
            throw APIError.limitExceeded("There are \(Limit.groups) groups already.")
        }
        let group = Group(name: name, id: CallerID.make(.group), createdAt: now)
        try GroupStore.insert(group, in: tx)
        return group
    }

    package func deleteGroup(_ name: String, force: Bool = false) throws -> Group {
        let group = try group(name)
        if !force {
            if try !GroupStore.members(of: group.name, in: tx).isEmpty {
                throw APIError.deleteConflict("Cannot delete entity, must remove users from group first.")
            }
            let holder = PolicyStore.Holder.group(group.name)
            if try !PolicyStore.attached(to: holder, in: tx).isEmpty {
                throw APIError.deleteConflict("Cannot delete entity, must detach all policies first.")
            }
            if try !PolicyStore.inline(of: holder, in: tx).isEmpty {
                throw APIError.deleteConflict("Cannot delete entity, must delete policies first.")
            }
        }
        try GroupStore.remove(group, in: tx)
        return group
    }

    package func add(_ userName: String, to groupName: String) throws {
        let (user, group) = (try user(userName), try group(groupName))
        if try GroupStore.isMember(user.name, of: group.name, in: tx) { return }
        guard try GroupStore.groups(of: user.name, in: tx).count < Limit.groupsOfUser else {
            throw APIError.limitExceeded("User \(user.name) is in \(Limit.groupsOfUser) groups already.")
        }
        try GroupStore.add(user.name, to: group.name, in: tx)
    }

    package func remove(_ userName: String, from groupName: String) throws {
        let (user, group) = (try user(userName), try group(groupName))
        guard try GroupStore.remove(user.name, from: group.name, in: tx) else {
            throw APIError.noSuchEntity("The user with name \(user.name) is not in group \(group.name).")
        }
    }

    // MARK: Keys

    package func createKey(for name: String, cipher: AuthenticatedCipher) throws -> Credentials {
        let user = try user(name)
        guard try OperatorKeyStore.keys(of: user.name, in: tx).count < OperatorKeyStore.most else {
            throw APIError.limitExceeded("Cannot exceed quota for AccessKeysPerUser: \(OperatorKeyStore.most)")
        }
        return try OperatorKeyStore.create(userName: user.name, now: now, cipher: cipher, in: tx)
    }

    package func setKey(_ accessKeyID: String, of user: String?, isActive: Bool) throws -> OperatorKeyStore.Listed {
        let key = try key(accessKeyID, of: user)
        try OperatorKeyStore.setActive(isActive, key.accessKeyID, in: tx)
        return key
    }

    package func deleteKey(_ accessKeyID: String, of user: String?) throws -> OperatorKeyStore.Listed {
        let key = try key(accessKeyID, of: user)
        try OperatorKeyStore.remove(key.accessKeyID, in: tx)
        return key
    }

    // MARK: Policies

    package func createPolicy(_ name: String, description: String, document: String) throws -> ManagedPolicy {
        let name = try CallerName.checked(name, "policyName", longest: 128)
        try Self.check(document)
        if try PolicyStore.isTaken(name, in: tx) {
            throw APIError.entityAlreadyExists("A policy called \(name) already exists. Duplicate names are not allowed.")
        }
        guard try PolicyStore.all(in: tx).count < Limit.policies else {
            throw APIError.limitExceeded("There are \(Limit.policies) policies already.")
        }
        let policy = ManagedPolicy(
            name: name, id: CallerID.make(.policy), description: description, document: document, version: 1, createdAt: now,
            updatedAt: now)
        try PolicyStore.insert(policy, in: tx)
        return policy
    }

    package func updatePolicy(_ policy: ManagedPolicy, document: String) throws -> ManagedPolicy {
        var policy = try changeable(policy)
        try Self.check(document)
        policy.document = document
        policy.version += 1
        policy.updatedAt = now
        try PolicyStore.update(policy, in: tx)
        return policy
    }

    package func deletePolicy(_ policy: ManagedPolicy) throws {
        let policy = try changeable(policy)
        if try !PolicyStore.holders(of: policy.name, in: tx).isEmpty {
            throw APIError.deleteConflict("Cannot delete a policy attached to entities.")
        }
        try PolicyStore.remove(policy.name, in: tx)
    }

    private func changeable(_ policy: ManagedPolicy) throws -> ManagedPolicy {
        guard BuiltInPolicy.named(policy.name) == nil else {
            throw APIError.unmodifiable("Policy \(policy.name) comes with Muster and cannot be changed.")
        }
        return policy
    }

    package func attach(_ policy: ManagedPolicy, to holder: PolicyStore.Holder) throws {
        let holder = try self.holder(holder)
        let present = try PolicyStore.attached(to: holder, in: tx)
        guard present.contains(policy.name) || present.count < Limit.policiesOfHolder else {
            throw APIError.limitExceeded("\(holder.description) has \(Limit.policiesOfHolder) policies attached already.")
        }
        try PolicyStore.attach(policy.name, to: holder, in: tx)
    }

    package func detach(_ policy: ManagedPolicy, from holder: PolicyStore.Holder) throws {
        let holder = try self.holder(holder)
        guard try PolicyStore.detach(policy.name, from: holder, in: tx) else {
            throw APIError.noSuchEntity("Policy \(policy.name) was not found.")
        }
    }

    package func put(_ name: String, document: String, on holder: PolicyStore.Holder) throws {
        let name = try CallerName.checked(name, "policyName", longest: 128)
        let holder = try self.holder(holder)
        try Self.check(document)
        let present = try PolicyStore.inline(of: holder, in: tx)
        guard present.contains(where: { $0.name == name }) || present.count < Limit.policiesOfHolder else {
            throw APIError.limitExceeded("\(holder.description) has \(Limit.policiesOfHolder) policies of its own already.")
        }
        try PolicyStore.put(.init(name: name, document: document), on: holder, in: tx)
    }

    package func inline(_ name: String, of holder: PolicyStore.Holder) throws -> PolicyStore.Held {
        let holder = try self.holder(holder)
        guard let held = try PolicyStore.inline(of: holder, in: tx).first(where: { $0.name == name }) else {
            throw APIError.noSuchEntity("The \(holder.type) policy with name \(name.prefix(128)) cannot be found.")
        }
        return held
    }

    package func deleteInline(_ name: String, of holder: PolicyStore.Holder) throws {
        _ = try inline(name, of: holder)
        _ = try PolicyStore.removeInline(name, of: try self.holder(holder), in: tx)
    }

    @discardableResult static func check(_ document: String) throws(APIError) -> PolicyDocument {
        do {
            return try PolicyDocument(json: Array(document.utf8), actions: PolicyActions.all)
        } catch {
            throw .malformedPolicy(error.description)
        }
    }
}

/// Somebody has to be able to put things right over the API. [value]
package enum LastAdministrator {
    /// Does the change, and refuses it if nobody with an active key could change everybody's rights after it who could before.
    package static func kept<Result>(
        by change: () throws -> Result, account: String, policies: PolicyReader, in tx: any SQLTransaction
    ) throws -> Result {
        let before = try isThere(account, policies, in: tx)
        let result = try change()
        if before, try !isThere(account, policies, in: tx) {
            throw APIError.deleteConflict(
                "After this nobody with an active key could change anybody's rights any more. Use muster-controller on the controller itself if it is meant."
            )
        }
        return result
    }

    /// Anybody, at any time and from anywhere: conditions on these do not count.
    private static func isThere(_ account: String, _ policies: PolicyReader, in tx: any SQLTransaction) throws -> Bool {
        for user in try UserStore.all(in: tx) {
            guard let key = try OperatorKeyStore.keys(of: user.name, in: tx).first(where: \.isActive) else { continue }
            let set = try policies.set(of: Principal(user: user.name, userID: user.id, accessKeyID: key.accessKeyID), in: tx)
            let keys = ConditionKeys(["aws:username": [user.name], "aws:userid": [user.id]])
            let resource = CallerName.user(user.name).arn(account: account)
            let isAdministrator = ["iam:PutUserPolicy", "iam:DeleteUserPolicy", "iam:DetachUserPolicy", "iam:CreateAccessKey"].allSatisfy {
                set.decide(AccessRequest(action: $0, resource: resource, keys: keys)).isAllowed
            }
            if isAdministrator { return true }
        }
        return false
    }
}
