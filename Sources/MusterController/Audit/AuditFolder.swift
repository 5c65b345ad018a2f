internal import FoundationEssentials
internal import Glibc
internal import MusterCrypto
internal import MusterWire
internal import NIOConcurrencyHelpers
internal import NIOPosix

/// A folder, on another machine's disk if it is to prove anything: a file an hour, and the latest checkpoint.
///
///     audit-2026-11-28T22.jsonl     lines as `AuditLine`, each file beginning with where it goes on
///     audit.checkpoint              the latest, written whole
final class AuditFolder: AuditTarget {
    static let checkpointName = "audit.checkpoint"
    /// Enough for the last record, whatever its length.
    private static let tailBytes: Int64 = 1 << 20

    let name: String
    let pause = Duration.seconds(1)
    private let path: String
    private let now: @Sendable () -> Timestamp
    private let state = NIOLockedValueBox<OpenFile?>(nil)

    private struct OpenFile: Sendable {
        let name: String
        let file: PrivateFile
        /// Of whole lines. What is beyond was written half.
        var length: Int64
    }

    init(path: String, now: @escaping @Sendable () -> Timestamp = { .now() }) {
        (self.path, self.now) = (path, now)
        name = "folder:\(path)"
    }

    func deliver(_ lines: [AuditLine], after position: AuditDelivery.Position) async throws {
        try await blocking { folder in
            try self.state.withLockedValue { state in
                do {
                    try self.append(lines, after: position, folder, &state)
                } catch {
                    // Opened anew, so that a half line is cut off.
                    state = nil
                    throw error
                }
            }
            if case .checkpoint(let checkpoint)? = lines.last(where: { if case .checkpoint = $0 { true } else { false } }) {
                try DataDirectory.write(
                    String(decoding: try JSONCoding.encode(checkpoint), as: UTF8.self) + "\n", to: self.path + "/" + Self.checkpointName)
            }
        }
    }

    private func append(
        _ lines: [AuditLine], after position: AuditDelivery.Position, _ folder: PrivateFolder, _ state: inout OpenFile?
    ) throws {
        let wanted = "audit-\(now().iso8601.prefix(13)).jsonl"
        var text: [UInt8] = []
        var open: OpenFile
        if let current = state, current.name == wanted {
            open = current
        } else {
            let file = try folder.open(wanted, O_RDWR | O_CREAT)
            open = OpenFile(name: wanted, file: file, length: try Self.wholeLines(file))
            try file.cut(to: open.length)
            try folder.sync()
            // Also where a file of this hour is gone on with: it may have been another run, or another store.
            text = try AuditLine.trail(position.mark).text() + [0x0a]
        }
        for line in lines { text += try line.text() + [0x0a] }
        try open.file.write(text, at: open.length)
        try open.file.sync()
        open.length += Int64(text.count)
        state = open
    }

    private static func wholeLines(_ file: PrivateFile) throws -> Int64 {
        let size = try file.size()
        let start = max(0, size - tailBytes)
        let tail = try file.read(from: start, atMost: Int(size - start))
        guard let end = tail.lastIndex(of: 0x0a) else { return start == 0 ? 0 : size }
        return start + Int64(end) + 1
    }

    /// By the last whole line of the youngest file.
    func reached() async throws -> AuditMark? {
        // Nobody else writes there while this process does.
        if state.withLockedValue({ $0 != nil }) { return nil }
        return try await blocking { folder in
            guard let last = try folder.names().filter({ $0.hasPrefix("audit-") && $0.hasSuffix(".jsonl") }).max(),
                let file = try folder.open(ifThere: last, O_RDONLY)
            else { return nil }
            let size = try Self.wholeLines(file)
            let start = max(0, size - Self.tailBytes)
            let tail = try file.read(from: start, atMost: Int(size - start))
            var trail: String?
            var mark: AuditMark?
            if let first = tail.split(separator: 0x0a, maxSplits: 1).first, start == 0, case .trail(let found)? = AuditLine(Array(first)) {
                trail = found.trail
            } else {
                let head = try file.read(from: 0, atMost: 4_096)
                if let first = head.split(separator: 0x0a, maxSplits: 1).first, case .trail(let found)? = AuditLine(Array(first)) {
                    trail = found.trail
                }
            }
            for line in tail.split(separator: 0x0a).reversed() {
                switch AuditLine(Array(line)) {
                case .trail(let found): mark = found
                case .record(let record):
                    mark = trail.map { AuditMark(trail: $0, sequence: record.sequence, digest: Hex.encode(record.digest)) }
                case .checkpoint, nil: continue
                }
                break
            }
            return mark
        }
    }

    func latestCheckpoint() async throws -> AuditCheckpoint? {
        try await blocking { folder in
            guard let file = try folder.open(ifThere: Self.checkpointName, O_RDONLY) else { return nil }
            return try JSONCoding.decode(AuditCheckpoint.self, from: try file.read(from: 0, atMost: 64 << 10))
        }
    }

    private func blocking<T: Sendable>(_ body: @escaping @Sendable (PrivateFolder) throws -> T) async throws -> T {
        let path = path
        return try await NIOThreadPool.singleton.runIfActive { try body(PrivateFolder(path: path)) }
    }
}
