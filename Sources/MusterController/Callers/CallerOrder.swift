internal import MusterCrypto
internal import MusterWire

/// What the local administrator asks for. [value]
package enum CallerOrder: Sendable {
    package enum Holder: Sendable {
        case user(String)
        case group(String)
    }

    case listUsers
    case createUser(String, tags: [String], groups: [String])
    case tagUser(String, tags: [String])
    case untagUser(String, keys: [String])
    /// `force`: also the last administrator.
    case deleteUser(String, force: Bool)
    case listGroups
    case createGroup(String)
    case addUser(String, group: String)
    case removeUser(String, group: String)
    /// `force`: also one with members.
    case deleteGroup(String, force: Bool)
    case createKey(user: String)
    case setKey(String, isActive: Bool)
    case deleteKey(String)
    case listPolicies
    case showPolicy(String)
    case putPolicy(String, document: String)
    case attachPolicy(String, to: Holder)
    case detachPolicy(String, from: Holder)
    case deletePolicy(String)

    var changes: Bool {
        switch self {
        case .listUsers, .listGroups, .listPolicies, .showPolicy: false
        default: true
        }
    }

    /// What was done, for the audit trail; nil if nothing was changed.
    struct Event {
        let operation: String
        let subject: CallerName
        var details: [String: String] = [:]
    }

    /// Does it, and gives the words to print.
    func perform(_ changes: CallerChanges, _ cipher: AuthenticatedCipher) throws -> (words: String, event: Event?) {
        switch self {
        case .listUsers: return (try CallerReport.users(changes), nil)
        case .listGroups: return (try CallerReport.groups(changes), nil)
        case .listPolicies: return (try CallerReport.policies(changes), nil)
        case .showPolicy(let name): return (try changes.policy(name).document, nil)
        case .createUser(let name, let tags, let groups):
            _ = try changes.createUser(name, tags: try tags.map(Self.tag))
            for group in groups { try changes.add(name, to: group) }
            return (
                "User \(name) is there. Make a key: muster-controller key create \(name)",
                Event(
                    operation: "CreateUser", subject: .user(name),
                    details: groups.isEmpty ? [:] : ["groups": groups.joined(separator: ", ")])
            )
        case .tagUser(let name, let texts):
            let tags = try texts.map(Self.tag)
            try changes.tagUser(name, tags)
            let keys = tags.compactMap(\.key).joined(separator: ", ")
            return ("", Event(operation: "TagUser", subject: .user(name), details: ["tagKeys": keys]))
        case .untagUser(let name, let keys):
            try changes.untagUser(name, keys)
            return ("", Event(operation: "UntagUser", subject: .user(name), details: ["tagKeys": keys.joined(separator: ", ")]))
        case .deleteUser(let name, let force):
            // With keys, policies and memberships, which only this user has.
            if force {
                _ = try changes.deleteUser(name, force: true)
            } else {
                try Self.keepingAnAdministrator(changes) { _ = try changes.deleteUser(name, force: true) }
            }
            return ("", Event(operation: "DeleteUser", subject: .user(name)))
        case .createGroup(let name):
            _ = try changes.createGroup(name)
            return ("", Event(operation: "CreateGroup", subject: .group(name)))
        case .addUser(let user, let group):
            try changes.add(user, to: group)
            return ("", Event(operation: "AddUserToGroup", subject: .group(group), details: ["userName": user]))
        case .removeUser(let user, let group):
            try changes.remove(user, from: group)
            return ("", Event(operation: "RemoveUserFromGroup", subject: .group(group), details: ["userName": user]))
        case .deleteGroup(let name, let force):
            if force {
                _ = try changes.deleteGroup(name, force: true)
            } else {
                let members = try GroupStore.members(of: try changes.group(name).name, in: changes.tx).map(\.name)
                guard members.isEmpty else {
                    let shown = members.prefix(5).joined(separator: ", ") + (members.count > 5 ? " and \(members.count - 5) more" : "")
                    throw APIError.deleteConflict(
                        "Group \(name) has members (\(shown)), who would lose what it allows and shed what it denies. Remove them first (muster-controller group remove), or give --force."
                    )
                }
                try Self.keepingAnAdministrator(changes) { _ = try changes.deleteGroup(name, force: true) }
            }
            return ("", Event(operation: "DeleteGroup", subject: .group(name)))
        case .createKey, .setKey, .deleteKey:
            return try performOnKeys(changes, cipher)
        case .putPolicy, .attachPolicy, .detachPolicy, .deletePolicy:
            return try performOnPolicies(changes)
        }
    }

    private static func keepingAnAdministrator(_ changes: CallerChanges, _ change: () throws -> Void) throws {
        do {
            try LastAdministrator.kept(by: change, account: changes.account, policies: PolicyReader(), in: changes.tx)
        } catch let error as APIError where error.code == APIError.deleteConflict("").code {
            throw APIError.deleteConflict(
                "After this nobody with an active key could change anybody's rights any more. Make another administrator first, or give --force."
            )
        }
    }

    private func performOnKeys(_ changes: CallerChanges, _ cipher: AuthenticatedCipher) throws -> (words: String, event: Event?) {
        switch self {
        case .createKey(let user):
            let key = try changes.createKey(for: user, cipher: cipher)
            return (
                "aws_access_key_id = \(key.accessKeyID)\naws_secret_access_key = \(key.secretAccessKey)",
                Event(operation: "CreateAccessKey", subject: .user(user), details: ["accessKeyId": key.accessKeyID])
            )
        case .setKey(let id, let isActive):
            let key = try changes.setKey(id, of: nil, isActive: isActive)
            let details = ["accessKeyId": id, "status": isActive ? "Active" : "Inactive"]
            return ("", Event(operation: "UpdateAccessKey", subject: .user(key.user), details: details))
        case .deleteKey(let id):
            let key = try changes.deleteKey(id, of: nil)
            return ("", Event(operation: "DeleteAccessKey", subject: .user(key.user), details: ["accessKeyId": id]))
        default:
            return ("", nil)
        }
    }

    private func performOnPolicies(_ changes: CallerChanges) throws -> (words: String, event: Event?) {
        switch self {
        case .putPolicy(let name, let document):
            let details = ["policyDigest": Hex.encode(SHA256.hash(Array(document.utf8)))]
            guard let policy = try PolicyStore.policy(name, in: changes.tx) else {
                _ = try changes.createPolicy(name, description: "", document: document)
                return ("", Event(operation: "CreatePolicy", subject: .policy(name), details: details))
            }
            _ = try changes.updatePolicy(policy, document: document)
            return ("", Event(operation: "CreatePolicyVersion", subject: .policy(name), details: details))
        case .attachPolicy(let name, let holder):
            try changes.attach(try changes.policy(name), to: holder.stored)
            return ("", Event(operation: "Attach\(holder.word)Policy", subject: holder.name, details: ["policyName": name]))
        case .detachPolicy(let name, let holder):
            try changes.detach(try changes.policy(name), from: holder.stored)
            return ("", Event(operation: "Detach\(holder.word)Policy", subject: holder.name, details: ["policyName": name]))
        case .deletePolicy(let name):
            try changes.deletePolicy(try changes.policy(name))
            return ("", Event(operation: "DeletePolicy", subject: .policy(name)))
        default:
            return ("", nil)
        }
    }

    private static func tag(_ text: String) throws -> Tag {
        guard let split = text.firstIndex(of: "="), split != text.startIndex else {
            throw ControllerError.badSetting("\"\(text)\" is not KEY=VALUE.")
        }
        return Tag(key: String(text[..<split]), value: String(text[text.index(after: split)...]))
    }
}

extension CallerOrder.Holder {
    var stored: PolicyStore.Holder {
        switch self {
        case .user(let name): .user(name)
        case .group(let name): .group(name)
        }
    }

    var name: CallerName {
        switch self {
        case .user(let name): .user(name)
        case .group(let name): .group(name)
        }
    }

    var word: String {
        switch self {
        case .user: "User"
        case .group: "Group"
        }
    }
}
