package import MusterCrypto
package import MusterWire

/// Users, groups, keys and policies over the network: a part of IAM's own API (version 2010-05-08), so that `aws iam`, SDKs and Terraform
/// do. https://docs.aws.amazon.com/IAM/latest/APIReference/
package struct CallerOperations: Sendable {
    let database: any SQLDatabase
    let cipher: AuthenticatedCipher
    let policies: PolicyReader

    package init(database: any SQLDatabase, cipher: AuthenticatedCipher, policies: PolicyReader) {
        self.database = database
        self.cipher = cipher
        self.policies = policies
    }

    package func register(in table: inout OperationTable) {
        registerUsers(in: &table)
        registerWhatNobodyHas(in: &table)
        registerGroups(in: &table)
        registerKeys(in: &table)
        registerPolicies(in: &table)
        registerHeldPolicies(in: &table)
    }

    // MARK: One shape for all

    private static let userName = QueryOperation.Member.text("UserName", .length(1...128))
    private static let ownName = QueryOperation.Member.text("UserName", .length(1...128), required: false)
    private static let groupName = QueryOperation.Member.text("GroupName", .length(1...128))
    private static let policyName = QueryOperation.Member.text("PolicyName", .length(1...128))
    private static let policyARN = QueryOperation.Member.text("PolicyArn", .length(20...2048))
    private static let document = QueryOperation.Member.text("PolicyDocument", .length(1...131_072))
    private static let keyID = QueryOperation.Member.text("AccessKeyId", .length(16...128))
    private static let paging: [QueryOperation.Member] = [
        .text("Marker", .length(1...320), required: false), .number("MaxItems", 1...1000),
    ]

    typealias Targets = @Sendable (QueryCall, OperationContext) throws -> [AccessTarget]

    private static let onUser: Targets = { call, context in
        [.caller(.user(name(call, context)), context, keys: tagKeys(call))]
    }
    private static let onGroup: Targets = { call, context in [.caller(.group(try call.text("GroupName")), context)] }
    private static let onPolicy: Targets = { call, context in
        let arn = try call.text("PolicyArn")
        // What names no policy of ours will not be found, and is no word for a pattern either.
        guard let name = CallerName.policy(inARN: arn, account: context.account) else { return [.anything] }
        return [.caller(.policy(name), context)]
    }

    /// Whoever names nobody means himself.
    private static func name(_ call: QueryCall, _ context: OperationContext) -> String { call["UserName"] ?? context.caller.userName }

    private static func tagKeys(_ call: QueryCall) -> ConditionKeys {
        RequestTags.keys(call.tags, removed: call.list("TagKeys"))
    }

    private func read(
        _ name: String, _ members: [QueryOperation.Member], _ access: AccessRule<QueryCall>, in table: inout OperationTable,
        _ body: @escaping @Sendable (QueryCall, CallerChanges, OperationContext) throws -> QueryValue
    ) {
        let permission = Self.permission(name)
        table.register(QueryOperation(name, members), of: .identity, permission: permission, access: access, changes: false) {
            [database] call, context in
            try await database.read { tx in
                try body(call, CallerChanges(now: context.now, account: context.account, tx: tx), context)
            }
        }
    }

    /// Change, audit event and the news for those who have to decide again are one transaction.
    private func change(
        _ name: String, _ members: [QueryOperation.Member], _ access: AccessRule<QueryCall>, in table: inout OperationTable,
        _ body: @escaping @Sendable (QueryCall, CallerChanges, OperationContext) throws -> QueryValue
    ) {
        let permission = Self.permission(name)
        table.register(QueryOperation(name, members), of: .identity, permission: permission, access: access, changes: true) {
            [database, policies] call, context in
            try await database.write { tx in
                let changes = CallerChanges(now: context.now, account: context.account, tx: tx)
                let answer = try LastAdministrator.kept(
                    by: { try body(call, changes, context) }, account: context.account, policies: policies, in: tx)
                try MetaStore.advance(.accessRevision, in: tx)
                try AuditLog.append(
                    context.audit(name, resource: Self.subject(call, context), details: Self.details(call, answer)), in: tx)
                return answer
            }
        }
    }

    private static func permission(_ name: String) -> Permission {
        guard let permission = Permission("iam:\(name)") else { preconditionFailure("\(name) is no action") }
        return permission
    }

    private static func subject(_ call: QueryCall, _ context: OperationContext) -> String {
        if let group = call["GroupName"] { return CallerName.group(group).arn(account: context.account) }
        if call["UserName"] != nil || call["AccessKeyId"] != nil {
            return CallerName.user(name(call, context)).arn(account: context.account)
        }
        if let arn = call["PolicyArn"] { return arn }
        if let policy = call["PolicyName"] { return CallerName.policy(policy).arn(account: context.account) }
        return CallerName.user(context.caller.userName).arn(account: context.account)
    }

    /// Names and digests: what a policy says is in the store.
    private static func details(_ call: QueryCall, _ answer: QueryValue) -> [String: String] {
        var details: [String: String] = [:]
        details["createdAccessKeyId"] = answer.text("AccessKeyId")
        for (member, name) in [
            ("UserName", "userName"), ("PolicyName", "policyName"), ("PolicyArn", "policyArn"), ("AccessKeyId", "accessKeyId"),
            ("Status", "status"),
        ] {
            details[name] = call[member]
        }
        if let document = call["PolicyDocument"] { details["policyDigest"] = Hex.encode(SHA256.hash(Array(document.utf8))) }
        let keys = call.tags.compactMap(\.key) + call.list("TagKeys")
        if !keys.isEmpty { details["tagKeys"] = keys.joined(separator: ", ") }
        return details
    }

    /// One page of a list in the order of its names, which the marker is one of.
    private static func page<Element>(
        _ call: QueryCall, _ member: String, _ all: [Element], name: (Element) -> String, _ shape: (Element) throws -> QueryValue
    ) throws -> QueryValue {
        let rest = all.filter { element in call["Marker"].map { name(element) > $0 } ?? true }
        let page = rest.prefix(call.number("MaxItems") ?? 100)
        let isTruncated = page.count < rest.count
        return .members([
            member: .list(try page.map(shape)), "IsTruncated": .flag(isTruncated),
            "Marker": .text(isTruncated ? page.last.map(name) : nil),
        ])
    }

    // MARK: Users

    private func registerUsers(in table: inout OperationTable) {
        change("CreateUser", [Self.userName, .path(), .tags()], .on(Self.onUser), in: &table) { call, changes, _ in
            let user = try changes.createUser(try call.text("UserName"), tags: call.tags)
            return .members(["User": try Self.shape(user, changes, withTags: true)])
        }
        read("GetUser", [Self.ownName], .on(Self.onUser), in: &table) { call, changes, context in
            .members(["User": try Self.shape(try changes.user(Self.name(call, context)), changes, withTags: true)])
        }
        read("ListUsers", [.path("PathPrefix")] + Self.paging, .anything, in: &table) { call, changes, _ in
            try Self.page(call, "Users", try UserStore.all(in: changes.tx), name: \.name) { try Self.shape($0, changes) }
        }
        change("DeleteUser", [Self.userName], .on(Self.onUser), in: &table) { call, changes, _ in
            _ = try changes.deleteUser(try call.text("UserName"))
            return .nothing
        }
        change("TagUser", [Self.userName, .tags(required: true)], .on(Self.onUser), in: &table) { call, changes, _ in
            try changes.tagUser(try call.text("UserName"), call.tags)
            return .nothing
        }
        change("UntagUser", [Self.userName, .texts("TagKeys")], .on(Self.onUser), in: &table) { call, changes, _ in
            try changes.untagUser(try call.text("UserName"), call.list("TagKeys"))
            return .nothing
        }
        read("ListUserTags", [Self.userName] + Self.paging, .on(Self.onUser), in: &table) { call, changes, _ in
            let tags = try changes.tags(of: try changes.user(try call.text("UserName")))
            return try Self.page(call, "Tags", tags, name: { $0.key ?? "" }, Self.shape)
        }
        read("ListGroupsForUser", [Self.userName] + Self.paging, .on(Self.onUser), in: &table) { call, changes, _ in
            let groups = try GroupStore.groups(of: try changes.user(try call.text("UserName")).name, in: changes.tx)
            return try Self.page(call, "Groups", groups, name: \.name) { Self.shape($0, changes) }
        }
    }

    /// What tools look for before they delete a user, and nobody has here: true answers, and empty.
    private func registerWhatNobodyHas(in table: inout OperationTable) {
        let members = [Self.ownName] + Self.paging
        read("ListSSHPublicKeys", members, .on(Self.onUser), in: &table, Self.none("SSHPublicKeys"))
        read("ListMFADevices", members, .on(Self.onUser), in: &table, Self.none("MFADevices"))
        read("ListSigningCertificates", members, .on(Self.onUser), in: &table, Self.none("Certificates"))
        read("ListServiceSpecificCredentials", members, .on(Self.onUser), in: &table, Self.none("ServiceSpecificCredentials"))
        let assigned = QueryOperation.Member.text("AssignmentStatus", .length(1...20), required: false)
        read("ListVirtualMFADevices", [assigned] + Self.paging, .anything, in: &table) { _, _, _ in
            .members(["VirtualMFADevices": .list([]), "IsTruncated": .flag(false)])
        }
        // Deleting one changes nothing either: there is none.
        read("GetLoginProfile", [Self.ownName], .on(Self.onUser), in: &table, Self.noLoginProfile)
        read("DeleteLoginProfile", [Self.ownName], .on(Self.onUser), in: &table, Self.noLoginProfile)
    }

    private typealias Reading = @Sendable (QueryCall, CallerChanges, OperationContext) throws -> QueryValue

    private static func none(_ member: String) -> Reading {
        { call, changes, context in
            _ = try changes.user(name(call, context))
            return .structure([.init(name: member, value: .list([])), .init(name: "IsTruncated", value: .flag(false))])
        }
    }

    private static let noLoginProfile: Reading = { call, changes, context in
        let user = try changes.user(name(call, context))
        throw APIError.noSuchEntity("Login Profile for User \(user.name) cannot be found.")
    }

    private static func shape(_ user: User, _ changes: CallerChanges, withTags: Bool = false) throws -> QueryValue {
        let tags = withTags ? try changes.tags(of: user) : []
        return .members([
            "Path": .text("/"), "UserName": .text(user.name), "UserId": .text(user.id),
            "Arn": .text(CallerName.user(user.name).arn(account: changes.account)), "CreateDate": .time(user.createdAt),
            "Tags": tags.isEmpty ? nil : .list(tags.map(shape)),
        ])
    }

    private static func shape(_ tag: Tag) -> QueryValue { .members(["Key": .text(tag.key), "Value": .text(tag.value)]) }

    // MARK: Groups

    private func registerGroups(in table: inout OperationTable) {
        change("CreateGroup", [Self.groupName, .path()], .on(Self.onGroup), in: &table) { call, changes, _ in
            .members(["Group": Self.shape(try changes.createGroup(try call.text("GroupName")), changes)])
        }
        read("GetGroup", [Self.groupName] + Self.paging, .on(Self.onGroup), in: &table) { call, changes, _ in
            let group = try changes.group(try call.text("GroupName"))
            let page = try Self.page(call, "Users", try GroupStore.members(of: group.name, in: changes.tx), name: \.name) {
                try Self.shape($0, changes)
            }
            guard case .structure(let members) = page else { return page }
            return .structure([.init(name: "Group", value: Self.shape(group, changes))] + members)
        }
        read("ListGroups", [.path("PathPrefix")] + Self.paging, .anything, in: &table) { call, changes, _ in
            try Self.page(call, "Groups", try GroupStore.all(in: changes.tx), name: \.name) { Self.shape($0, changes) }
        }
        change("DeleteGroup", [Self.groupName], .on(Self.onGroup), in: &table) { call, changes, _ in
            _ = try changes.deleteGroup(try call.text("GroupName"))
            return .nothing
        }
        change("AddUserToGroup", [Self.groupName, Self.userName], .on(Self.onGroup), in: &table) { call, changes, _ in
            try changes.add(try call.text("UserName"), to: try call.text("GroupName"))
            return .nothing
        }
        change("RemoveUserFromGroup", [Self.groupName, Self.userName], .on(Self.onGroup), in: &table) { call, changes, _ in
            try changes.remove(try call.text("UserName"), from: try call.text("GroupName"))
            return .nothing
        }
    }

    private static func shape(_ group: Group, _ changes: CallerChanges) -> QueryValue {
        .members([
            "Path": .text("/"), "GroupName": .text(group.name), "GroupId": .text(group.id),
            "Arn": .text(CallerName.group(group.name).arn(account: changes.account)), "CreateDate": .time(group.createdAt),
        ])
    }

    // MARK: Keys

    private func registerKeys(in table: inout OperationTable) {
        change("CreateAccessKey", [Self.ownName], .on(Self.onUser), in: &table) { [cipher] call, changes, context in
            let name = try changes.user(Self.name(call, context)).name
            let key = try changes.createKey(for: name, cipher: cipher)
            return .members([
                "AccessKey": .members([
                    "UserName": .text(name), "AccessKeyId": .text(key.accessKeyID), "Status": .text("Active"),
                    "SecretAccessKey": .text(key.secretAccessKey), "CreateDate": .time(changes.now),
                ])
            ])
        }
        read("ListAccessKeys", [Self.ownName] + Self.paging, .on(Self.onUser), in: &table) { call, changes, context in
            let user = try changes.user(Self.name(call, context))
            let keys = try OperatorKeyStore.keys(of: user.name, in: changes.tx).sorted { $0.accessKeyID < $1.accessKeyID }
            return try Self.page(call, "AccessKeyMetadata", keys, name: \.accessKeyID) { key in
                .members([
                    "UserName": .text(key.user), "AccessKeyId": .text(key.accessKeyID), "Status": .text(key.status),
                    "CreateDate": .time(key.createdAt),
                ])
            }
        }
        change(
            "UpdateAccessKey", [Self.ownName, Self.keyID, .text("Status", .oneOf(["Active", "Inactive"]))], .on(Self.onUser), in: &table
        ) { call, changes, context in
            _ = try changes.setKey(
                try call.text("AccessKeyId"), of: Self.name(call, context), isActive: try call.text("Status") == "Active")
            return .nothing
        }
        change("DeleteAccessKey", [Self.ownName, Self.keyID], .on(Self.onUser), in: &table) { call, changes, context in
            _ = try changes.deleteKey(try call.text("AccessKeyId"), of: Self.name(call, context))
            return .nothing
        }
        read("GetAccessKeyLastUsed", [Self.keyID], .inside, in: &table) { call, changes, context in
            // Whose it is decides; of one that is nobody's nobody is told who may not be told of all.
            let known = try OperatorKeyStore.listed(try call.text("AccessKeyId"), in: changes.tx)
            try context.access.authorize(
                [known.map { .caller(.user($0.user), context) } ?? .caller(.user("*"), context)], in: changes.tx)
            let key = try changes.key(try call.text("AccessKeyId"), of: nil)
            return .members([
                "UserName": .text(key.user),
                "AccessKeyLastUsed": .members([
                    "LastUsedDate": (key.lastUsed?.at).map { .time($0) }, "ServiceName": .text(key.lastUsed?.service ?? "N/A"),
                    "Region": .text(key.lastUsed?.region ?? "N/A"),
                ]),
            ])
        }
    }

    // MARK: Managed policies

    private func registerPolicies(in table: inout OperationTable) {
        change(
            "CreatePolicy", [Self.policyName, .path(), Self.document, .text("Description", .maximum(1000), required: false)],
            .on { call, context in [.caller(.policy(try call.text("PolicyName")), context)] }, in: &table
        ) { call, changes, _ in
            let policy = try changes.createPolicy(
                try call.text("PolicyName"), description: call["Description"] ?? "", document: try call.text("PolicyDocument"))
            return .members(["Policy": try Self.shape(policy, changes)])
        }
        read("GetPolicy", [Self.policyARN], .on(Self.onPolicy), in: &table) { call, changes, _ in
            .members(["Policy": try Self.shape(try changes.policy(arn: try call.text("PolicyArn")), changes)])
        }
        read(
            "ListPolicies",
            [
                .path("PathPrefix"), .text("Scope", .oneOf(["All", "AWS", "Local"]), required: false), .flag("OnlyAttached"),
            ] + Self.paging, .anything, in: &table
        ) { call, changes, _ in
            var found = try PolicyStore.all(in: changes.tx).sorted { $0.name < $1.name }
            if let scope = call["Scope"], scope != "All" { found.removeAll { (BuiltInPolicy.named($0.name) != nil) != (scope == "AWS") } }
            if call.isSet("OnlyAttached") { try found.removeAll { try PolicyStore.holders(of: $0.name, in: changes.tx).isEmpty } }
            return try Self.page(call, "Policies", found, name: \.name) { try Self.shape($0, changes) }
        }
        change("DeletePolicy", [Self.policyARN], .on(Self.onPolicy), in: &table) { call, changes, _ in
            try changes.deletePolicy(try changes.policy(arn: try call.text("PolicyArn")))
            return .nothing
        }
        change(
            "CreatePolicyVersion", [Self.policyARN, Self.document, .flag("SetAsDefault")], .on(Self.onPolicy), in: &table
        ) { call, changes, _ in
            guard call.isSet("SetAsDefault") else {
                throw APIError.validation(
                    "CreatePolicyVersion needs SetAsDefault=true: of a policy only the version in force is kept here.")
            }
            let policy = try changes.updatePolicy(
                try changes.policy(arn: try call.text("PolicyArn")), document: try call.text("PolicyDocument"))
            return .members(["PolicyVersion": Self.version(policy, withDocument: false)])
        }
        read(
            "GetPolicyVersion", [Self.policyARN, .text("VersionId", .length(1...20))], .on(Self.onPolicy), in: &table
        ) { call, changes, _ in
            let policy = try changes.policy(arn: try call.text("PolicyArn"))
            guard try call.text("VersionId") == policy.versionID else {
                throw APIError.noSuchEntity(
                    "Policy \(policy.name) has the version \(policy.versionID) and no other: former ones are not kept.")
            }
            return .members(["PolicyVersion": Self.version(policy, withDocument: true)])
        }
        read("ListPolicyVersions", [Self.policyARN] + Self.paging, .on(Self.onPolicy), in: &table) { call, changes, _ in
            let policy = try changes.policy(arn: try call.text("PolicyArn"))
            return .members(["Versions": .list([Self.version(policy, withDocument: false)]), "IsTruncated": .flag(false)])
        }
        read("ListEntitiesForPolicy", [Self.policyARN] + Self.paging, .on(Self.onPolicy), in: &table) { call, changes, _ in
            let policy = try changes.policy(arn: try call.text("PolicyArn"))
            var (users, groups): ([QueryValue], [QueryValue]) = ([], [])
            for holder in try PolicyStore.holders(of: policy.name, in: changes.tx) {
                switch holder {
                case .user(let name): users.append(.members(["UserName": .text(name), "UserId": .text(try changes.user(name).id)]))
                case .group(let name): groups.append(.members(["GroupName": .text(name), "GroupId": .text(try changes.group(name).id)]))
                }
            }
            return .members([
                "PolicyGroups": .list(groups), "PolicyUsers": .list(users), "PolicyRoles": .list([]), "IsTruncated": .flag(false),
            ])
        }
    }

    private static func shape(_ policy: ManagedPolicy, _ changes: CallerChanges) throws -> QueryValue {
        .members([
            "PolicyName": .text(policy.name), "PolicyId": .text(policy.id),
            "Arn": .text(CallerName.policy(policy.name).arn(account: changes.account)), "Path": .text("/"),
            "DefaultVersionId": .text(policy.versionID),
            "AttachmentCount": .number(try PolicyStore.holders(of: policy.name, in: changes.tx).count),
            "PermissionsBoundaryUsageCount": .number(0), "IsAttachable": .flag(true), "Description": .text(policy.description),
            "CreateDate": .time(policy.createdAt), "UpdateDate": .time(policy.updatedAt),
        ])
    }

    private static func version(_ policy: ManagedPolicy, withDocument: Bool) -> QueryValue {
        .members([
            "Document": withDocument ? .text(PercentEncoding.encoded(policy.document)) : nil, "VersionId": .text(policy.versionID),
            "IsDefaultVersion": .flag(true), "CreateDate": .time(policy.updatedAt),
        ])
    }

    // MARK: What users and groups have

    private func registerHeldPolicies(in table: inout OperationTable) {
        for kind in [HolderKind.user, .group] {
            let (member, access) = kind == .user ? (Self.userName, Self.onUser) : (Self.groupName, Self.onGroup)
            change("Attach\(kind)Policy", [member, Self.policyARN], .on(access), in: &table) { call, changes, _ in
                try changes.attach(try changes.policy(arn: try call.text("PolicyArn")), to: try kind.holder(call))
                return .nothing
            }
            change("Detach\(kind)Policy", [member, Self.policyARN], .on(access), in: &table) { call, changes, _ in
                try changes.detach(try changes.policy(arn: try call.text("PolicyArn")), from: try kind.holder(call))
                return .nothing
            }
            read(
                "ListAttached\(kind)Policies", [member, .path("PathPrefix")] + Self.paging, .on(access), in: &table
            ) { call, changes, _ in
                let names = try PolicyStore.attached(to: try changes.holder(try kind.holder(call)), in: changes.tx)
                return try Self.page(call, "AttachedPolicies", names, name: { $0 }) { name in
                    .members([
                        "PolicyName": .text(name), "PolicyArn": .text(CallerName.policy(name).arn(account: changes.account)),
                    ])
                }
            }
            change("Put\(kind)Policy", [member, Self.policyName, Self.document], .on(access), in: &table) { call, changes, _ in
                try changes.put(
                    try call.text("PolicyName"), document: try call.text("PolicyDocument"), on: try kind.holder(call))
                return .nothing
            }
            read("Get\(kind)Policy", [member, Self.policyName], .on(access), in: &table) { call, changes, _ in
                let holder = try changes.holder(try kind.holder(call))
                let policy = try changes.inline(try call.text("PolicyName"), of: holder)
                return .members([
                    "\(kind)Name": .text(holder.name), "PolicyName": .text(policy.name),
                    "PolicyDocument": .text(PercentEncoding.encoded(policy.document)),
                ])
            }
            read("List\(kind)Policies", [member] + Self.paging, .on(access), in: &table) { call, changes, _ in
                let names = try PolicyStore.inline(of: try changes.holder(try kind.holder(call)), in: changes.tx).map(\.name)
                return try Self.page(call, "PolicyNames", names, name: { $0 }) { .text($0) }
            }
            change("Delete\(kind)Policy", [member, Self.policyName], .on(access), in: &table) { call, changes, _ in
                try changes.deleteInline(try call.text("PolicyName"), of: try kind.holder(call))
                return .nothing
            }
        }
    }

    private enum HolderKind: String, Sendable, CustomStringConvertible {
        case user = "User"
        case group = "Group"

        var description: String { rawValue }

        func holder(_ call: QueryCall) throws -> PolicyStore.Holder {
            self == .user ? .user(try call.text("UserName")) : .group(try call.text("GroupName"))
        }
    }
}

/// The tags of a request as keys of conditions. [value]
enum RequestTags {
    static func keys(_ tags: [Tag], removed: [String] = []) -> ConditionKeys {
        var keys = ConditionKeys()
        for tag in tags {
            guard let key = tag.key, let value = tag.value else { continue }
            // Twins are refused later; until then neither may hide the other.
            keys["aws:RequestTag/\(key)"] = (keys["aws:RequestTag/\(key)"] ?? []) + [value]
        }
        let names = tags.compactMap(\.key) + removed
        if !names.isEmpty { keys["aws:TagKeys"] = names }
        return keys
    }
}
