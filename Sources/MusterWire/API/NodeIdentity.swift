/// Who a node certificate speaks for: the node, and the how-manieth key it has. In the certificate it is the URI name
/// `muster:node:<node>:<generation>`.
package struct NodeIdentity: Sendable, Hashable, CustomStringConvertible {
    package let node: NodeID
    package let generation: Int

    package init(node: NodeID, generation: Int) {
        self.node = node
        self.generation = generation
    }

    package init?(uri: String) {
        let parts = uri.split(separator: ":", omittingEmptySubsequences: false)
        guard parts.count == 4, parts[0] == "muster", parts[1] == "node", let node = NodeID(String(parts[2])),
            parts[3].utf8.allSatisfy(\.isDigit), let generation = Int(parts[3]), String(generation) == parts[3]
        else { return nil }
        self.init(node: node, generation: generation)
    }

    package var uri: String { "muster:node:\(self.node):\(self.generation)" }
    package var description: String { self.uri }
}
