import MusterWire
import NIOCore

/// Acknowledgements that wait a moment for something to leave with. [value]
///
/// The echo of a key comes back within that moment, and so does the next key of somebody who types fast; by itself each
/// acknowledgement would wake every process on the way, in front of what somebody waits for. Of what pours, nothing is delayed: the
/// sender's window would wait for it.
struct DelayedAcknowledgements {
    /// Far below what any sender waits for before it repeats (100 ms, that of the stock ends).
    static let longest = TimeAmount.milliseconds(5)
    /// More of them are no keys.
    private static let most = 2
    private static let largestPayload = 1_024

    private var waiting: [AgentMessage] = []

    var isEmpty: Bool { waiting.isEmpty }
    var areDue: Bool { waiting.count > Self.most }

    /// Keeps the acknowledgement of a small piece of data, if that is all that is to be sent. Returns what has to go now.
    mutating func delay(_ answers: [AgentMessage], of frame: AgentMessage) -> [AgentMessage] {
        guard answers.count == 1, answers[0].messageType == .acknowledge, frame.payloadType == .output,
            frame.flags & ReliableStream.isLast == 0, frame.payload.readableBytes <= Self.largestPayload
        else { return answers }
        waiting += answers
        return []
    }

    mutating func take() -> [AgentMessage] {
        defer { waiting = [] }
        return waiting
    }
}
