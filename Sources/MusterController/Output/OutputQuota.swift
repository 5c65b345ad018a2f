package import MusterWire

/// How much of the output store everybody has, and what one more piece may take. [value]
///
/// Three bounds hold at once: one for a command on a node, one for a node over all commands, one for all. Beside them no node
/// takes more than half of what the others have left, so that no number of nodes takes all of it from those that come later.
package struct OutputQuota: Sendable {
    package struct Limits: Sendable {
        /// One command on one node.
        package var nodeBytes: Int64 = 10 << 30
        /// One node, all commands.
        package var nodeTotalBytes: Int64 = 20 << 30
        package var totalBytes: Int64 = 100 << 30

        package init() {}
    }

    /// What a node may still store for a command, and whose bound that is.
    package struct Room: Sendable, Equatable {
        package let bytes: Int64
        package let bound: String
    }

    private let limits: Limits
    private var nodes: [NodeID: Int64]
    private(set) var total: Int64

    /// - Parameter nodes: bytes that are there of each node.
    package init(limits: Limits, nodes: [NodeID: Int64]) {
        self.limits = limits
        self.nodes = nodes
        total = nodes.values.reduce(0, +)
    }

    package func used(by node: NodeID) -> Int64 { nodes[node] ?? 0 }

    /// - Parameter used: what there is of the command on the node.
    package func room(for node: NodeID, ofCommand used: Int64) -> Room {
        let own = self.used(by: node)
        let others = total - own
        let rooms = [
            Room(bytes: limits.nodeBytes - used, bound: "the controller's quota for one command on a node"),
            Room(bytes: limits.nodeTotalBytes - own, bound: "the controller's quota for this node"),
            Room(bytes: (limits.totalBytes - others) / 2 - own, bound: "the controller's quota for all nodes"),
        ]
        let least = rooms.min { $0.bytes < $1.bytes } ?? rooms[0]
        return Room(bytes: max(0, least.bytes), bound: least.bound)
    }

    package mutating func take(_ bytes: Int64, by node: NodeID) {
        nodes[node, default: 0] += bytes
        total += bytes
    }

    package mutating func giveBack(_ bytes: Int64, of node: NodeID) {
        let freed = min(bytes, used(by: node))
        total -= freed
        nodes[node, default: 0] -= freed
        if nodes[node] == 0 { nodes.removeValue(forKey: node) }
    }
}
