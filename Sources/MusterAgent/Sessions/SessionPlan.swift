import MusterWire

/// What a session's document asks for, with its parameters put in. Pure.
struct SessionPlan: Sendable, Equatable {
    enum Work: Sendable, Equatable {
        /// A login shell. The profile's lines are typed into it.
        case shell(profile: String)
        case interactive(command: String)
        /// Executed directly, without a shell.
        case nonInteractive(words: [String], separatesOutput: Bool, outputPrefix: String, errorPrefix: String)
        /// - Parameter host: nil is the node itself.
        case port(host: String?, port: Int, isMultiplexable: Bool)
        case socket(path: String, isMultiplexable: Bool)
    }

    var sessionType: String
    var work: Work
    /// For the handshake of port sessions.
    var properties: JSONValue
    var runAsDefaultUser: String?
    var isElevated: Bool

    /// Ports and commands without a terminal begin with a handshake (protocol of the stock agent).
    var shakesHands: Bool {
        switch work {
        case .shell, .interactive: false
        case .nonInteractive, .port, .socket: true
        }
    }

    /// Whether anything runs at the node, or is opened there, with somebody's rights.
    var needsUser: Bool {
        switch work {
        case .shell, .interactive, .nonInteractive, .socket: true
        case .port: false
        }
    }

    /// Of the stream to the client. A terminal has a short one: what waits in it is what Ctrl-C has to wait for.
    func limits(for client: SessionClient) -> ReliableStream.Limits {
        var limits = client.limits
        switch work {
        case .shell, .interactive: limits.maximumUnacknowledgedBytes = min(limits.maximumUnacknowledgedBytes, 512 << 10)
        case .nonInteractive, .port, .socket: break
        }
        return limits
    }

    /// Whether the client is told how the program ended.
    var hasExitCode: Bool {
        switch work {
        case .shell, .interactive, .nonInteractive: true
        case .port, .socket: false
        }
    }
}

extension SessionPlan {
    init(_ content: StartSessionContent) throws(SessionRefusal) {
        guard case .object(let document) = content.documentContent, case .string(let type) = document["sessionType"] else {
            throw SessionRefusal("The document of the session has no sessionType.")
        }
        sessionType = type
        var inputs: [String: JSONValue] = [:]
        if case .object(let object) = document["inputs"] { inputs = object }
        func text(_ value: JSONValue?) -> String {
            guard case .string(var text) = value else { return "" }
            for (name, value) in content.parameters {
                if case .string(let replacement) = value {
                    text = text.replacing("{{ \(name) }}", with: replacement).replacing("{{\(name)}}", with: replacement)
                }
            }
            return text
        }
        var properties: [String: JSONValue] = [:]
        if case .object(let object) = document["properties"] { properties = object.mapValues { if case .string = $0 { .string(text($0)) } else { $0 } } }
        self.properties = .object(properties)
        runAsDefaultUser = text(inputs["runAsDefaultUser"])
        isElevated = false
        var linux: [String: JSONValue] = [:]
        if case .object(let object) = properties["linux"] { linux = object }
        switch type {
        case "Standard_Stream":
            var profile = ""
            if case .object(let object) = inputs["shellProfile"] { profile = text(object["linux"]) }
            work = .shell(profile: profile)
        case "InteractiveCommands": work = .interactive(command: text(linux["commands"]))
        case "NonInteractiveCommands":
            work = .nonInteractive(words: ["/bin/sh", "-c", text(linux["commands"])], separatesOutput: false, outputPrefix: "", errorPrefix: "")
        case "Port":
            let host = text(properties["host"])
            work = .port(
                host: host.isEmpty ? nil : host, port: Int(text(properties["portNumber"])) ?? 0,
                isMultiplexable: text(properties["type"]) == "LocalPortForwarding")
        default: throw SessionRefusal("This agent does not know sessions of type \(type).")
        }
    }
}
