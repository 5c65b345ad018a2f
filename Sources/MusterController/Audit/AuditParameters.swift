internal import FoundationEssentials
internal import MusterCrypto
internal import MusterWire

/// What an operator asked for, as the audit trail may have it. [value]
///
/// Secrets are masked; texts that people put secrets into (the parameters of commands and sessions, documents) are there as their SHA-256,
/// which proves what was run to whoever may read the record of the command. All else stays, cut where it is long. Members begin with a small
/// letter, as CloudTrail writes them; keys of maps stay as they are.
enum AuditParameters {
    /// CloudTrail's own word.
    static let masked = "HIDDEN_DUE_TO_SECURITY_REASONS"
    private static let longestValue = 1_024
    /// A policy is what its change is about, and may be long (IAM's own limit is 6,144 characters).
    private static let longestPolicy = 8 << 10
    private static let deepest = 8

    /// By the ends of members' names, without regard to case.
    private static let secrets = [
        "password", "secret", "secretaccesskey", "secretkey", "activationcode", "code", "token", "tokenvalue", "sessiontoken", "privatekey",
        "credentials", "passphrase",
    ]
    /// Names of members whose texts are digested.
    private static let digested: Set<String> = ["content", "parameters", "value", "clientcontext", "payload", "commands"]
    private static let policies: Set<String> = ["policydocument", "policy"]
    /// Values that are no secret although their members are called so.
    private static let harmless: Set<String> = ["nexttoken", "clienttoken", "clientrequesttoken"]

    /// Nil when the body is no JSON object; then the call was refused anyway.
    static func text(_ body: [UInt8]) -> [UInt8]? {
        guard let value = try? JSONCoding.decode(JSONValue.self, from: body), case .object(let members) = value, !members.isEmpty else {
            return nil
        }
        return try? JSONCoding.encode(shown(.object(members), depth: 0, digests: false))
    }

    /// Of a call of the query protocol.
    static func text(_ call: QueryCall) -> [UInt8]? {
        let members = call.members
        return members.isEmpty ? nil : try? JSONCoding.encode(shown(.object(members), depth: 0, digests: false))
    }

    private static func shown(_ value: JSONValue, depth: Int, digests: Bool) -> JSONValue {
        guard depth < deepest else { return .string("… (cut: too deep)") }
        switch value {
        case .object(let members):
            // A pair is a filter, a tag or a target: its value is no secret, whatever the member is called.
            let isPair = members.keys.contains { ["key", "attributekey"].contains($0.lowercased()) }
            var shown: [String: JSONValue] = [:]
            for (name, value) in members {
                let lower = name.lowercased()
                let name = AuditRecordText.cut(digests ? name : name.prefix(1).lowercased() + name.dropFirst(), 128)
                if !harmless.contains(lower), secrets.contains(where: { lower.hasSuffix($0) }) {
                    shown[name] = .string(masked)
                } else if policies.contains(lower), case .string(let text) = value {
                    shown[name] = .string(AuditRecordText.cut(text, longestPolicy))
                } else {
                    shown[name] = self.shown(
                        value, depth: depth + 1, digests: digests || digested.contains(lower) && !(isPair && lower == "value"))
                }
            }
            return .object(shown)
        case .array(let values):
            // Of parameters every element is one text; of anything else a reader wants the elements.
            return .array(values.map { shown($0, depth: depth + 1, digests: digests) })
        case .string(let text):
            return .string(digests ? "sha256:" + Hex.encode(SHA256.hash(text)) : AuditRecordText.cut(text, longestValue))
        case .null, .bool, .integer, .number:
            return value
        }
    }
}
