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

    init(document given: String, parameters: [String: [String]], in tx: any SQLTransaction) throws {
        let record = try DocumentStore.session(named: given, in: tx)
        name = record.name
        content = record.document.content.json
        do {
            resolved = try record.document.resolve(parameters)
        } catch let error as DocumentError {
            throw APIError.invalidParameters(error.description)
        }
        self.parameters = try resolved.parameters.mapValues { value in
            try JSONCoding.decode(JSONValue.self, from: Array(value.json.utf8))
        }
    }

    var sessionType: String { resolved.sessionType.rawValue }
    var idleMinutes: Int { resolved.preferences.idleMinutes }
    var maximumMinutes: Int? { resolved.preferences.maximumMinutes }
    var inputRecorded: Bool { resolved.preferences.recordInput }
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

    /// The caller's tag before the node's, and that before the document's default; none, and the session is refused. Empty where the document does not ask: then the
    /// agent's configuration decides. Port sessions run no program.
    func runAsUser(on node: NodeID, for caller: Principal?, in tx: any SQLTransaction) throws -> String {
        let preferences = resolved.preferences
        if case .port = resolved.command { return "" }
        guard preferences.runAsEnabled, !resolved.command.runAsElevated else { return "" }
        let own = try caller.flatMap { try TagStore.tags(of: $0.user, type: UserStore.tagType, in: tx)[Self.runAsTag] } ?? ""
        if !own.isEmpty {
            guard SessionPreferences.isUserName(own) else {
                throw APIError.validation("The caller's tag \(Self.runAsTag) is not the name of a user.")
            }
            return own
        }
        let tag = try TagStore.tags(of: node.description, type: TagStore.managedInstance, in: tx)[Self.runAsTag] ?? ""
        let user = tag.isEmpty ? preferences.runAsDefaultUser : tag
        guard !user.isEmpty else {
            throw APIError.validation(
                "Document \(name) enables run-as, and nothing names a user: set the tag \(Self.runAsTag) on the caller or on \(node), or runAsDefaultUser in the document."
            )
        }
        guard SessionPreferences.isUserName(user) else {
            throw APIError.validation("The tag \(Self.runAsTag) of \(node) is not the name of a user.")
        }
        return user
    }
}
