/// `NODE:PATH` or a path here. [value]
package enum CopyArgument: Sendable, Equatable {
    case local(String)
    case remote(node: String, path: String)

    /// A colon before any slash makes it a node's, as with scp; `./a:b` is a file.
    package init(_ text: String) throws {
        guard let colon = text.firstIndex(of: ":"), !text[..<colon].contains("/") else {
            guard !text.isEmpty else { throw CommandLineError("A path is empty.") }
            self = .local(text)
            return
        }
        let node = String(text[..<colon])
        guard !node.isEmpty else {
            throw CommandLineError("Cannot read \"\(text)\": the node is missing. Write NODE:PATH, or ./\(text) for a file.")
        }
        var path = String(text[text.index(after: colon)...])
        // Sessions begin in the home folder.
        if path == "~" || path.isEmpty { path = "." } else if path.hasPrefix("~/") { path = String(path.dropFirst(2)) }
        guard path.utf8.count <= 4096, !path.utf8.contains(0) else { throw CommandLineError("The path on \(node) is too long.") }
        self = .remote(node: node, path: path.isEmpty ? "." : path)
    }
}

/// What is copied where: one node, on one of the two sides. [value]
package struct CopyPlan: Sendable, Equatable {
    package let node: String
    package let isUpload: Bool
    package let sources: [String]
    package let destination: String
    /// The destination is a folder, whether it is there or not.
    package let wantsFolder: Bool

    package init(_ arguments: [String]) throws {
        guard arguments.count >= 2, let last = arguments.last else { throw CommandLineError("Say what to copy and where to.") }
        let sources = try arguments.dropLast().map(CopyArgument.init)
        switch try CopyArgument(last) {
        case .remote(let node, let path):
            self.node = node
            isUpload = true
            destination = path
            self.sources = try sources.map { source in
                guard case .local(let path) = source else { throw CommandLineError("Files go from here to a node or from a node to here.") }
                return path
            }
        case .local(let path):
            var node: String?
            isUpload = false
            destination = path
            self.sources = try sources.map { source in
                guard case .remote(let name, let path) = source else {
                    throw CommandLineError("One side has to be a node: write NODE:PATH.")
                }
                guard node == nil || node == name else { throw CommandLineError("Files come from one node at a time.") }
                node = name
                return path
            }
            guard let node else { throw CommandLineError("One side has to be a node: write NODE:PATH.") }
            self.node = node
        }
        wantsFolder = sources.count > 1 || destination.hasSuffix("/")
    }
}
