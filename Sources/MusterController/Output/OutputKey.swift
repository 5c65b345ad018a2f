package import MusterDocuments
package import MusterWire

/// One stream of one step of a command on one node. [value]
///
/// Every part is typed before it comes here, and the plugin's folder comes from the controller's own document, so a key has nothing in
/// it that a path could be led astray with.
package struct OutputKey: Sendable, Hashable {
    package let command: CommandID
    package let node: NodeID
    /// The plugin's name without its colon, as Systems Manager names the folder: `awsrunShellScript`.
    package let plugin: String
    package let step: String
    package let stream: OutputStream

    /// Nil when the document has no such step.
    package init?(command: CommandID, node: NodeID, step: String, stream: OutputStream, in document: Document) {
        guard let name = StepName(step), let found = document.steps.first(where: { $0.name == name }) else { return nil }
        let plugin = found.action.filter { $0 != ":" }
        guard StepName(plugin) != nil else { return nil }
        self.command = command
        self.node = node
        self.plugin = plugin
        self.step = name.rawValue
        self.stream = stream
    }

    /// Folders from the top, without the file.
    var folders: [String] { [command.rawValue, node.rawValue, plugin, step] }

    /// https://docs.aws.amazon.com/systems-manager/latest/userguide/rc-console.html, "Output options"
    package func objectKey(prefix: String) -> String {
        (prefix.isEmpty ? [] : [prefix]).joined() + (prefix.isEmpty || prefix.hasSuffix("/") ? "" : "/")
            + (folders + [stream.rawValue]).joined(separator: "/")
    }
}
