/// A Session document (schema 1.0) that has passed every check: what kind of session, with which preferences, and what runs in it.
///
/// https://docs.aws.amazon.com/systems-manager/latest/userguide/session-manager-schema.html
package struct SessionDocument: Sendable, Hashable {
    package static let schemaVersion = "1.0"

    package let description: String
    package let sessionType: SessionType
    package let inputs: DocumentValue
    package let parameters: [String: ParameterDefinition]
    package let properties: DocumentValue
    /// The document as it came, for storing, showing and sending to a host.
    package let content: DocumentValue

    package static func decode(json: [UInt8]) throws(DocumentError) -> SessionDocument {
        guard json.count <= DocumentDecoder.maximumBytes else {
            throw DocumentError(.size, "The document is \(json.count) bytes; it may be \(DocumentDecoder.maximumBytes).")
        }
        return try SessionDocument(try DocumentValue(json: json))
    }

    package static func decode(_ value: DocumentValue) throws(DocumentError) -> SessionDocument {
        guard !value.isTooDeep else {
            throw DocumentError(.content, "Nested more than \(DocumentValue.maximumDepth) levels deep.")
        }
        let bytes = value.json.utf8.count
        guard bytes <= DocumentDecoder.maximumBytes else {
            throw DocumentError(.size, "The document is \(bytes) bytes; it may be \(DocumentDecoder.maximumBytes).")
        }
        return try SessionDocument(value)
    }

    private init(_ content: DocumentValue) throws(DocumentError) {
        guard let members = content.object else {
            throw DocumentError(.content, "A document is a JSON object, and this is \(content.kind).")
        }
        guard members["schemaVersion"] == .string(Self.schemaVersion) else {
            throw DocumentError(.schemaVersion, at: "schemaVersion", "A Session document has the string \"\(Self.schemaVersion)\".")
        }
        try DocumentDecoder.refuseUnknown(
            members, besides: ["schemaVersion", "description", "sessionType", "inputs", "parameters", "properties"], at: "")
        guard let type = members["sessionType"]?.string.flatMap(SessionType.init(rawValue:)) else {
            let known = SessionType.allCases.map(\.rawValue).joined(separator: ", ")
            throw DocumentError(.content, at: "sessionType", "Must be one of \(known).")
        }
        description = try DocumentDecoder.optionalString(members["description"], at: "description") ?? ""
        sessionType = type
        inputs = members["inputs"] ?? .null
        properties = members["properties"] ?? .null
        self.content = content
        var parameters: [String: ParameterDefinition] = [:]
        if let given = members["parameters"], given != .null {
            guard let definitions = given.object else {
                throw DocumentError(.content, at: "parameters", "Must be an object, and is \(given.kind).")
            }
            for (name, definition) in definitions.sorted(by: { $0.key < $1.key }) {
                parameters[name] = try DocumentDecoder.parameter(name, definition, version: Self.schemaVersion, hasEnvironment: false)
            }
        }
        self.parameters = parameters
        try refuseUnknownReferences(in: inputs, at: "inputs")
        try refuseUnknownReferences(in: properties, at: "properties")
        // What no parameter has a part in is right or wrong already now.
        _ = try SessionPreferences(inputs, isTemplate: true)
        _ = try SessionCommand(sessionType, properties, profile: "", isTemplate: true)
    }

    private func refuseUnknownReferences(in value: DocumentValue, at path: String) throws(DocumentError) {
        switch value {
        case .null, .bool, .integer, .number: break
        case .string(let text):
            guard !Template.hasStoreReference(text) else {
                throw DocumentError(.content, at: path, "References to parameters of the store ({{ssm:…}}) are not served yet.")
            }
            for name in Template.references(in: text) where parameters[name] == nil {
                throw DocumentError(.content, at: path, "Refers to the parameter '\(name.prefix(128))', which is not declared.")
            }
        case .array(let elements):
            for (index, element) in elements.enumerated() { try refuseUnknownReferences(in: element, at: "\(path)[\(index)]") }
        case .object(let members):
            for (key, member) in members.sorted(by: { $0.key < $1.key }) {
                try refuseUnknownReferences(in: member, at: "\(path).\(key.prefix(100))")
            }
        }
    }

    /// Commands name their systems; all else is the same everywhere.
    package var platformTypes: [Platform] {
        guard sessionType == .interactiveCommands || sessionType == .nonInteractiveCommands else { return Platform.allCases }
        return Platform.allCases.filter { properties[$0.rawValue.lowercased()] != nil }
    }

    // MARK: Resolving

    /// From a request, which carries every value as a list of strings.
    package func resolve(_ given: [String: [String]]) throws(DocumentError) -> ResolvedSession {
        try resolve(ParameterBindings(given, parameters: parameters, content: content))
    }

    /// From an `interactive_shell`, whose values have their JSON types.
    package func resolve(delivered: [String: DocumentValue]) throws(DocumentError) -> ResolvedSession {
        try resolve(ParameterBindings(delivered: delivered, parameters: parameters))
    }

    private func resolve(_ bindings: ParameterBindings) throws(DocumentError) -> ResolvedSession {
        let template = Template(values: bindings.values)
        let size = template.size(of: inputs) + template.size(of: properties)
        guard size <= DocumentDecoder.maximumBytes else {
            throw DocumentError(
                .size, "With its parameters in place the document is \(size) bytes; it may be \(DocumentDecoder.maximumBytes).")
        }
        let preferences = try SessionPreferences(template.resolve(inputs))
        let properties = template.resolve(properties)
        return ResolvedSession(
            sessionType: sessionType, preferences: preferences, parameters: bindings.values, properties: properties,
            command: try SessionCommand(sessionType, properties, profile: preferences.shellProfile))
    }
}

package enum SessionType: String, Sendable, Hashable, CaseIterable, CustomStringConvertible {
    case shell = "Standard_Stream"
    case interactiveCommands = "InteractiveCommands"
    case nonInteractiveCommands = "NonInteractiveCommands"
    case port = "Port"

    package var description: String { rawValue }

    /// Whether the agent and the client shake hands before anything else.
    package var hasHandshake: Bool { self == .port || self == .nonInteractiveCommands }
}

/// A session's document with its parameters in place.
package struct ResolvedSession: Sendable, Hashable {
    package let sessionType: SessionType
    package let preferences: SessionPreferences
    /// Every parameter's value, defaults included, as an agent wants it: text for String parameters.
    package let parameters: [String: DocumentValue]
    /// As the client of a port session gets them in its handshake.
    package let properties: DocumentValue
    package let command: SessionCommand
}
