/// One command on one node, `aws.ssm.<command>.<node>`: the id of an agent_job frame and of everything said about it.
package struct JobID: Sendable, Hashable, CustomStringConvertible, LosslessStringConvertible {
    package let command: CommandID
    package let node: NodeID

    package init(command: CommandID, node: NodeID) {
        self.command = command
        self.node = node
    }

    package init?(_ text: String) {
        let parts = text.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count == 4, parts[0] == "aws", parts[1] == "ssm",
            let command = CommandID(String(parts[2])), let node = NodeID(String(parts[3]))
        else { return nil }
        self.init(command: command, node: node)
    }

    package var description: String { "aws.ssm.\(self.command).\(self.node)" }
}
