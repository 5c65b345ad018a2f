import MusterClient
package import MusterWire

/// A user with all that decides what the user may do, in the names of IAM. [value]
package struct UserRecord: Encodable, Sendable {
    package struct Key: Encodable, Sendable {
        package var id: String
        package var status: String

        enum CodingKeys: String, CodingKey {
            case id = "AccessKeyId"
            case status = "Status"
        }
    }

    package var name: String
    package var arn: String
    package var createdAt: String
    package var groups: [String] = []
    package var attachedPolicies: [String] = []
    package var inlinePolicies: [String] = []
    package var tags: [Tag] = []
    package var keys: [Key] = []

    init(_ answer: QueryAnswer) {
        name = answer["UserName"]?.text ?? ""
        arn = answer["Arn"]?.text ?? ""
        createdAt = answer["CreateDate"]?.text ?? ""
    }

    enum CodingKeys: String, CodingKey {
        case name = "UserName"
        case arn = "Arn"
        case createdAt = "CreateDate"
        case groups = "Groups"
        case attachedPolicies = "AttachedPolicies"
        case inlinePolicies = "InlinePolicies"
        case tags = "Tags"
        case keys = "AccessKeys"
    }
}

package struct GroupRecord: Encodable, Sendable {
    package var name: String
    package var arn: String
    package var createdAt: String
    package var members: [String] = []
    package var attachedPolicies: [String] = []
    package var inlinePolicies: [String] = []

    init(_ answer: QueryAnswer) {
        name = answer["GroupName"]?.text ?? ""
        arn = answer["Arn"]?.text ?? ""
        createdAt = answer["CreateDate"]?.text ?? ""
    }

    enum CodingKeys: String, CodingKey {
        case name = "GroupName"
        case arn = "Arn"
        case createdAt = "CreateDate"
        case members = "Users"
        case attachedPolicies = "AttachedPolicies"
        case inlinePolicies = "InlinePolicies"
    }
}

package struct PolicyRecord: Encodable, Sendable {
    package var name: String
    package var arn: String
    package var version: String
    package var updatedAt: String
    /// Who has it: names of users, and `group/NAME`.
    package var holders: [String] = []

    init(_ answer: QueryAnswer) {
        name = answer["PolicyName"]?.text ?? ""
        arn = answer["Arn"]?.text ?? ""
        version = answer["DefaultVersionId"]?.text ?? ""
        updatedAt = answer["UpdateDate"]?.text ?? ""
    }

    enum CodingKeys: String, CodingKey {
        case name = "PolicyName"
        case arn = "Arn"
        case version = "DefaultVersionId"
        case updatedAt = "UpdateDate"
        case holders = "AttachedTo"
    }
}

/// A key as it is shown once.
package struct NewKey: Encodable, Sendable {
    package var user: String
    package var id: String
    package var secret: String
    /// What its owner types: the secret is asked for.
    package var login: String

    enum CodingKeys: String, CodingKey {
        case user = "UserName"
        case id = "AccessKeyId"
        case secret = "SecretAccessKey"
        case login = "Login"
    }
}

/// Whom rights are given to: a user by name, a group as `group/NAME`, which is how policies write approvers. [value]
package enum Holder: Sendable, Hashable {
    case user(String)
    case group(String)

    package init(_ text: String) throws {
        if text.hasPrefix("group/") {
            self = .group(try Self.checked(String(text.dropFirst(6))))
        } else {
            self = .user(try Self.checked(text.hasPrefix("user/") ? String(text.dropFirst(5)) : text))
        }
    }

    /// The rest is the controller's to say.
    private static func checked(_ name: String) throws -> String {
        let plain = name.utf8.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "0")...UInt8(ascii: "9"): true
            default: "_.@-".utf8.contains(byte)
            }
        }
        guard plain, (1...64).contains(name.utf8.count) else {
            throw CommandLineError("\"\(Table.printable(name))\" cannot be a name: names have 1 to 64 letters, digits and _.@-")
        }
        return name
    }

    package var name: String {
        switch self {
        case .user(let name), .group(let name): name
        }
    }

    /// As it stands in the names of IAM's operations and their members.
    var kind: String {
        switch self {
        case .user: "User"
        case .group: "Group"
        }
    }

    var words: String {
        switch self {
        case .user(let name): name
        case .group(let name): "group/\(name)"
        }
    }
}
