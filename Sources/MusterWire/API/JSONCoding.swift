import FoundationEssentials

/// JSON as every part of Muster writes and reads it: sorted keys, so that equal values are equal bytes, and plain slashes.
package enum JSONCoding {
    package static func encode(_ value: some Encodable) throws -> [UInt8] {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return Array(try encoder.encode(value))
    }

    package static func decode<T: Decodable>(_ type: T.Type, from bytes: [UInt8]) throws -> T {
        try JSONDecoder().decode(type, from: Data(bytes))
    }

    /// The end of a sentence about what was decoded. Names members, never values: those may be secrets.
    package static func explain(_ error: any Error) -> String {
        guard let error = error as? DecodingError else { return "could not be read." }
        switch error {
        case .typeMismatch(let type, let context):
            return "has the wrong JSON type at '\(Self.path(context.codingPath))': expected \(Self.word(for: type))."
        case .valueNotFound(let type, let context):
            return "has null at '\(Self.path(context.codingPath))': expected \(Self.word(for: type))."
        case .keyNotFound(let key, let context):
            return "lacks '\(Self.path(context.codingPath + [key]))'."
        case .dataCorrupted(let context):
            // The decoder reports a number no type can hold as it reports broken text: without a path.
            return context.codingPath.isEmpty
                ? "is not JSON, or has a number that is out of range."
                : "has a value that cannot be used at '\(Self.path(context.codingPath))'."
        @unknown default:
            return "could not be read."
        }
    }

    private static func path(_ keys: [any CodingKey]) -> String {
        if keys.isEmpty { return "/" }
        // A peer chooses the keys of maps: what is shown of them is bounded.
        return String(
            keys.map { $0.intValue.map { String($0 + 1) } ?? $0.stringValue }.joined(separator: ".").unicodeScalars.prefix(200).map(
                Character.init))
    }

    private static func word(for type: any Any.Type) -> String {
        switch type {
        case is String.Type: "a string"
        case is Bool.Type: "a boolean"
        case is any BinaryInteger.Type: "an integer"
        case is any BinaryFloatingPoint.Type: "a number"
        case is any ArrayOrSet.Type: "a list"
        default: "an object"
        }
    }
}

private protocol ArrayOrSet {}
extension Array: ArrayOrSet {}
extension Set: ArrayOrSet {}
