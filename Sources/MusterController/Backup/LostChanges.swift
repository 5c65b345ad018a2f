internal import FoundationEssentials
internal import Glibc
package import MusterWire

/// What the audit trail says was done after a backup: by a restore it is undone. [value]
package struct LostChanges: Sendable, Equatable {
    package struct Change: Sendable, Equatable {
        package let time: String
        package let operation: String
        package let resource: String
        package let by: String
    }

    /// Where it was read; nil if nothing on this machine tells.
    package var source: String?
    package var records = 0
    /// They took a right or a way in away, and do so no more.
    package var revocations: [Change] = []
    /// Of these the restored store knows nothing: they have to be registered again.
    package var enrolments: [Change] = []

    private static let mostShown = 10_000
    private static let prefixes = ["Delete", "Detach", "Remove", "Deregister", "Revoke", "Reject", "Retire", "Quarantine", "Terminate"]
    /// They may take a right away, too; whoever reads the list judges.
    private static let names: Set<String> = [
        "UpdateAccessKey", "PutUserPolicy", "PutGroupPolicy", "PutPolicy", "CreatePolicyVersion", "SetDefaultPolicyVersion",
        "UpdateDocument",
        "UpdateDocumentDefaultVersion", "UpdateServiceSetting", "TagUser", "UntagUser", "AddTagsToResource", "DeactivateAccessKey",
    ]

    mutating func add(_ record: [UInt8]) {
        records += 1
        guard let fields = try? JSONCoding.decode(AuditFields.self, from: record), fields.errorCode == nil,
            revocations.count + enrolments.count < Self.mostShown
        else { return }
        let change = Change(
            time: fields.eventTime, operation: fields.eventName, resource: fields.resources.map(\.arn).joined(separator: " "),
            by: fields.userIdentity.userName ?? fields.userIdentity.arn ?? "")
        if fields.eventName == "RegisterManagedInstance" {
            enrolments.append(change)
        } else if Self.names.contains(fields.eventName) || Self.prefixes.contains(where: { fields.eventName.hasPrefix($0) }) {
            revocations.append(change)
        }
    }
}

extension LostChanges {
    /// By the store that is being replaced, else by the folder that the trail is delivered to.
    static func read(behind mark: AuditMark, replaced: DataDirectory, folder: String?) async -> LostChanges {
        if replaced.exists(.database), let found = try? await read(behind: mark, store: replaced.path(of: .database)) { return found }
        if let folder, let found = try? read(behind: mark, folder: folder) { return found }
        return LostChanges()
    }

    private static func read(behind mark: AuditMark, store path: String) async throws -> LostChanges? {
        let database = try SQLiteDatabase(path: path)
        defer { try? database.close() }
        return try await database.read { tx in
            let head = try AuditLog.head(in: tx)
            guard head.trail == mark.trail, head.sequence >= mark.sequence, try AuditStore.mark(at: mark.sequence, in: tx) == mark else {
                return nil
            }
            var lost = LostChanges(source: "the store that was replaced")
            var last = mark.sequence
            while true {
                let rows = try tx.query(
                    "SELECT sequence, record FROM audit_events WHERE sequence > $1 ORDER BY sequence LIMIT 1000", [.integer(last)])
                for row in rows {
                    lost.add(Array(try row.text("record").utf8))
                    last = try row.integer("sequence")
                }
                if rows.count < 1000 { return lost }
            }
        }
    }

    private static func read(behind mark: AuditMark, folder path: String) throws -> LostChanges? {
        let folder = try PrivateFolder(path: path)
        var lost = LostChanges(source: "the audit trail in \(path)")
        var last = mark.sequence
        var isKnown = false
        for name in try folder.names().filter({ $0.hasPrefix("audit-") && $0.hasSuffix(".jsonl") }).sorted() {
            let file = try folder.open(name, O_RDONLY)
            var (rest, offset): ([UInt8], Int64) = ([], 0)
            var trail = ""
            while true {
                let piece = try file.read(from: offset, atMost: 1 << 20)
                if piece.isEmpty { break }
                offset += Int64(piece.count)
                rest += piece
                guard let end = rest.lastIndex(of: 0x0a) else {
                    guard rest.count <= AuditLine.maximumLength else { return nil }
                    continue
                }
                for line in rest[...end].split(separator: 0x0a) {
                    switch AuditLine(Array(line)) {
                    case .trail(let begun): trail = begun.trail
                    case .record(let record) where trail == mark.trail && record.sequence == mark.sequence: isKnown = true
                    case .record(let record) where trail == mark.trail && record.sequence > last:
                        lost.add(record.bytes)
                        last = record.sequence
                    default: break
                    }
                }
                rest.removeFirst(end + 1)
            }
        }
        return isKnown || last > mark.sequence ? lost : nil
    }
}
