package import FoundationEssentials
package import MusterWire

/// What the control channels tell the part that owns commands.
package protocol AgentEvents: Sendable {
    func nodeConnected(_ node: NodeID, generation: Int) async
    func nodeDisconnected(_ node: NodeID) async
    func jobAcknowledged(_ node: NodeID, _ acknowledgement: AgentJobAcknowledge) async
    /// Returns when the reply is durable. Only then may it be acknowledged, because the agent then forgets it.
    func replyReceived(_ node: NodeID, _ reply: AgentJobReply, messageID: UUID) async throws
    /// The node is gone for good, after the change that says so is durable.
    func nodeDeregistered(_ node: NodeID) async
}
