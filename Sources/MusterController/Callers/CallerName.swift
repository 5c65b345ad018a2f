internal import MusterCrypto
package import MusterWire

/// What policies are held by, and what they are: named once in an account. [value]
///
/// Names have the characters of session ids, so that a session's id begins with its owner's name as it is, and never with another's.
/// IAM takes `+`, `=` and `,` as well.
package enum CallerName: Sendable, Hashable {
    case user(String)
    case group(String)
    /// A group, as its members may assume it.
    case role(String)
    case policy(String)

    package static let longest = 64

    package func arn(account: String) -> String {
        switch self {
        case .user(let name): "arn:aws:iam::\(account):user/\(name)"
        case .group(let name): "arn:aws:iam::\(account):group/\(name)"
        case .role(let name): "arn:aws:iam::\(account):role/\(name)"
        case .policy(let name):
            BuiltInPolicy.named(name) == nil ? "arn:aws:iam::\(account):policy/\(name)" : "arn:aws:iam::aws:policy/\(name)"
        }
    }

    /// The name in an ARN of this account, nil for anything else.
    package static func policy(inARN arn: String, account: String) -> String? {
        for prefix in ["arn:aws:iam::\(account):policy/", "arn:aws:iam::aws:policy/"] where arn.hasPrefix(prefix) {
            let name = String(arn.dropFirst(prefix.count))
            return isValid(name, longest: 128) && CallerName.policy(name).arn(account: account) == arn ? name : nil
        }
        return nil
    }

    package static func isValid(_ name: String, longest: Int = CallerName.longest) -> Bool {
        (1...longest).contains(name.utf8.count)
            && name.utf8.allSatisfy { byte in
                switch byte {
                case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "0")...UInt8(ascii: "9"):
                    true
                default: "_.@-".utf8.contains(byte)
                }
            }
    }

    static func checked(_ name: String, _ member: String, longest: Int = CallerName.longest) throws(APIError) -> String {
        guard isValid(name, longest: longest) else {
            throw .validation(
                "1 validation error detected: Value at '\(member)' failed to satisfy constraint: names have 1 to \(longest) letters, digits and _.@- here"
            )
        }
        return name
    }

    /// `session/alice-*` is how policies name Alice's sessions: there cannot be an alice-b beside her, whose sessions it would cover too.
    static func collide(_ one: String, _ other: String) -> Bool {
        let (one, other) = (one.lowercased(), other.lowercased())
        return one.hasPrefix(other + "-") || other.hasPrefix(one + "-")
    }
}

/// The ids that IAM gives besides names: four letters that tell the kind, and random ones.
/// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html#identifiers-unique-ids
enum CallerID {
    enum Kind: String {
        case user = "AIDA"
        case group = "AGPA"
        case policy = "ANPA"
    }

    static func make(_ kind: Kind) -> String { kind.rawValue + letters(17) }

    /// A group's, seen as a role.
    static func role(ofGroup id: String) -> String { "AROA" + id.dropFirst(4) }

    /// Capitals and digits that cannot be mistaken for one another; 32 of them, so that every one is as likely.
    static func letters(_ count: Int) -> String {
        let alphabet = Array("ABCDEFGHJKLMNPQRSTUVWXYZ23456789")
        return String(RandomBytes.make(count).map { alphabet[Int($0) % alphabet.count] })
    }
}
