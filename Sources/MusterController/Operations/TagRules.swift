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
        return found
    }

    static func check(_ key: String) throws(APIError) {
        if key.lowercased().hasPrefix("aws:") {
            throw .validation("Tag key '\(key)' is not valid: keys beginning with aws: are reserved.")
        }
    }

    /// AddTagsToResource: the tags that are there and those that come.
    static func adding(_ tags: [String: String], to present: [String: String]) throws(APIError) -> [String: String] {
        let all = present.merging(tags) { _, new in new }
        guard all.count <= maximumPerResource else {
            throw .tooManyTags("A resource has at most \(maximumPerResource) tags; this would make \(all.count).")
        }
        return all
    }
}
