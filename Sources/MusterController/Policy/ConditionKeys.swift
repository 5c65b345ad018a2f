/// What a request says about itself: keys of conditions, each with one or more values. [value]
///
/// Names are compared without regard to case, as IAM does; so the tags `env` and `Env` of one node are one key with two values.
/// A key without values is one that is absent.
package struct ConditionKeys: Sendable, Hashable, Codable {
    private var values: [String: [String]] = [:]

    package init(_ keys: [String: [String]] = [:]) {
        for (name, values) in keys.sorted(by: { $0.key < $1.key }) { self[name] = (self[name] ?? []) + values }
    }

    package subscript(name: String) -> [String]? {
        get { values[asciiLowercased(name)] }
        set { values[asciiLowercased(name)] = newValue?.isEmpty == true ? nil : newValue }
    }

    /// Lowercased, in order.
    package var names: [String] { values.keys.sorted() }

    /// These, with the others' values in place of what has the same name.
    package func merging(_ others: ConditionKeys) -> ConditionKeys {
        var merged = self
        merged.values.merge(others.values) { $1 }
        return merged
    }

    package init(from decoder: any Decoder) throws {
        self.init(try decoder.singleValueContainer().decode([String: [String]].self))
    }

    package func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(values)
    }
}

/// Letters of other alphabets stay as they are: the Kelvin sign is not a `k`.
func asciiLowercased(_ text: String) -> String {
    guard text.utf8.contains(where: { (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains($0) }) else { return text }
    return String(decoding: text.utf8.map { (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains($0) ? $0 | 0x20 : $0 }, as: UTF8.self)
}
