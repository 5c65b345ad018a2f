import MusterWire

/// What SSM asks of tags beyond their characters. [value]
/// https://docs.aws.amazon.com/general/latest/gr/aws_tagging.html
enum TagRules {
    static let maximumPerResource = 50

    /// The tags of one call as a dictionary. Keys that are reserved or given twice are refused.
    static func dictionary(_ tags: [Tag]) throws(APIError) -> [String: String] {
        var found: [String: String] = [:]
        for tag in tags {
            let key = try tag.key.required("tags.key")
            try check(key)
            guard found.updateValue(try tag.value.required("tags.value"), forKey: key) == nil else {
                throw .validation("Tag key '\(key)' is given more than once.")
            }
        }
        try refuseTwins(found)
        return found
    }

    /// Policies know keys without regard to case, so that of two such keys both would count for both: a way around whoever allows one value
    /// only. IAM refuses them, too; SSM does not.
    private static func refuseTwins(_ tags: [String: String]) throws(APIError) {
        var seen: [String: String] = [:]
        for key in tags.keys.sorted() {
            guard let twin = seen.updateValue(key, forKey: key.lowercased()) else { continue }
            throw .validation("Tag keys '\(twin)' and '\(key)' differ in case alone, which policies do not tell apart. Use one of them.")
        }
    }

    static func check(_ key: String) throws(APIError) {
        if key.lowercased().hasPrefix("aws:") {
            throw .validation("Tag key '\(key)' is not valid: keys beginning with aws: are reserved.")
        }
    }

    /// AddTagsToResource: the tags that are there and those that come.
    static func adding(_ tags: [String: String], to present: [String: String]) throws(APIError) -> [String: String] {
        let all = present.merging(tags) { _, new in new }
        // What is there from before this rule does not stand in the way of other tags.
        let added = Set(tags.keys.map { $0.lowercased() })
        try refuseTwins(all.filter { added.contains($0.key.lowercased()) })
        guard all.count <= maximumPerResource else {
            throw .tooManyTags("A resource has at most \(maximumPerResource) tags; this would make \(all.count).")
        }
        return all
    }
}
