/// What a configuration may hold. The loader refuses everything else by name and line.
///
///     package static let schema: [String: ConfigurationSchema] = [
///         "stateDirectory": .string,
///         "queuedJobs": .integer(1...1000),
///         "authorities": .optional(.string),
///         "listeners": .list(.object(["address": .string, "port": .integer(0...65535)])),
///     ]
package indirect enum ConfigurationSchema: Sendable, Hashable {
    case string
    /// One of these texts.
    case choice([String])
    case integer(ClosedRange<Int>)
    case number(ClosedRange<Double>)
    case boolean
    case list(ConfigurationSchema)
    case object([String: ConfigurationSchema])
    /// May be null, which is the same as leaving it out.
    case optional(ConfigurationSchema)

    package static let strings = ConfigurationSchema.list(.string)

    /// What is wanted, in an error.
    var wanted: String {
        switch self {
        case .string: "a string"
        case .choice(let texts): "one of \(texts.map { "'\($0)'" }.joined(separator: ", "))"
        case .integer(let range) where range.upperBound == .max: "a whole number, \(range.lowerBound) or more"
        case .integer(let range): "a whole number from \(range.lowerBound) to \(range.upperBound)"
        case .number(let range): "a number from \(range.lowerBound) to \(range.upperBound)"
        case .boolean: "true or false"
        case .list: "a list"
        case .object: "an object"
        case .optional(let schema): "\(schema.wanted), or null"
        }
    }
}

/// A type that the loader can fill. Give every member that may be left out its default in `init(from:)`.
package protocol ConfigurationKeys {
    static var schema: [String: ConfigurationSchema] { get }
}
