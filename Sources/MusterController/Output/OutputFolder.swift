internal import Glibc
package import MusterWire

/// The folder store: `output/<command>/<node>/<plugin>/<step>/stdout|stderr` in the data directory. It blocks; callers run it on threads
/// for that.
package final class OutputFolder: Sendable {
    private let root: PrivateFolder

    package init(path: String) throws {
        root = try PrivateFolder(path: path)
    }

    // MARK: One stream

    /// 0 when there is no file.
    package func size(of key: OutputKey) throws -> Int64 {
        try open(key, O_RDONLY)?.size() ?? 0
    }

    package func write(_ bytes: [UInt8], at offset: Int64, to key: OutputKey) throws {
        guard let file = try open(key, O_WRONLY | O_CREAT) else {
            // The command was removed at the same time: what is not written must not count as written.
            throw ControllerError.cannotAccess(
                path: ([root.path] + key.folders + [key.stream.rawValue]).joined(separator: "/"), action: "write",
                reason: "its folder is gone")
        }
        try file.write(bytes, at: offset)
    }

    /// Fewer than `count` at the end of the file.
    package func read(_ key: OutputKey, from offset: Int64, atMost count: Int) throws -> [UInt8] {
        try open(key, O_RDONLY)?.read(from: offset, atMost: count) ?? []
    }

    package func empty(_ key: OutputKey) throws {
        try open(key, O_WRONLY)?.cut(to: 0)
    }

    /// The file, then every folder above it: after this a power cut takes nothing of it.
    package func sync(_ key: OutputKey) throws {
        guard let file = try open(key, O_WRONLY | O_CREAT) else { return }
        try file.sync()
        var folder = root
        try folder.sync()
        for name in key.folders {
            guard let child = try folder.folder(name, makes: false) else { return }
            folder = child
            try folder.sync()
        }
    }

    /// Nil when it is not there; with O_CREAT it is made, and so are the folders above it.
    private func open(_ key: OutputKey, _ flags: Int32) throws -> PrivateFile? {
        var folder = root
        for name in key.folders {
            guard let child = try folder.folder(name, makes: flags & O_CREAT != 0) else { return nil }
            folder = child
        }
        return try folder.open(ifThere: key.stream.rawValue, flags)
    }

    // MARK: All of them

    /// Commands of which there is something.
    package func commands() throws -> [CommandID] {
        try root.names().compactMap { CommandID($0) }
    }

    /// Bytes of a command on a node.
    package func usage(_ command: CommandID, _ node: NodeID) throws -> Int64 {
        var folder = root
        for name in [command.rawValue, node.rawValue] {
            guard let child = try folder.folder(name, makes: false) else { return 0 }
            folder = child
        }
        return try folder.usage()
    }

    /// Bytes of each node, over all commands.
    package func usageOfNodes() throws -> [NodeID: Int64] {
        var usage: [NodeID: Int64] = [:]
        for command in try commands() { usage.merge(try usageOfNodes(command), uniquingKeysWith: +) }
        return usage
    }

    private func usageOfNodes(_ command: CommandID) throws -> [NodeID: Int64] {
        guard let folder = try root.folder(command.rawValue, makes: false) else { return [:] }
        return try folder.names().reduce(into: [:]) { usage, name in
            guard let node = NodeID(name), let child = try folder.folder(name, makes: false) else { return }
            usage[node] = try child.usage()
        }
    }

    /// Returns the bytes of each node that were freed.
    package func remove(_ command: CommandID) throws -> [NodeID: Int64] {
        let freed = try usageOfNodes(command)
        try root.remove(all: command.rawValue)
        return freed
    }
}
