/// The value of every parameter of one command, checked against what the document allows.
///
/// Errors name the parameter, never its value.
package struct ParameterBindings: Sendable, Hashable {
    package let values: [String: DocumentValue]

    /// From a request, which carries every value as a list of strings.
    package init(_ given: [String: [String]], for document: Document) throws(DocumentError) {
        try self.init(given, parameters: document.parameters, content: document.content)
    }

    init(
        _ given: [String: [String]], parameters: [String: ParameterDefinition], content: DocumentValue
    ) throws(DocumentError) {
        for name in given.keys.sorted() where parameters[name] == nil {
            let known = parameters.keys.sorted().joined(separator: ", ")
            throw DocumentError(
                .parameters, at: name,
                known.isEmpty ? "Unknown parameter; the document takes none." : "Unknown parameter; the document takes: \(known).")
        }
        var typed: [String: DocumentValue] = [:]
        for (name, texts) in given {
            guard let definition = parameters[name] else { continue }
            // As text it would reach a script, where somebody expected a value or a secret.
            guard !texts.contains(where: Template.hasStoreReference) else {
                throw DocumentError(
                    .parameters, at: name,
                    "It refers to a parameter of the store ({{ssm:…}} or {{ssm-secure:…}}), which is not served yet: give the value itself."
                )
            }
            typed[name] = try definition.value(from: texts)
        }
        let values = try Self.complete(typed, for: parameters)
        let bytes = values.reduce(content.json.utf8.count) { $0 + $1.key.utf8.count + $1.value.json.utf8.count }
        guard bytes <= DocumentDecoder.maximumBytes else {
            throw DocumentError(
                .size, "The document and its parameters are \(bytes) bytes; together they may be \(DocumentDecoder.maximumBytes).")
        }
        self.values = values
    }

    /// From a job, whose values have their JSON types. Values that the document does not declare are kept, as the agents do, if their
    /// name can be referred to at all.
    package init(delivered: [String: DocumentValue], for document: Document) throws(DocumentError) {
        try self.init(delivered: delivered, parameters: document.parameters)
    }

    init(delivered: [String: DocumentValue], parameters: [String: ParameterDefinition]) throws(DocumentError) {
        values = try Self.complete(delivered.filter { ParameterDefinition.isName($0.key) }, for: parameters)
    }

    private static func complete(
        _ given: [String: DocumentValue], for parameters: [String: ParameterDefinition]
    ) throws(DocumentError) -> [String: DocumentValue] {
        var values = given
        for (name, definition) in parameters.sorted(by: { $0.key < $1.key }) {
            if let value = given[name], value != .null {
                try definition.check(value)
            } else if let value = definition.defaultValue {
                values[name] = value
            } else {
                throw DocumentError(.parameters, at: name, "Missing, and the document has no default for it.")
            }
        }
        return values
    }
}

extension ParameterDefinition {
    /// The typed value of what a request gives.
    func value(from texts: [String]) throws(DocumentError) -> DocumentValue {
        func single() throws(DocumentError) -> String {
            guard texts.count == 1 else {
                throw DocumentError(
                    .parameters, at: name, "Of type \(kind.rawValue) and takes exactly one value; \(texts.count) were given.")
            }
            return texts[0]
        }
        switch kind {
        case .string: return .string(try single())
        case .stringList: return .array(texts.map { .string($0) })
        case .integer:
            guard let value = Int64(try single()) else { throw DocumentError(.parameters, at: name, "Must be a whole number.") }
            return .integer(value)
        case .boolean:
            switch try single().lowercased() {
            case "true": return .bool(true)
            case "false": return .bool(false)
            default: throw DocumentError(.parameters, at: name, "Must be true or false.")
            }
        case .stringMap:
            guard case .object(let members)? = try? DocumentValue(json: Array(try single().utf8)) else {
                throw DocumentError(.parameters, at: name, "Must be the text of a JSON object.")
            }
            return .object(members)
        case .mapList:
            var maps: [DocumentValue] = []
            for text in texts {
                switch try? DocumentValue(json: Array(text.utf8)) {
                case .object(let members)?: maps.append(.object(members))
                case .array(let elements)? where texts.count == 1: maps = elements
                default: throw DocumentError(.parameters, at: name, "Each value must be the text of a JSON object.")
                }
            }
            return .array(maps)
        }
    }

    func check(_ value: DocumentValue) throws(DocumentError) {
        guard kind.accepts(value) else {
            throw DocumentError(.parameters, at: name, "Of type \(kind.rawValue), but \(value.kind) was given.")
        }
        if case .array(let elements) = value {
            if let minimumItems, elements.count < minimumItems {
                throw DocumentError(.parameters, at: name, "Needs at least \(minimumItems) values; \(elements.count) were given.")
            }
            if let maximumItems, elements.count > maximumItems {
                throw DocumentError(.parameters, at: name, "Takes at most \(maximumItems) values; \(elements.count) were given.")
            }
        } else if case .object(let members) = value {
            if let minimumItems, members.count < minimumItems {
                throw DocumentError(.parameters, at: name, "Needs at least \(minimumItems) members; \(members.count) were given.")
            }
            if let maximumItems, members.count > maximumItems {
                throw DocumentError(.parameters, at: name, "Takes at most \(maximumItems) members; \(members.count) were given.")
            }
        }
        let elements = value.array ?? [value]
        for element in elements {
            if !allowedValues.isEmpty, !allowedValues.contains(where: { Self.same($0, element) }) {
                let choices = allowedValues.map { $0.string ?? $0.json }.joined(separator: ", ")
                throw DocumentError(.parameters, at: name, "Must be one of: \(choices).")
            }
            if minimumCharacters != nil || maximumCharacters != nil {
                let count = (element.string ?? element.json).unicodeScalars.count
                if let minimumCharacters, count < minimumCharacters {
                    throw DocumentError(.parameters, at: name, "Needs at least \(minimumCharacters) characters; \(count) were given.")
                }
                if let maximumCharacters, count > maximumCharacters {
                    throw DocumentError(.parameters, at: name, "Takes at most \(maximumCharacters) characters; \(count) were given.")
                }
            }
        }
        guard let allowedPattern else { return }
        let matches: Bool
        do {
            matches = try allowedPattern.matches(elements.map { $0.string ?? $0.json })
        } catch {
            throw DocumentError(.parameters, at: name, error.description)
        }
        guard matches else {
            throw DocumentError(.parameters, at: name, "Does not match the allowed pattern \(allowedPattern.text)")
        }
    }

    /// Allowed values of any type may be written as text.
    private static func same(_ allowed: DocumentValue, _ given: DocumentValue) -> Bool {
        allowed == given || (allowed.string ?? allowed.json) == (given.string ?? given.json)
    }
}

extension ParameterDefinition.Kind {
    func accepts(_ value: DocumentValue) -> Bool {
        switch (self, value) {
        case (.string, .string), (.integer, .integer), (.boolean, .bool), (.stringMap, .object): true
        case (.stringList, .array): value.strings != nil
        case (.mapList, .array(let elements)): elements.allSatisfy { $0.object != nil }
        default: false
        }
    }
}
