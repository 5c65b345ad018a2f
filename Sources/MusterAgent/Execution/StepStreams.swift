import MusterCrypto
package import MusterWire

/// The two streams of a step as its folder holds them: the heads, for replies, and what is known of the whole.
package struct StepStreams: Sendable {
    package let standardOutput: BoundedOutput.Head
    package let standardError: BoundedOutput.Head
    private let outputFacts: StreamFacts?
    private let errorFacts: StreamFacts?

    package init(of folder: Folder) throws(FileError) {
        (standardOutput, outputFacts) = try Self.read(StepFolder.standardOutput, in: folder)
        (standardError, errorFacts) = try Self.read(StepFolder.standardError, in: folder)
    }

    /// A stream that wrote nothing is left out.
    package func facts(lostOutput: Int64?, lostError: Int64?) -> StepOutputs {
        StepOutputs(stdout: Self.with(lostOutput, outputFacts), stderr: Self.with(lostError, errorFacts))
    }

    private static func with(_ lost: Int64?, _ facts: StreamFacts?) -> StreamFacts? {
        var facts = facts
        if let lost, lost > 0 {
            facts = facts ?? StreamFacts(length: 0, sha256: Hex.encode(SHA256.hash([])))
            facts?.lost = lost
        }
        return facts
    }

    private static func read(_ name: String, in folder: Folder) throws(FileError) -> (BoundedOutput.Head, StreamFacts?) {
        guard try folder.contains(name) else { return (BoundedOutput.Head(), nil) }
        let file = try folder.openForReading(name)
        let limit = BoundedOutput.Head.bytesNeeded
        var bytes = try file.read(atMost: limit + 1, path: folder.path(of: name))
        let hasMore = bytes.count > limit
        if hasMore { bytes.removeLast() }
        let head = BoundedOutput.Head(bytes: bytes, hasMore: hasMore)
        guard !bytes.isEmpty else { return (head, nil) }
        let length = hasMore ? try file.size(path: folder.path(of: name)) : Int64(bytes.count)
        return (head, StreamFacts(length: length, sha256: hasMore ? nil : Hex.encode(SHA256.hash(bytes))))
    }
}
