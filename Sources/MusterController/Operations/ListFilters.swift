import MusterWire

/// What the filters of all lists of things in time have in common: a key with one value, each key once. [value]
enum ListFilters {
    static func forEach(
        _ filters: [(key: String?, value: String?)], keys: [String], _ body: (_ key: String, _ value: String) throws -> Void
    ) throws {
        var seen: Set<String> = []
        for filter in filters {
            let key = try filter.key.required("filters.key")
            let value = try filter.value.required("filters.value")
            guard keys.contains(key) else {
                throw APIError.invalidFilterKey("'\(key)' is not a filter here: use \(keys.joined(separator: ", ")).")
            }
            guard seen.insert(key).inserted else { throw APIError.validation("The filter \(key) is given twice.") }
            try body(key, value)
        }
    }

    static func time(_ text: String, _ key: String) throws -> Timestamp {
        guard let time = Timestamp(iso8601: text) else {
            throw APIError.validation("The filter \(key) takes a time such as 2026-07-07T00:00:00Z.")
        }
        return time
    }
}
