/// Which nodes are meant: by id, by tag, by tag key. Values of one target are alternatives, several targets all have to hold.
package struct Target: Codable, Sendable, Hashable, JavaText {
    package var key: String?
    package var values: [String]?

    package init(key: String? = nil, values: [String]? = nil) {
        self.key = key
        self.values = values
    }

    enum CodingKeys: String, CodingKey {
        case key = "Key"
        case values = "Values"
    }

    package var javaText: String { javaStructure("Target", [("key", self.key), ("values", self.values)]) }
}

package struct Tag: Codable, Sendable, Hashable, JavaText {
    package var key: String?
    package var value: String?

    package init(key: String? = nil, value: String? = nil) {
        self.key = key
        self.value = value
    }

    enum CodingKeys: String, CodingKey {
        case key = "Key"
        case value = "Value"
    }

    package var javaText: String { javaStructure("Tag", [("key", self.key), ("value", self.value)]) }
}

extension Validation {
    mutating func targets(_ path: String, _ targets: [Target]?) {
        self.structures(path, targets, count: 0...5) { validation, target, path in
            validation.string("\(path).key", target.key, .length(1...163), .pattern(.targetKey))
            validation.strings("\(path).values", target.values, count: 0...50)
        }
    }

    package mutating func tags(_ path: String, _ tags: [Tag]?) {
        self.structures(path, tags, count: 0...1000) { validation, tag, path in
            validation.string("\(path).key", tag.key, .required, .length(1...128), .pattern(.tagText))
            validation.string("\(path).value", tag.value, .required, .maximum(256), .pattern(.tagText))
        }
    }

    mutating func instanceIDs(_ path: String, _ ids: [String]?) {
        self.strings(path, ids, count: 0...50, each: .pattern(.instanceID))
    }

    mutating func page(_ maxResults: Int?, _ range: ClosedRange<Int>) {
        self.integer("maxResults", maxResults, range)
    }
}
