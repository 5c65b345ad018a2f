/// What a session does on its host, from the `properties` of its document.
package enum SessionCommand: Sendable, Hashable {
    /// A login shell, into which the profile is typed.
    case shell(profile: String)
    /// A line for a shell, on a terminal.
    case interactive(String, runAsElevated: Bool)
    /// Words that are executed as they are, without a shell and without a terminal.
    case nonInteractive([String], CommandStreams, runAsElevated: Bool)
    case port(PortTarget)

    package var runAsElevated: Bool {
        switch self {
        case .interactive(_, let isElevated), .nonInteractive(_, _, let isElevated): isElevated
        case .shell, .port: false
        }
    }

    init(
        _ type: SessionType, _ properties: DocumentValue, profile: String, isTemplate: Bool = false
    ) throws(DocumentError) {
        guard properties.object != nil || properties == .null else {
            throw DocumentError(.content, at: "properties", "Must be an object, and is \(properties.kind).")
        }
        let members = properties.object ?? [:]
        switch type {
        case .shell:
            guard members.isEmpty else {
                throw DocumentError(
                    .content, at: "properties",
                    "A \(type) session has none; use inputs.shellProfile, or \(SessionType.interactiveCommands).")
            }
            self = .shell(profile: profile)
        case .interactiveCommands:
            let system = try Self.linux(members, besides: [], isTemplate)
            self = .interactive(try system.text("commands"), runAsElevated: try system.flag("runAsElevated", default: false))
        case .nonInteractiveCommands:
            let system = try Self.linux(members, besides: CommandStreams.keys, isTemplate)
            let line = try system.text("commands")
            self = .nonInteractive(
                system.isOpen("commands") ? [] : try Self.words(line), try CommandStreams(system),
                runAsElevated: try system.flag("runAsElevated", default: false))
        case .port:
            self = .port(try PortTarget(members, isTemplate: isTemplate))
        }
    }

    /// Other systems' commands are accepted: one document may serve all of them.
    private static func linux(
        _ members: [String: DocumentValue], besides more: [String], _ isTemplate: Bool
    ) throws(DocumentError) -> Members {
        try DocumentDecoder.refuseUnknown(members, besides: ["linux", "macos", "windows"], at: "properties")
        for (system, value) in members.sorted(by: { $0.key < $1.key }) {
            let path = "properties.\(system)"
            guard let entry = value.object else { throw DocumentError(.content, at: path, "Must be an object, and is \(value.kind).") }
            try DocumentDecoder.refuseUnknown(entry, besides: ["commands", "runAsElevated"] + more, at: path)
        }
        guard let entry = members["linux"]?.object else {
            throw DocumentError(.content, at: "properties.linux", "Missing; it says which commands are run on Linux.")
        }
        let reader = Members(entry, at: "properties.linux", isTemplate: isTemplate)
        guard try !reader.text("commands").isEmpty || reader.isOpen("commands") else {
            throw DocumentError(.content, at: "properties.linux.commands", "Missing or empty.")
        }
        return reader
    }

    private static func words(_ line: String) throws(DocumentError) -> [String] {
        guard let words = ShellWords.split(line) else {
            throw DocumentError(.content, at: "properties.linux.commands", "Has a quotation mark or a backslash without its counterpart.")
        }
        guard !words.isEmpty else { throw DocumentError(.content, at: "properties.linux.commands", "Missing or empty.") }
        return words
    }
}

/// How a command without a terminal sends what it writes.
package struct CommandStreams: Sendable, Hashable {
    static let keys = ["separateOutputStream", "stdOutSeparatorPrefix", "stdErrSeparatorPrefix"]

    /// Both streams live and apart, and the exit code at the end; otherwise all of it when the command has ended.
    package let areSeparate: Bool
    /// Put at the beginning of the output, and after each piece that ended with a line.
    package let outputPrefix: String
    package let errorPrefix: String

    init(_ system: Members) throws(DocumentError) {
        areSeparate = try system.flag("separateOutputStream", default: false)
        outputPrefix = try Self.prefix("stdOutSeparatorPrefix", system)
        errorPrefix = try Self.prefix("stdErrSeparatorPrefix", system)
    }

    private static func prefix(_ key: String, _ system: Members) throws(DocumentError) -> String {
        let text = try system.text(key)
        guard text.utf8.count <= 30, text.utf8.allSatisfy({ $0.isLetterOrDigit || "\r\n_:-".utf8.contains($0) }) else {
            throw DocumentError(
                .content, at: "properties.linux.\(key)", "May have 30 letters, digits, line ends, '_', ':' and '-'.")
        }
        return text
    }
}

/// Where the connections of a port session go.
package struct PortTarget: Sendable, Hashable {
    package enum Address: Sendable, Hashable {
        /// The node itself, if no host is named.
        case port(host: String?, Int)
        /// A unix socket on the node.
        case socket(path: String)
    }

    package let address: Address
    /// Many connections, of which the client opens each; otherwise one, which is there from the start.
    package let isForwarding: Bool

    private static let keys = [
        "portNumber", "host", "type", "localPortNumber", "localUnixSocket", "localConnectionType", "socketPath",
    ]

    package init(_ address: Address, isForwarding: Bool) {
        self.address = address
        self.isForwarding = isForwarding
    }

    init(_ members: [String: DocumentValue], isTemplate: Bool) throws(DocumentError) {
        try DocumentDecoder.refuseUnknown(members, besides: Self.keys, at: "properties")
        let reader = Members(members, at: "properties", isTemplate: isTemplate)
        let type = try reader.text("type")
        guard ["", "LocalPortForwarding"].contains(type) else {
            throw DocumentError(.content, at: "properties.type", "Is LocalPortForwarding, or left out for one connection.")
        }
        isForwarding = type == "LocalPortForwarding"
        // The next three are for the client, which makes of them what it listens on.
        if let local = try Self.port("localPortNumber", reader), !(0...65_535).contains(local) {
            throw DocumentError(.content, at: "properties.localPortNumber", "Must be a port, or 0 for any that is free.")
        }
        _ = try reader.text("localUnixSocket")
        guard try ["", "unix", "tcp"].contains(reader.text("localConnectionType")) else {
            throw DocumentError(.content, at: "properties.localConnectionType", "Is unix or tcp.")
        }

        let socket = try reader.text("socketPath")
        let host = try reader.text("host")
        if !socket.isEmpty || reader.isOpen("socketPath") {
            guard members["portNumber"] == nil, host.isEmpty, !reader.isOpen("host") else {
                throw DocumentError(.content, at: "properties.socketPath", "A socket has neither portNumber nor host.")
            }
            // 107 bytes and a NUL are what sockaddr_un holds.
            guard socket.isEmpty || (socket.hasPrefix("/") && socket.utf8.count <= 107) else {
                throw DocumentError(.content, at: "properties.socketPath", "Must be an absolute path of at most 107 bytes.")
            }
            address = .socket(path: socket)
            return
        }
        guard host.isEmpty || Self.isHost(host) else {
            throw DocumentError(.content, at: "properties.host", "Must be the name or the address of a host.")
        }
        let port = try Self.port("portNumber", reader)
        guard let port = port ?? (reader.isOpen("portNumber") ? 1 : nil), (1...65_535).contains(port) else {
            throw DocumentError(.content, at: "properties.portNumber", "Must be a port, from 1 to 65535.")
        }
        address = .port(host: host.isEmpty ? nil : host, port)
    }

    /// As text, which the stock client needs. -1 for what is no number.
    private static func port(_ key: String, _ reader: Members) throws(DocumentError) -> Int? {
        let text = try reader.text(key)
        if text.isEmpty { return nil }
        return text.utf8.count <= 5 && text.utf8.allSatisfy { (0x30...0x39).contains($0) } ? Int(text) ?? -1 : -1
    }

    private static func isHost(_ text: String) -> Bool {
        text.utf8.count <= 253 && text.utf8.first != UInt8(ascii: "-")
            && text.utf8.allSatisfy { $0.isLetterOrDigit || ".-_:%[]".utf8.contains($0) }
    }
}
