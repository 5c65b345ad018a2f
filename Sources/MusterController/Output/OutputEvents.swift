package import FoundationEssentials
package import MusterWire

/// Passes the news of control channels on, and wakes those who watch the commands that they concern.
package struct OutputEvents: AgentEvents {
    private let next: any AgentEvents
    private let followers: OutputFollowers
    private let changed: @Sendable (CommandID) -> Void

    package init(next: any AgentEvents, followers: OutputFollowers, changed: @escaping @Sendable (CommandID) -> Void) {
        self.changed = changed
        self.next = next
        self.followers = followers
    }

    package func nodeConnected(_ node: NodeID, generation: Int) async {
        await next.nodeConnected(node, generation: generation)
        followers.connected(node)
    }

    package func nodeDisconnected(_ node: NodeID) async { await next.nodeDisconnected(node) }

    package func jobAcknowledged(_ node: NodeID, _ acknowledgement: AgentJobAcknowledge) async {
        await next.jobAcknowledged(node, acknowledgement)
        if let job = JobID(acknowledgement.jobID) { changed(job.command) }
    }

    package func replyReceived(_ node: NodeID, _ reply: AgentJobReply, messageID: UUID) async throws {
        try await next.replyReceived(node, reply, messageID: messageID)
        if let job = JobID(reply.jobID) { changed(job.command) }
    }

    package func nodeDeregistered(_ node: NodeID) async { await next.nodeDeregistered(node) }
}
