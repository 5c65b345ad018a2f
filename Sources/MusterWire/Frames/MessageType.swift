/// What a frame is about. Unknown names are legal: a receiver ignores them.
package struct MessageType: RawRepresentable, Sendable, Hashable, CustomStringConvertible {
    package static let maximumLength = 32

    package let rawValue: String

    /// 1 to 32 printable ASCII characters without spaces, which is what fits the field and survives its padding.
    package init?(rawValue: String) {
        let bytes = rawValue.utf8
        guard (1...Self.maximumLength).contains(bytes.count), bytes.allSatisfy({ $0 > 0x20 && $0 < 0x7f }) else { return nil }
        self.rawValue = rawValue
    }

    private init(known: String) { self.rawValue = known }

    package var description: String { self.rawValue }

    // Control channel
    package static let agentJob = MessageType(known: "agent_job")
    package static let agentJobAck = MessageType(known: "agent_job_ack")
    package static let agentJobReply = MessageType(known: "agent_job_reply")
    package static let agentJobReplyAck = MessageType(known: "agent_job_reply_ack")
    package static let interactiveShell = MessageType(known: "interactive_shell")
    package static let agentTaskComplete = MessageType(known: "agent_task_complete")
    package static let agentTaskAcknowledge = MessageType(known: "agent_task_acknowledge")
    package static let agentTelemetry = MessageType(known: "agent_telemetry")
    package static let agentUpdateResult = MessageType(known: "agent_update_result")
    /// Ours: somebody watches a command's output.
    package static let agentOutput = MessageType(known: "agent_output")
    // Both channels
    package static let channelClosed = MessageType(known: "channel_closed")
    // Data channel
    package static let inputStreamData = MessageType(known: "input_stream_data")
    package static let outputStreamData = MessageType(known: "output_stream_data")
    package static let acknowledge = MessageType(known: "acknowledge")
    package static let agentSessionState = MessageType(known: "agent_session_state")
    package static let startPublication = MessageType(known: "start_publication")
    package static let pausePublication = MessageType(known: "pause_publication")
    /// Ours: words for whoever sits at a session.
    package static let sessionNotice = MessageType(known: "session_notice")

    /// AWS sends these two with a zero date and a wrong digest, and its own receivers let them pass.
    var isPublication: Bool { self == .startPublication || self == .pausePublication }
}
