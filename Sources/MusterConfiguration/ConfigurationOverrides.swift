/// Puts an environment variable in the place of what the file says.
struct ConfigurationOverrides {
    let prefix: String
    let schema: [String: ConfigurationSchema]

    func apply(_ name: String, _ setting: String, to value: inout ConfigurationValue) throws(ConfigurationError) {
        let components = Self.components(String(name.dropFirst(prefix.count)))
        try apply(components[...], setting, to: &value, schema: .object(schema), name: name, prefix: prefix)
    }

    private func apply(
        _ components: ArraySlice<String>, _ setting: String, to value: inout ConfigurationValue, schema: ConfigurationSchema,
        name: String, prefix: String
    ) throws(ConfigurationError) {
        if case .optional(let inner) = schema, !components.isEmpty {
            return try apply(components, setting, to: &value, schema: inner, name: name, prefix: prefix)
        }
        guard let component = components.first else {
            value = try read(setting, as: schema, name: name)
            return
        }
        switch schema {
        case .object(let schemas):
            guard let key = schemas.keys.first(where: { Self.variableName($0) == component }), let inner = schemas[key] else {
                let nearest = nearestName(to: component, among: schemas.keys.map(Self.variableName))
                let known = schemas.keys.map { prefix + Self.variableName($0) }.sorted().joined(separator: ", ")
                throw ConfigurationError(
                    "Unknown environment variable \(name)"
                        + (nearest.map { "; did you mean \(prefix)\($0)?" } ?? "; known are \(known)."))
            }
            var members: [String: ConfigurationValue] = if case .object(let members) = value { members } else { [:] }
            var member = members[key] ?? .null
            try apply(components.dropFirst(), setting, to: &member, schema: inner, name: name, prefix: "\(prefix)\(component)__")
            members[key] = member
            value = .object(members)
        case .list(let inner):
            var elements: [ConfigurationValue] = if case .list(let elements) = value { elements } else { [] }
            guard let index = Int(component), index >= 0, index <= elements.count else {
                throw ConfigurationError(
                    "Environment variable \(name): '\(component)' must be a number from 0 to \(elements.count), "
                        + "an element of the list or the place after its last.")
            }
            if index == elements.count { elements.append(.null) }
            try apply(components.dropFirst(), setting, to: &elements[index], schema: inner, name: name, prefix: "\(prefix)\(component)__")
            value = .list(elements)
        default:
            throw ConfigurationError("Unknown environment variable \(name): there is nothing below \(prefix.dropLast(2)).")
        }
    }

    private func read(
        _ setting: String, as schema: ConfigurationSchema, name: String
    ) throws(ConfigurationError) -> ConfigurationValue {
        let value: ConfigurationValue? =
            switch schema {
            case .string: .string(setting)
            case .choice(let texts): texts.contains(setting) ? .string(setting) : nil
            case .integer(let range): Int(setting).flatMap { range.contains($0) ? .integer($0) : nil }
            case .number(let range): Double(setting).flatMap { range.contains($0) ? .number($0) : nil }
            case .boolean: setting == "true" ? .boolean(true) : setting == "false" ? .boolean(false) : nil
            case .optional(let inner): setting.isEmpty || setting == "null" ? .null : try read(setting, as: inner, name: name)
            case .list, .object: try structure(setting, schema: schema, name: name)
            }
        guard let value else { throw ConfigurationError("Environment variable \(name) must be \(schema.wanted).") }
        return value
    }

    private func structure(
        _ setting: String, schema: ConfigurationSchema, name: String
    ) throws(ConfigurationError) -> ConfigurationValue {
        let source = "Environment variable \(name)"
        let outline = try ConfigurationOutline(setting, source: source)
        let value = try ConfigurationValue(json5: setting, source: source)
        try ConfigurationCheck(source: source, outline: outline).check(value, against: schema, at: ConfigurationPath())
        return value
    }

    /// `A__B_C` is `A`, then `B_C`.
    private static func components(_ text: String) -> [String] {
        var components = [""]
        var rest = Substring(text)
        while let first = rest.first {
            if rest.hasPrefix("__") {
                components.append("")
                rest = rest.dropFirst(2)
            } else {
                components[components.count - 1].append(first)
                rest = rest.dropFirst()
            }
        }
        return components
    }

    /// `stateDirectory` is `STATE_DIRECTORY`.
    static func variableName(_ key: String) -> String {
        var name = ""
        var previousIsLower = false
        for character in key {
            if character.isUppercase, previousIsLower { name += "_" }
            previousIsLower = character.isLowercase || character.isNumber
            name += character.uppercased()
        }
        return name
    }
}
