package import MusterClient
package import MusterWire

/// The managed nodes an operator can see, and the rule by which a word names one of them.
package struct NodeDirectory: Sendable {
    package let nodes: [InstanceInformation]

    package init(nodes: [InstanceInformation]) {
        self.nodes = nodes
    }

    package static func load(_ api: APIClient, filters: [InstanceInformationStringFilter]? = nil) async throws -> NodeDirectory {
        var nodes: [InstanceInformation] = []
        var token: String?
        repeat {
            let page = try await api.call(DescribeInstanceInformation.self, .init(filters: filters, maxResults: 50, nextToken: token))
            nodes += page.instanceInformationList
            token = page.nextToken
        } while token != nil && token != ""
        return NodeDirectory(nodes: nodes)
    }

    /// What is done when only what a node reports of itself is `word`. A node may report any name, also another's: what goes to it (a
    /// shell, files, a connection) could be meant for that one.
    package enum ReportedName: Sendable {
        case refused
        /// With the words that say which node it led to.
        case told(@Sendable (String) -> Void)
    }

    /// The one node whose id is exactly `word`; else whose Name tag or name is, which operators gave; else, if at all, the one that reports it.
    package func node(named word: String, reported: ReportedName) throws -> InstanceInformation {
        if let node = nodes.first(where: { $0.instanceID.rawValue == word }) { return node }
        let shown = DisplayText.line(word)
        let given = nodes.filter { $0.nameTag == word || $0.name == word }
        if let node = given.first {
            guard given.count == 1 else { throw CommandLineError("\"\(shown)\" names \(Self.list(given)). Use an id.") }
            return node
        }
        let reporting = nodes.filter { $0.computerName == word }
        guard let node = reporting.first else {
            throw CommandLineError("No managed node has the id, Name tag or name \"\(shown)\". `muster nodes` lists them.")
        }
        let way = "muster tag \(node.instanceID) Name=…"
        guard case .told(let tell) = reported, reporting.count == 1 else {
            throw CommandLineError(
                "\"\(shown)\" is only what \(Self.list(reporting)) \(reporting.count == 1 ? "reports" : "report") of \(reporting.count == 1 ? "itself" : "themselves"), and any node can report any name. Use the id, or name the node yourself: \(way)"
            )
        }
        tell("\"\(shown)\" is the name that \(node.instanceID) reports of itself; no operator gave it. To name the node: \(way)")
        return node
    }

    private static func list(_ nodes: [InstanceInformation]) -> String {
        guard nodes.count > 1 else { return nodes.first?.instanceID.rawValue ?? "" }
        let ids = nodes.prefix(5).map(\.instanceID.rawValue).joined(separator: ", ")
        return "\(nodes.count) managed nodes (\(ids)\(nodes.count > 5 ? ", …" : ""))"
    }

    /// How results name nodes: by what operators gave, where that is one node's alone.
    package var givenNames: [NodeID: String] {
        var owners: [String: Int] = [:]
        for node in nodes { if let name = node.givenName { owners[name, default: 0] += 1 } }
        var names: [NodeID: String] = [:]
        for node in nodes { if let name = node.givenName, owners[name] == 1 { names[node.instanceID] = name } }
        return names
    }
}

extension InstanceInformation {
    package var nameTag: String? { tags?.first { $0.key == "Name" }?.value.flatMap { $0.isEmpty ? nil : $0 } }

    /// By an operator: the Name tag, else the name of the activation. What the node reports of itself is not among them.
    package var givenName: String? { nameTag ?? name.flatMap { $0.isEmpty ? nil : $0 } }
}
