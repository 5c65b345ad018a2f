package import MusterWire

/// Where a frame comes from.
package enum SessionSide: String, Sendable {
    case client
    case agent
}

/// Sees every frame of a session, both directions, in the order in which it will be passed on, before it is passed on: data, repeats of
/// data, and what the agent says of the session's state. An `agent_task_complete` that comes by the control channel is passed too.
///
/// Thread-safe, and synchronous: when `pass` returns, what it saw has been given to the system (write(2)).
package protocol SessionTap: Sendable {
    /// Throwing ends the session. Whether a recording that cannot be written does so is decided here, by `SessionFacts.recordingRequired`;
    /// a peer that sends other bytes under a number it has used already always does.
    func pass(_ frame: AgentMessage, from side: SessionSide) throws(RecordingFailure)
    func noted(_ note: SessionNote)
    /// Closes, signs and commits. Nothing is passed afterwards.
    func ended(_ reason: String) async
}

/// What happens to a session beside its frames.
package enum SessionNote: Sendable, Equatable {
    case clientConnected(address: String)
    case clientLost
    case agentConnected(address: String)
    case agentLost
    case watcherJoined(name: String)
    /// The controller was restarted while the session was open.
    case controllerRestarted
}

/// Why a session cannot go on: constant text, for the session's owner and for the log.
package struct RecordingFailure: Error, Sendable, Equatable, CustomStringConvertible {
    package let reason: String

    package init(_ reason: String) { self.reason = reason }

    package var description: String { reason }
}

/// What is known of a session when it begins.
package struct SessionFacts: Sendable, Equatable, Codable {
    package let id: SessionID
    package let node: NodeID
    package let ownerARN: String
    package let ownerName: String
    package let document: String
    /// `Standard_Stream`, `InteractiveCommands`, `NonInteractiveCommands` or `Port`.
    package let sessionType: String
    package let reason: String
    package let started: Timestamp
    package let inputRecorded: Bool
    package let recordingRequired: Bool
    /// Of a command session: what is run. Of a port session: where to (`host`, `port`, `socket`, `type`), as resolved.
    package let properties: [String: String]
    /// A terminal's every byte is kept, a flow is only counted and digested.
    package let kind: RecordingKind
    /// A command without a terminal, of which the beginning is kept. Nil in what an earlier release has stored.
    package let isPiped: Bool?
    /// As whom it was ordered to run; nil or empty where the node decides.
    package let runAsUser: String?

    package var keepsBeginning: Bool { kind == .terminal && isPiped == true }
    /// What is run, if it was said; nothing of a shell.
    package var command: String? { properties["commands"] }

    /// - Parameter kind: by the type of the session, if it is not said.
    package init(
        id: SessionID, node: NodeID, ownerARN: String, ownerName: String, document: String, sessionType: String, reason: String = "",
        started: Timestamp, inputRecorded: Bool = false, recordingRequired: Bool = true, properties: [String: String] = [:],
        kind: RecordingKind? = nil, isPiped: Bool? = nil, runAsUser: String? = nil
    ) {
        self.isPiped = isPiped
        self.runAsUser = runAsUser
        self.id = id
        self.node = node
        self.ownerARN = ownerARN
        self.ownerName = ownerName
        self.document = document
        self.sessionType = sessionType
        self.reason = reason
        self.started = started
        self.inputRecorded = inputRecorded
        self.recordingRequired = recordingRequired
        self.properties = properties
        // Files are no terminal: their transfers are recorded, with digests, and not their bytes.
        self.kind = kind ?? (sessionType == "Port" || document == "Muster-CopyFiles" ? .flow : .terminal)
    }
}

/// Makes the taps.
package protocol SessionTaps: Sendable {
    /// Throws when the session cannot be recorded and has to be. What makes the session durable comes first, then this, then the first frame.
    func begin(_ facts: SessionFacts) async throws -> any SessionTap
    /// After a restart of the controller, for a session that was open: goes on behind what is already there.
    func resume(_ facts: SessionFacts) async throws -> any SessionTap
}
