internal import MusterWire
internal import NIOCore

/// Which of the agent's frames the client has acknowledged, as far as the relay has seen. [value]
///
/// The stock plugin acknowledges a frame once and never again (protocol of session-manager-plugin, dataChannel). An acknowledgement that
/// is lost with a leg of the agent would have the agent repeat that frame for ever; the relay answers from here instead. It never
/// acknowledges what the client has not.
struct AcknowledgedSequences: Sendable, Equatable {
    private static let maximumApart = 4_096

    /// All below this.
    private var next: Int64 = 0
    private var apart: Set<Int64> = []

    mutating func saw(_ frame: AgentMessage) {
        guard let acknowledged = frame.acknowledged else { return }
        insert(acknowledged.sequence)
    }

    mutating func insert(_ sequence: Int64) {
        guard sequence >= next else { return }
        guard sequence == next else {
            if apart.count < Self.maximumApart { apart.insert(sequence) }
            return
        }
        next += 1
        while apart.remove(next) != nil { next += 1 }
    }

    func contains(_ sequence: Int64) -> Bool {
        sequence >= 0 && (sequence < next || apart.contains(sequence))
    }

    /// The acknowledgement of a frame that needs no second one from the client.
    func answer(to frame: AgentMessage) -> ByteBuffer? {
        guard frame.messageType == .outputStreamData, contains(frame.sequenceNumber) else { return nil }
        var bytes = ByteBuffer()
        var answer = AgentMessage.acknowledging(frame, createdDate: frame.createdDate)
        answer.flags |= AgentMessage.isAnswerOfRelay
        bytes.writeAgentMessage(answer)
        return bytes
    }
}
