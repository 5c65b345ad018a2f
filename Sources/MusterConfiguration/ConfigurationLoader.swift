import FoundationEssentials
import Glibc

/// Reads a JSON5 configuration strictly: what is not in the schema is refused, by line, with the nearest name that is.
///
/// Environment variables override the file: the prefix, then the key in capitals with `_` between its words (`stateDirectory` is
/// `MUSTER_AGENT_STATE_DIRECTORY`), `__` between levels (`LISTENERS__0__PORT`). Lists and objects are given as JSON5.
package enum ConfigurationLoader {
    package static let maximumBytes = 1 << 20

    /// `reserved`: variables with the prefix that mean something to the program and are not configuration.
    package static func load<C: Decodable & ConfigurationKeys>(
        _ type: C.Type, path: String, environmentPrefix: String, environment: [String: String], reserved: Set<String> = []
    ) throws(ConfigurationError) -> C {
        let text = try read(path, environmentPrefix: environmentPrefix)
        return try load(
            type, text: text, source: path, environmentPrefix: environmentPrefix, environment: environment, reserved: reserved)
    }

    /// `source` is what errors call the text.
    package static func load<C: Decodable & ConfigurationKeys>(
        _ type: C.Type, text: String, source: String = "configuration", environmentPrefix: String = "",
        environment: [String: String] = [:], reserved: Set<String> = []
    ) throws(ConfigurationError) -> C {
        let outline = try ConfigurationOutline(text, source: source)
        var value = try ConfigurationValue(json5: text, source: source)
        try ConfigurationCheck(source: source, outline: outline).check(value, against: .object(C.schema), at: ConfigurationPath())

        if !environmentPrefix.isEmpty {
            let overrides = ConfigurationOverrides(prefix: environmentPrefix, schema: C.schema)
            for (name, setting) in environment.sorted(by: { $0.key < $1.key })
            where name.hasPrefix(environmentPrefix) && !reserved.contains(name) {
                try overrides.apply(name, setting, to: &value)
            }
        }
        do {
            return try JSONDecoder().decode(C.self, from: JSONEncoder().encode(value))
        } catch {
            throw ConfigurationError("\(source): \(explain(error))")
        }
    }

    /// A type may hold members to more than the schema can say; its own words are the best ones.
    private static func explain(_ error: any Error) -> String {
        guard let error = error as? DecodingError else { return String(describing: error) }
        switch error {
        case .keyNotFound(let key, let context):
            let path = ConfigurationPath(context.codingPath + [key])
            return "'\(path)' is missing, and has no default. Add it."
        case .typeMismatch(_, let context), .valueNotFound(_, let context), .dataCorrupted(let context):
            return "'\(ConfigurationPath(context.codingPath))': \(context.debugDescription)"
        @unknown default: return String(describing: error)
        }
    }

    private static func read(_ path: String, environmentPrefix: String) throws(ConfigurationError) -> String {
        let advice = "Put a configuration there (every key has a comment in the one that comes with Muster), or name another with --config."
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else {
            let reason = String(cString: strerror(errno))
            throw ConfigurationError("Cannot open the configuration \(path): \(reason). \(advice)")
        }
        defer { close(descriptor) }
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = Glibc.read(descriptor, &chunk, chunk.count)
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else {
                let reason = String(cString: strerror(errno))
                throw ConfigurationError("Cannot read the configuration \(path): \(reason). \(advice)")
            }
            if count == 0 { break }
            bytes.append(contentsOf: chunk[..<count])
            guard bytes.count <= maximumBytes else {
                throw ConfigurationError("The configuration \(path) is larger than \(maximumBytes) bytes. Is it the right file?")
            }
        }
        guard let text = String(validating: bytes, as: UTF8.self) else {
            throw ConfigurationError("The configuration \(path) is not UTF-8 text. Is it the right file?")
        }
        return text
    }
}
