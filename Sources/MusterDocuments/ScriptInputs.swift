/// What `aws:runShellScript` and `aws:runPowerShellScript` are given.
///
/// Keys are matched without regard to case, as the agents do.
/// https://docs.aws.amazon.com/systems-manager/latest/userguide/documents-command-ssm-plugin-reference.html#aws-runshellscript
package struct ScriptInputs: Sendable, Hashable {
    package let commands: [String]
    package let workingDirectory: String
    /// As the step asks for it, with the agents' rule: whatever is not within 5 to 172800 counts as 3600.
    package let timeoutSeconds: Int
    package let environment: [String: String]

    package static let defaultTimeoutSeconds = 3600
    package static let timeoutRange = 5...172_800

    /// Reads inputs whose parameters are in place.
    package init(_ inputs: DocumentValue) throws(DocumentError) {
        let members = try Self.members(of: inputs)
        guard let commands = members["runcommand"] else {
            throw DocumentError(.content, at: "runCommand", "Missing. Give the script's lines as a list of strings.")
        }
        guard let lines = commands.strings else {
            throw DocumentError(.content, at: "runCommand", "Must be a list of strings, and is \(Self.shape(of: commands)).")
        }
        guard !lines.contains(where: { $0.utf8.contains(0) }) else {
            throw DocumentError(.content, at: "runCommand", "Holds a NUL character, which no script can.")
        }
        self.commands = lines

        switch members["workingdirectory"] {
        case nil, .null?: workingDirectory = ""
        case .string(let path)?:
            guard !path.utf8.contains(0) else {
                throw DocumentError(.content, at: "workingDirectory", "Holds a NUL character, which no path can.")
            }
            workingDirectory = path
        case let other?: throw DocumentError(.content, at: "workingDirectory", "Must be a string, and is \(other.kind).")
        }

        timeoutSeconds = Self.timeoutSeconds(members["timeoutseconds"])

        var environment: [String: String] = [:]
        switch members["environment"] {
        case nil, .null?: break
        case .object(let variables)?:
            for (name, value) in variables {
                guard !name.isEmpty, !name.utf8.contains(UInt8(ascii: "=")), !name.utf8.contains(0) else {
                    throw DocumentError(.content, at: "environment", "A variable's name may not be empty nor hold '=' or NUL.")
                }
                guard case .string(let text) = value, !text.utf8.contains(0) else {
                    throw DocumentError(.content, at: "environment.\(name)", "Must be a string without NUL characters.")
                }
                environment[name] = text
            }
        case let other?: throw DocumentError(.content, at: "environment", "Must be an object of strings, and is \(other.kind).")
        }
        self.environment = environment
    }

    /// The working directory of a script on Linux; empty when none is given. A relative path has nothing to begin at, and no shell has
    /// put a home in the place of `~`.
    package func absoluteWorkingDirectory() throws(DocumentError) -> String {
        guard workingDirectory.isEmpty || workingDirectory.hasPrefix("/") else {
            throw DocumentError(
                .content, at: "workingDirectory",
                "Must be an absolute path, such as /srv/app, and is '\(workingDirectory.prefix(200))'. "
                    + "A path is not completed, and ~ is not replaced; leave it out for /.")
        }
        return workingDirectory
    }

    /// An integer, a number or numeric text; anything else, or out of range, is the default rather than an error, as it has always
    /// been with the agents.
    package static func timeoutSeconds(_ value: DocumentValue?) -> Int {
        let seconds: Int64? =
            switch value {
            case .integer(let seconds)?: seconds
            case .number(let seconds)?: Int64(exactly: seconds.rounded(.down))
            case .string(let text)?: Int64(text) ?? Double(text).flatMap { Int64(exactly: $0.rounded(.down)) }
            default: nil
            }
        guard let seconds, seconds >= timeoutRange.lowerBound, seconds <= timeoutRange.upperBound else {
            return defaultTimeoutSeconds
        }
        return Int(seconds)
    }

    private static func members(of inputs: DocumentValue) throws(DocumentError) -> [String: DocumentValue] {
        guard let given = inputs.object else { throw DocumentError(.content, "Inputs must be an object, and are \(inputs.kind).") }
        var members: [String: DocumentValue] = [:]
        for (key, value) in given {
            guard members.updateValue(value, forKey: key.lowercased()) == nil else {
                throw DocumentError(.content, at: key, "Given twice, in different case.")
            }
        }
        return members
    }

    private static func shape(of value: DocumentValue) -> String {
        if case .array(let elements) = value, let other = elements.first(where: { $0.string == nil }) {
            return "a list that holds \(other.kind)"
        }
        return value.kind
    }
}
