internal import MusterCrypto
internal import MusterWire

/// A bucket of an object store: an object for each delivery, named by the record and the checkpoint that it follows and the digest of its own
/// first record. So names sort as the trail goes, a repeat replaces what it repeats, and a store that was put back and goes on otherwise
/// replaces nothing.
struct AuditBucket: AuditTarget {
    let upload: ObjectUpload
    let bucket: String
    let prefix: String

    var name: String { "s3:\(upload.store.host)/\(bucket)/\(prefix)" }
    let pause = Duration.seconds(60)

    func reached() async throws -> AuditMark? { nil }

    func deliver(_ lines: [AuditLine], after position: AuditDelivery.Position) async throws {
        var text = try AuditLine.trail(position.mark).text() + [0x0a]
        for line in lines { text += try line.text() + [0x0a] }
        let first = lines.lazy.compactMap { if case .record(let record) = $0 { Hex.encode(record.digest.prefix(4)) } else { nil } }.first
        let name =
            "\(Self.padded(position.mark.sequence, 19))-\(Self.padded(position.checkpoint, 10))-\(first ?? "checkpoint").jsonl"
        try await put(text, "\(prefix)\(position.mark.trail)/\(name)")
        if case .checkpoint(let checkpoint)? = lines.last(where: { if case .checkpoint = $0 { true } else { false } }) {
            try await put(try JSONCoding.encode(checkpoint), prefix + AuditFolder.checkpointName)
        }
    }

    private func put(_ bytes: [UInt8], _ key: String) async throws {
        try await upload.put(bucket, key, length: Int64(bytes.count), sha256: Hex.encode(SHA256.hash(bytes))) { offset, count in
            Array(bytes[Int(offset)..<(Int(offset) + count)])
        }
    }

    func latestCheckpoint() async throws -> AuditCheckpoint? {
        guard let text = try await upload.get(bucket, prefix + AuditFolder.checkpointName) else { return nil }
        return try JSONCoding.decode(AuditCheckpoint.self, from: Array(text.utf8))
    }

    private static func padded(_ number: Int64, _ digits: Int) -> String {
        let text = String(number)
        return String(repeating: "0", count: max(0, digits - text.count)) + text
    }
}
