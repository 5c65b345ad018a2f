package import MusterWire

/// A stream that the controller has to get besides the reply. [value]
package struct PendingUpload: Codable, Sendable, Hashable {
    package var step: String
    package var stream: OutputStream
    /// Bytes that were thrown away at the budget.
    package var lost: Int64

    package init(step: String, stream: OutputStream, lost: Int64) {
        self.step = step
        self.stream = stream
        self.lost = lost
    }

    /// What a final reply leaves to be uploaded.
    package static func list(of reply: AgentJobReply) -> [PendingUpload] {
        guard let steps = try? reply.decodeContent().runtimeStatus else { return [] }
        return steps.sorted { $0.key < $1.key }.flatMap { step, result in
            OutputStream.allCases.compactMap { stream in
                guard let facts = result.outputs?[stream], facts.inline != true else { return nil }
                return PendingUpload(step: step, stream: stream, lost: facts.lost ?? 0)
            }
        }
    }
}
