import MusterClient
import MusterWire

/// Users, groups, keys and policies at the controller, by its IAM API: one function for each question and each change.
struct CallerDirectory: Sendable {
    /// Questions that are asked at the same time.
    private static let asked = 4

    let api: APIClient

    // MARK: Reading

    func users() async throws -> [UserRecord] {
        try await each(try await api.identityList("ListUsers", "Users").map(UserRecord.init)) { try await complete($0) }
    }

    /// Nil if there is none.
    func user(_ name: String) async throws -> UserRecord? {
        guard let answer = try await found({ try await api.identity("GetUser", [("UserName", name)]) }), let user = answer["User"] else {
            return nil
        }
        return try await complete(UserRecord(user))
    }

    private func complete(_ user: UserRecord) async throws -> UserRecord {
        var user = user
        let named = [(name: "UserName", value: user.name)]
        user.groups = try await api.identityList("ListGroupsForUser", "Groups", named).compactMap { $0["GroupName"]?.text }
        (user.attachedPolicies, user.inlinePolicies) = try await policies(of: .user(user.name))
        user.tags = try await api.identityList("ListUserTags", "Tags", named).map { Tag(key: $0["Key"]?.text, value: $0["Value"]?.text) }
        user.keys = try await api.identityList("ListAccessKeys", "AccessKeyMetadata", named).map {
            UserRecord.Key(id: $0["AccessKeyId"]?.text ?? "", status: $0["Status"]?.text ?? "")
        }
        return user
    }

    func groups() async throws -> [GroupRecord] {
        try await each(try await api.identityList("ListGroups", "Groups").map(GroupRecord.init)) { try await complete($0) }
    }

    func group(_ name: String) async throws -> GroupRecord? {
        guard let answer = try await found({ try await api.identity("GetGroup", [("GroupName", name)]) }), let group = answer["Group"]
        else {
            return nil
        }
        return try await complete(GroupRecord(group))
    }

    private func complete(_ group: GroupRecord) async throws -> GroupRecord {
        var group = group
        group.members = try await api.identityList("GetGroup", "Users", [("GroupName", group.name)]).compactMap { $0["UserName"]?.text }
        (group.attachedPolicies, group.inlinePolicies) = try await policies(of: .group(group.name))
        return group
    }

    func policies() async throws -> [PolicyRecord] {
        try await each(try await api.identityList("ListPolicies", "Policies").map(PolicyRecord.init)) { policy in
            var policy = policy
            let answer = try await api.identity("ListEntitiesForPolicy", [("PolicyArn", policy.arn)])
            policy.holders =
                answer.list("PolicyUsers").compactMap { $0["UserName"]?.text }
                + answer.list("PolicyGroups").compactMap { $0["GroupName"]?.text }.map { "group/\($0)" }
            return policy
        }
    }

    /// Names of what is attached, and of what the holder alone has.
    func policies(of holder: Holder) async throws -> (attached: [String], inline: [String]) {
        let named = [(name: "\(holder.kind)Name", value: holder.name)]
        return (
            try await api.identityList("ListAttached\(holder.kind)Policies", "AttachedPolicies", named).compactMap {
                $0["PolicyName"]?.text
            },
            try await api.identityList("List\(holder.kind)Policies", "PolicyNames", named).map(\.text)
        )
    }

    /// The text of a policy that the holder alone has.
    func inlinePolicy(_ name: String, of holder: Holder) async throws -> String {
        let answer = try await api.identity(
            "Get\(holder.kind)Policy", [("\(holder.kind)Name", holder.name), ("PolicyName", name)])
        return try Self.document(answer["PolicyDocument"], name)
    }

    /// The text of a policy that can be attached.
    func policy(_ name: String) async throws -> String {
        let arn = try await arn(ofPolicy: name)
        let version = try await api.identity("GetPolicy", [("PolicyArn", arn)]).value("DefaultVersionId") ?? ""
        let answer = try await api.identity("GetPolicyVersion", [("PolicyArn", arn), ("VersionId", version)])
        return try Self.document(answer["PolicyVersion"]?["Document"], name)
    }

    private static func document(_ answer: QueryAnswer?, _ name: String) throws -> String {
        guard let text = answer.flatMap({ PercentEncoding.decoded($0.text) }) else {
            throw CommandLineError("The controller's answer about the policy \(name) cannot be read.")
        }
        return text
    }

    /// Operations on policies that can be attached take the whole ARN, which has the account in it.
    func arn(ofPolicy name: String) async throws -> String {
        for arn in ["arn:aws:iam::\(try await api.callerIdentity().account):policy/\(name)", "arn:aws:iam::aws:policy/\(name)"] {
            if try await found({ try await api.identity("GetPolicy", [("PolicyArn", arn)]) }) != nil { return arn }
        }
        throw CommandLineError("There is no policy \"\(Table.printable(name))\". `muster policy list` shows them.")
    }

    /// Whose key it is.
    func owner(ofKey id: String) async throws -> String {
        guard let owner = try await api.identity("GetAccessKeyLastUsed", [("AccessKeyId", id)])["UserName"]?.text else {
            throw CommandLineError("The controller does not say whose key \(Table.printable(id)) is.")
        }
        return owner
    }

    // MARK: Changing

    func createUser(_ name: String, tags: [Tag]) async throws {
        try await api.identity("CreateUser", [("UserName", name)] + Self.members(tags))
    }

    func tagUser(_ name: String, _ tags: [Tag]) async throws {
        try await api.identity("TagUser", [("UserName", name)] + Self.members(tags))
    }

    func untagUser(_ name: String, _ keys: [String]) async throws {
        try await api.identity(
            "UntagUser", [("UserName", name)] + keys.enumerated().map { ("TagKeys.member.\($0.offset + 1)", $0.element) })
    }

    /// First what the user may, then the user: whatever interrupts it, no right is left that was to go.
    func delete(_ user: UserRecord) async throws {
        for key in user.keys { try await deleteKey(key.id, of: user.name) }
        for group in user.groups { try await remove(user.name, from: group) }
        try await takeAll(from: .user(user.name), user.attachedPolicies, user.inlinePolicies)
        try await api.identity("DeleteUser", [("UserName", user.name)])
    }

    func createGroup(_ name: String) async throws { try await api.identity("CreateGroup", [("GroupName", name)]) }

    func add(_ user: String, to group: String) async throws {
        try await api.identity("AddUserToGroup", [("GroupName", group), ("UserName", user)])
    }

    func remove(_ user: String, from group: String) async throws {
        try await api.identity("RemoveUserFromGroup", [("GroupName", group), ("UserName", user)])
    }

    func delete(_ group: GroupRecord) async throws {
        for member in group.members { try await remove(member, from: group.name) }
        try await takeAll(from: .group(group.name), group.attachedPolicies, group.inlinePolicies)
        try await api.identity("DeleteGroup", [("GroupName", group.name)])
    }

    private func takeAll(from holder: Holder, _ attached: [String], _ inline: [String]) async throws {
        for name in inline { try await deleteInlinePolicy(name, of: holder) }
        for name in attached { try await detach(try await arn(ofPolicy: name), from: holder) }
    }

    func createKey(of user: String) async throws -> (id: String, secret: String) {
        let answer = try await api.identity("CreateAccessKey", [("UserName", user)])
        guard let id = answer.value("AccessKeyId"), let secret = answer.value("SecretAccessKey") else {
            throw CommandLineError(
                "The controller's answer with the key of \(user) cannot be read. `muster user list` shows its id; delete it.")
        }
        return (id, secret)
    }

    func setKey(_ id: String, of user: String, isActive: Bool) async throws {
        try await api.identity(
            "UpdateAccessKey", [("UserName", user), ("AccessKeyId", id), ("Status", isActive ? "Active" : "Inactive")])
    }

    func deleteKey(_ id: String, of user: String) async throws {
        try await api.identity("DeleteAccessKey", [("UserName", user), ("AccessKeyId", id)])
    }

    /// Saves a policy that can be attached, in place of one of its name. True if there was one.
    func put(_ name: String, _ document: String) async throws -> Bool {
        do {
            try await api.identity("CreatePolicy", [("PolicyName", name), ("PolicyDocument", document)])
            return false
        } catch let error as APIError where error.code == "EntityAlreadyExists" {
            let arn = try await arn(ofPolicy: name)
            try await api.identity(
                "CreatePolicyVersion", [("PolicyArn", arn), ("PolicyDocument", document), ("SetAsDefault", "true")])
            return true
        }
    }

    func deletePolicy(_ arn: String) async throws { try await api.identity("DeletePolicy", [("PolicyArn", arn)]) }

    func attach(_ arn: String, to holder: Holder) async throws {
        try await api.identity("Attach\(holder.kind)Policy", [("\(holder.kind)Name", holder.name), ("PolicyArn", arn)])
    }

    func detach(_ arn: String, from holder: Holder) async throws {
        try await api.identity("Detach\(holder.kind)Policy", [("\(holder.kind)Name", holder.name), ("PolicyArn", arn)])
    }

    func putInlinePolicy(_ name: String, _ document: String, of holder: Holder) async throws {
        try await api.identity(
            "Put\(holder.kind)Policy", [("\(holder.kind)Name", holder.name), ("PolicyName", name), ("PolicyDocument", document)])
    }

    func deleteInlinePolicy(_ name: String, of holder: Holder) async throws {
        try await api.identity("Delete\(holder.kind)Policy", [("\(holder.kind)Name", holder.name), ("PolicyName", name)])
    }

    // MARK: Helpers

    private static func members(_ tags: [Tag]) -> [(name: String, value: String)] {
        tags.enumerated().flatMap { index, tag in
            [("Tags.member.\(index + 1).Key", tag.key ?? ""), ("Tags.member.\(index + 1).Value", tag.value ?? "")]
        }
    }

    private func found(_ call: () async throws -> QueryAnswer) async throws -> QueryAnswer? {
        do {
            return try await call()
        } catch let error as APIError where error.code == "NoSuchEntity" {
            return nil
        }
    }

    /// In the order of the list, a few at a time.
    private func each<Record: Sendable>(
        _ records: [Record], _ complete: @escaping @Sendable (Record) async throws -> Record
    ) async throws -> [Record] {
        try await withThrowingTaskGroup(of: (Int, Record).self) { group in
            var completed = records
            var rest = records.enumerated().makeIterator()
            func next() {
                guard let (index, record) = rest.next() else { return }
                group.addTask { (index, try await complete(record)) }
            }
            for _ in 0..<Self.asked { next() }
            for try await (index, record) in group {
                completed[index] = record
                next()
            }
            return completed
        }
    }
}
