import MusterDocuments
import MusterWire

/// A session document with the caller's parameters: checked, resolved, and ready for the agent. [value]
///
/// The agent resolves the same content again with the same code; what is bad is refused here, before any host sees it.
struct SessionOrder {
    /// Of a user or a node: who the user's sessions, or the node's, run as where the document turns run-as on.
    static let runAsTag = "SSMSessionRunAs"

    let name: String
    let content: String
    /// As an agent takes them: text for String parameters, defaults included.
    let parameters: [String: JSONValue]
    private let resolved: ResolvedSession
    /// Of the document's own inputs; of the preferences where it has none: run-as is one setting for all that opens a session.
    private let runAs: (isEnabled: Bool, defaultUser: String, document: String)

    init(document given: String, parameters: [String: [String]], in tx: any SQLTransaction) throws {
        let record = try DocumentStore.session(named: given, in: tx)
        name = record.name
        content = record.document.content.json
        do {
            resolved = try record.document.resolve(parameters)
        } catch let error as DocumentError {
            throw APIError.invalidParameters(error.description)
        }
        if record.document.content.object?["inputs"] == nil, name != BuiltInSessionDocument.preferences {
            let general = try DocumentStore.session(named: BuiltInSessionDocument.preferences, in: tx)
            let preferences = try general.document.resolve([:]).preferences
            runAs = (preferences.runAsEnabled, preferences.runAsDefaultUser, general.name)
        } else {
            runAs = (resolved.preferences.runAsEnabled, resolved.preferences.runAsDefaultUser, name)
        }
        self.parameters = try resolved.parameters.mapValues { value in
            try JSONCoding.decode(JSONValue.self, from: Array(value.json.utf8))
        }
    }

    var sessionType: String { resolved.sessionType.rawValue }
    var idleMinutes: Int { resolved.preferences.idleMinutes }
    var maximumMinutes: Int? { resolved.preferences.maximumMinutes }
    var inputRecorded: Bool { resolved.preferences.recordInput }
    /// What is piped keeps its beginning; a terminal is recorded always.
    var isPiped: Bool {
        if case .nonInteractive = resolved.command { !resolved.preferences.recordAll } else { false }
    }
    var recordingRequired: Bool { resolved.preferences.recordingRequired }

    /// What the recording says of it.
    var properties: [String: String] {
        switch resolved.command {
        case .shell:
            return [:]
        case .interactive(let line, let isElevated):
            return ["commands": line, "runAsElevated": String(isElevated)]
        case .nonInteractive(let words, _, let isElevated):
            return ["commands": words.joined(separator: " "), "runAsElevated": String(isElevated)]
        case .port(let target):
            let type = target.isForwarding ? "LocalPortForwarding" : "Stream"
            switch target.address {
            case .port(let host, let port): return ["host": host ?? "localhost", "port": String(port), "type": type]
            case .socket(let path): return ["socket": path, "type": type]
            }
        }
    }

    /// Where a port session leads: `host:port`, or the path of a socket.
    var destination: String? {
        guard case .port(let target) = resolved.command else { return nil }
        switch target.address {
        case .port(let host, let port): return "\(host ?? "localhost"):\(port)"
        case .socket(let path): return path
        }
    }

    /// The caller's tag before the node's, and that before the document's default; none, and the session is refused. Empty where run-as is off:
    /// then the agent's configuration decides. A tag that would not be heeded refuses the session: whoever set it believes that it is in force.
    func runAsUser(on node: NodeID, for caller: Principal?, in tx: any SQLTransaction) throws -> String {
        guard runsOrOpens, !resolved.command.runAsElevated else { return "" }
        let own = try caller.flatMap { try TagStore.tags(of: $0.user, type: UserStore.tagType, in: tx)[Self.runAsTag] } ?? ""
        let tag = try TagStore.tags(of: node.description, type: TagStore.managedInstance, in: tx)[Self.runAsTag] ?? ""
        guard runAs.isEnabled else {
            guard own.isEmpty, tag.isEmpty else {
                throw APIError.validation(
                    "The tag \(Self.runAsTag) of \(own.isEmpty ? node.description : "the caller") names the user that sessions are to run as, and run-as is off, so that the session would run as another one. Turn it on with runAsEnabled: true in document \(runAs.document) (one update-document), or remove the tag."
                )
            }
            return ""
        }
        if !own.isEmpty {
            guard SessionPreferences.isUserName(own) else {
                throw APIError.validation("The caller's tag \(Self.runAsTag) is not the name of a user.")
            }
            return own
        }
        let user = tag.isEmpty ? runAs.defaultUser : tag
        guard !user.isEmpty else {
            throw APIError.validation(
                "Document \(runAs.document) enables run-as, and nothing names a user: set the tag \(Self.runAsTag) on the caller or on \(node), or runAsDefaultUser in the document."
            )
        }
        guard SessionPreferences.isUserName(user) else {
            throw APIError.validation("The tag \(Self.runAsTag) of \(node) is not the name of a user.")
        }
        return user
    }

    /// Whether anything runs at the node, or is opened there, with somebody's rights.
    private var runsOrOpens: Bool {
        guard case .port(let target) = resolved.command else { return true }
        if case .socket = target.address { return true }
        return false
    }
}
