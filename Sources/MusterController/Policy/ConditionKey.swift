internal import MusterConfiguration

/// A key that conditions and variables may name. The list is closed: what no request carries would never match, or always. [value]
struct ConditionKey: Sendable, Hashable {
    enum Kind: Sendable, Hashable {
        case text
        /// Its values may be anything its owner made of them: numbers, dates, names.
        case tag
        case arn
        case number
        case date
        case flag
        case address
    }

    /// In IAM's spelling.
    let name: String
    let kind: Kind
    let isMultivalued: Bool

    private static let kinds: [(String, Kind)] = [
        ("aws:CurrentTime", .date), ("aws:EpochTime", .date), ("aws:TokenIssueTime", .date), ("aws:SourceIp", .address),
        ("aws:username", .text), ("aws:userid", .text), ("aws:UserAgent", .text), ("aws:RequestedRegion", .text),
        ("aws:TagKeys", .text), ("aws:PrincipalArn", .arn), ("aws:SecureTransport", .flag),
        ("ssm:DocumentName", .text), ("ssm:SessionDocumentAccessCheck", .flag),
        ("muster:Reason", .text), ("muster:SessionType", .text), ("muster:Destination", .text), ("muster:RunAsUser", .text),
        ("muster:Owner", .text), ("muster:TargetCount", .number),
    ]
    /// Each with the key of a tag behind it.
    private static let families = ["aws:PrincipalTag/", "aws:RequestTag/"] + resourceFamilies
    /// Tags of what is asked about, under two names.
    static let resourceFamilies = ["aws:ResourceTag/", "ssm:resourceTag/"]
    private static let multivalued: Set<String> = ["aws:TagKeys"]
    /// Keys of IAM that policies moved over are likely to have, and why they cannot work here.
    private static let unserved: [String: String] = [
        "aws:multifactorauthpresent": "there is no second factor here yet, so a condition on it would never or always hold",
        "aws:multifactorauthage": "there is no second factor here yet, so a condition on it would never or always hold",
    ]

    private static let known: [String: ConditionKey] = Dictionary(
        uniqueKeysWithValues: kinds.map { name, kind in
            (asciiLowercased(name), ConditionKey(name: name, kind: kind, isMultivalued: multivalued.contains(name)))
        })

    /// The key, in lower case, of the tag that a key of this name is about, if it is one of the resource.
    static func resourceTag(_ name: String) -> String? {
        resourceFamilies.first { name.hasPrefix($0) }.map { asciiLowercased(String(name.dropFirst($0.count))) }
    }

    static func named(_ name: String, at path: String) throws(PolicyError) -> ConditionKey {
        let lower = asciiLowercased(name)
        if let key = known[lower] { return key }
        if let family = families.first(where: { lower.hasPrefix(asciiLowercased($0)) }) {
            let tag = name.dropFirst(family.count)
            guard (1...128).contains(tag.unicodeScalars.count) else {
                throw PolicyError(at: path, "\(family) is followed by the key of a tag, 1 to 128 characters.")
            }
            return ConditionKey(name: family + tag, kind: .tag, isMultivalued: false)
        }
        if let why = unserved[lower] { throw PolicyError(at: path, "\(name.prefix(100)) is not served: \(why).") }
        let nearest = nearestName(to: name, among: kinds.map(\.0) + families.map { $0 + "KEY" })
        throw PolicyError(
            at: path,
            "There is no key '\(name.prefix(100))'"
                + (nearest.map { "; did you mean '\($0)'?" }
                    ?? "; known are \((kinds.map(\.0) + families.map { $0 + "KEY" }).joined(separator: ", ")).")
        )
    }
}
