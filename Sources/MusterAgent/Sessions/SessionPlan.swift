import MusterDocuments
import MusterWire

/// What an `interactive_shell` asks for: its document, resolved here as the controller has resolved it before. Pure.
struct SessionPlan: Sendable, Equatable {
    let sessionType: String
    let work: SessionCommand
    let shakesHands: Bool
    /// For the handshake of port sessions.
    let properties: JSONValue
    /// Empty if the preferences name none.
    let runAsDefaultUser: String

    init(_ content: StartSessionContent) throws(SessionRefusal) {
        let resolved: ResolvedSession
        do {
            let document = try SessionDocument.decode(json: try JSONCoding.encode(content.documentContent))
            let parameters = try DocumentValue(json: try JSONCoding.encode(content.parameters)).object ?? [:]
            resolved = try document.resolve(delivered: parameters)
            properties = try JSONCoding.decode(JSONValue.self, from: Array(resolved.properties.json.utf8))
        } catch {
            throw SessionRefusal("The document of the session cannot be used: \(error)")
        }
        sessionType = resolved.sessionType.rawValue
        work = resolved.command
        shakesHands = resolved.sessionType.hasHandshake
        runAsDefaultUser = resolved.preferences.runAsEnabled ? resolved.preferences.runAsDefaultUser : ""
    }

    var isPort: Bool { if case .port = work { true } else { false } }

    /// Files go through it: our own program runs at the node, and tells what it moved.
    var isCopy: Bool {
        if case .nonInteractive(let words, _, _) = work { words == SessionCopy.command } else { false }
    }

    /// Whether anything runs at the node, or is opened there, with somebody's rights.
    var needsUser: Bool {
        guard case .port(let target) = work else { return true }
        if case .socket = target.address { return true }
        return false
    }

    /// Whether stdout and stderr go apart to a stock client, which then is told the exit code as well.
    var separatesOutput: Bool {
        if case .nonInteractive(_, let streams, _) = work { streams.areSeparate } else { false }
    }

    /// Of the stream to the client. A terminal has a short one: what waits in it is what Ctrl-C has to wait for.
    func limits(for client: SessionClient) -> ReliableStream.Limits {
        var limits = client.limits
        switch work {
        case .shell, .interactive: limits.maximumUnacknowledgedBytes = min(limits.maximumUnacknowledgedBytes, 512 << 10)
        case .nonInteractive, .port: break
        }
        return limits
    }
}
