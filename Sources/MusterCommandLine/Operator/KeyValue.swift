/// `KEY=VALUE` arguments. [value]
package enum KeyValue {
    package static func pair(_ text: String) throws -> (key: String, value: String) {
        guard let equals = text.firstIndex(of: "="), equals != text.startIndex else {
            throw CommandLineError("Cannot read \"\(text)\": write KEY=VALUE.")
        }
        return (String(text[..<equals]), String(text[text.index(after: equals)...]))
    }

    /// Repeated keys become lists, in order.
    package static func lists(_ texts: [String]) throws -> [String: [String]] {
        try texts.reduce(into: [:]) { lists, text in
            let (key, value) = try pair(text)
            lists[key, default: []].append(value)
        }
    }
}
