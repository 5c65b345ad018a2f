package import MusterWire

/// The way to the agents, as the dispatcher needs it.
package protocol AgentDelivery: Sendable {
    /// Hands a frame to the node's connection and does not wait for the node. False only if no connection took it: then
    /// the node will certainly never see it. Frames to one node keep their order.
    func send(_ message: AgentMessage, to node: NodeID) async -> Bool
    /// Who is connected, with the generation of the identity.
    func connectedNodes() async -> [NodeID: Int]
}
