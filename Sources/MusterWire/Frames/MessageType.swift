/// What a frame is about. Unknown names are legal: a receiver ignores them.
package struct MessageType: RawRepresentable, Sendable, Hashable, CustomStringConvertible {
    package static let maximumLength = 32

    package let rawValue: String
    /// Of a kind that is known here: compared instead of the name, for every frame several times.
    private let number: UInt8

    /// 1 to 32 printable ASCII characters without spaces, which is what fits the field and survives its padding.
    package init?(rawValue: String) {
        let bytes = rawValue.utf8
        guard (1...Self.maximumLength).contains(bytes.count), bytes.allSatisfy({ $0 > 0x20 && $0 < 0x7f }) else { return nil }
        self.rawValue = rawValue
        self.number = Self.numbers[rawValue] ?? 0
    }

    private init(known: String, _ number: UInt8) {
        self.rawValue = known
        self.number = number
    }

    package static func == (a: MessageType, b: MessageType) -> Bool {
        a.number == b.number && (a.number != 0 || a.rawValue == b.rawValue)
    }

    package func hash(into hasher: inout Hasher) { hasher.combine(self.rawValue) }

    package var description: String { self.rawValue }

    // Control channel
    package static let agentJob = MessageType(known: "agent_job", 1)
    package static let agentJobAck = MessageType(known: "agent_job_ack", 2)
    package static let agentJobReply = MessageType(known: "agent_job_reply", 3)
    package static let agentJobReplyAck = MessageType(known: "agent_job_reply_ack", 4)
    package static let interactiveShell = MessageType(known: "interactive_shell", 5)
    package static let agentTaskComplete = MessageType(known: "agent_task_complete", 6)
    package static let agentTaskAcknowledge = MessageType(known: "agent_task_acknowledge", 7)
    package static let agentTelemetry = MessageType(known: "agent_telemetry", 8)
    package static let agentUpdateResult = MessageType(known: "agent_update_result", 9)
    /// Ours: somebody watches a command's output.
    package static let agentOutput = MessageType(known: "agent_output", 10)
    // Both channels
    package static let channelClosed = MessageType(known: "channel_closed", 11)
    // Data channel
    package static let inputStreamData = MessageType(known: "input_stream_data", 12)
    package static let outputStreamData = MessageType(known: "output_stream_data", 13)
    package static let acknowledge = MessageType(known: "acknowledge", 14)
    package static let agentSessionState = MessageType(known: "agent_session_state", 15)
    package static let startPublication = MessageType(known: "start_publication", 16)
    package static let pausePublication = MessageType(known: "pause_publication", 17)
    /// Ours: words for whoever sits at a session.
    package static let sessionNotice = MessageType(known: "session_notice", 18)

    private static let numbers: [String: UInt8] = Dictionary(
        uniqueKeysWithValues: [
            agentJob, agentJobAck, agentJobReply, agentJobReplyAck,
            interactiveShell, agentTaskComplete, agentTaskAcknowledge, agentTelemetry,
            agentUpdateResult, agentOutput, channelClosed, inputStreamData,
            outputStreamData, acknowledge, agentSessionState, startPublication,
            pausePublication, sessionNotice,
        ].map { ($0.rawValue, $0.number) })

    /// The kinds that go from one end of a session to the other.
    package var isOfStream: Bool { self == .inputStreamData || self == .outputStreamData || self == .acknowledge }

    /// AWS sends these two with a zero date and a wrong digest, and its own receivers let them pass.
    var isPublication: Bool { self == .startPublication || self == .pausePublication }
}
