import Glibc
import MusterWire

/// A folder with one file a node and stream: `NAME.stdout`, `NAME.stderr`.
struct OutputFiles: Sendable {
    private let directory: String

    init(directory: String) throws {
        self.directory = directory
        if mkdir(directory, 0o700) != 0, errno != EEXIST {
            throw CommandLineError("Cannot make the folder \(directory): \(SystemError.words()).")
        }
        guard access(directory, W_OK | X_OK) == 0 else {
            throw CommandLineError("Cannot write to the folder \(directory): \(SystemError.words()).")
        }
    }

    /// The file name of a node: its name if that is safe and nobody else's, its id otherwise.
    static func names(_ nodes: [NodeID], _ names: [NodeID: String]) -> [NodeID: String] {
        var owners: [String: Int] = [:]
        for node in nodes { owners[names[node] ?? "", default: 0] += 1 }
        var chosen: [NodeID: String] = [:]
        for node in nodes {
            // A name comes from a host: it never leads out of the folder.
            let name = names[node] ?? ""
            let isSafe =
                (1...200).contains(name.utf8.count) && !name.hasPrefix(".") && !name.hasPrefix("-")
                && name.utf8.allSatisfy { $0.isWordByte || $0 == UInt8(ascii: ".") || $0 == UInt8(ascii: "-") }
            chosen[node] = isSafe && owners[name] == 1 && NodeID(name) == nil ? name : node.rawValue
        }
        return chosen
    }

    /// Steps of one node follow each other in its file. Returns the number of files.
    func save(_ reader: OutputReader, _ command: CommandID, _ nodes: [NodeID], _ names: [NodeID: String]) async throws -> Int {
        let files = Self.names(nodes, names)
        var count = 0
        for node in nodes {
            let (outputs, ended) = try await settled(reader, command, node)
            for stream in OutputStream.allCases {
                let path = "\(directory)/\(files[node] ?? node.rawValue).\(stream)"
                // Always a new one: whoever has put a file of this name there before would go on owning it.
                unlink(path)
                let file = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0o600)
                guard file >= 0 else { throw CommandLineError("Cannot write \(path): \(SystemError.words()).") }
                defer { close(file) }
                count += 1
                for output in outputs where output.stream == stream {
                    try await reader.copy(output, command, node) { bytes in
                        try Self.write(bytes, to: file, path)
                        return true
                    }
                    // What was never started wrote nothing, and its file is empty.
                    if output.state == .unknown, ended { continue }
                    if let words = OutputReader.words(output) { throw CommandLineError("\(path) is not complete: \(words).") }
                }
            }
        }
        return count
    }

    /// What the node is still sending is waited for as long as it goes on.
    private func settled(_ reader: OutputReader, _ command: CommandID, _ node: NodeID) async throws -> ([StoredOutput], ended: Bool) {
        var last: [Int64] = []
        var stalled = 0
        while true {
            let known = try await reader.outputs(command, node)
            guard known.outputs.contains(where: { $0.state == .uploading }), stalled < 120 else {
                return (known.outputs, known.ended)
            }
            let lengths = known.outputs.map(\.length)
            stalled = lengths == last ? stalled + 1 : 0
            last = lengths
            try await Task.sleep(for: .milliseconds(250))
        }
    }

    private static func write(_ bytes: [UInt8], to file: Int32, _ path: String) throws {
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { Glibc.write(file, $0.baseAddress, $0.count) }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw CommandLineError("Cannot write \(path): \(SystemError.words()).") }
            rest = rest.dropFirst(count)
        }
    }
}

extension UInt8 {
    fileprivate var isWordByte: Bool {
        switch self {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "0")...UInt8(ascii: "9"),
            UInt8(ascii: "_"):
            true
        default: false
        }
    }
}
