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

    /// The one node whose id, Name tag, name or host name is exactly `word`.
    package func node(named word: String) throws -> InstanceInformation {
        if let node = nodes.first(where: { $0.instanceID.rawValue == word }) { return node }
        let matches = nodes.filter { node in
            node.tags?.contains { $0.key == "Name" && $0.value == word } == true || node.name == word || node.computerName == word
        }
        switch matches.count {
        case 1: return matches[0]
        case 0: throw CommandLineError("No managed node has the id, Name tag or host name \"\(word)\". `muster nodes` lists them.")
        default:
            let ids = matches.prefix(5).map(\.instanceID.rawValue).joined(separator: ", ")
            throw CommandLineError("\"\(word)\" names \(matches.count) managed nodes (\(ids)\(matches.count > 5 ? ", …" : "")). Use an id.")
        }
    }
}
