package import FoundationEssentials
package import MusterWire

/// Passes the news of control channels on, and tells the sessions what concerns them.
package struct SessionEvents: AgentEvents {
    private let next: any AgentEvents
    private let broker: SessionBroker

    package init(next: any AgentEvents, broker: SessionBroker) {
        self.next = next
        self.broker = broker
    }

    package func nodeConnected(_ node: NodeID, generation: Int) async {
        await next.nodeConnected(node, generation: generation)
        await broker.nodeConnected(node)
    }

    package func nodeDisconnected(_ node: NodeID) async { await next.nodeDisconnected(node) }

    package func jobAcknowledged(_ node: NodeID, _ acknowledgement: AgentJobAcknowledge) async {
        await next.jobAcknowledged(node, acknowledgement)
    }

    package func replyReceived(_ node: NodeID, _ reply: AgentJobReply, messageID: UUID) async throws {
        try await next.replyReceived(node, reply, messageID: messageID)
    }

    package func nodeDeregistered(_ node: NodeID) async {
        // Sessions first: they are somebody's hands on the host.
        await broker.nodeRefused(node)
        await next.nodeDeregistered(node)
    }
}
