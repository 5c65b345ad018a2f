package import FoundationEssentials
package import MusterWire

/// What a control channel needs to know of the part that runs jobs: `JobRunner` on a host. The benchmarks have another, which
/// answers for thousands of nodes in one process and starts no script.
package protocol JobReceiver: Sendable {
    /// Server clock minus host clock, as the server's answers told it.
    func serverTime(_ offsetMilliseconds: Int64)

    /// A channel is up: replies go out through `send` from now on, those first that were never acknowledged.
    func attach(_ send: @escaping @Sendable (AgentMessage) -> Void)

    func detach()

    /// What "accepted" promises is durable when this returns.
    func receive(_ job: AgentJob, messageID: UUID, createdDate: Timestamp) async -> AgentJobAcknowledge

    func replyAcknowledged(jobID: String, messageID: UUID) async

    /// Somebody watches what a command writes.
    func followOutput(_ request: AgentOutputRequest)
}
