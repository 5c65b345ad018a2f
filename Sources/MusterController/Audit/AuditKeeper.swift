internal import FoundationEssentials
package import Logging
package import MusterCrypto
package import MusterWire
internal import NIOConcurrencyHelpers
package import ServiceLifecycle

/// Keeps watch over the audit trail. [service]
///
///     at start     the store is held against the checkpoints that are known outside of it
///     every minute what was appended is held against the chain, and what was there against what this process has seen
///     every hour   a signed checkpoint; also at start, at shutdown, and before an export
///
/// It starts first and stops last, so that the last checkpoint covers the whole run.
package final class AuditKeeper: Service {
    package static let rollback = "DetectAuditRollback"
    package static let restore = "DetectAuditRestore"
    package static let tampering = "DetectAuditTampering"
    private static let watchSeconds: Int64 = 60
    private static let page = 1_000

    /// A checkpoint that somebody else has kept, and where.
    package struct Outside: Sendable {
        let place: String
        let checkpoint: AuditCheckpoint

        package init(place: String, checkpoint: AuditCheckpoint) {
            (self.place, self.checkpoint) = (place, checkpoint)
        }
    }

    private let database: any SQLDatabase
    private let authority: @Sendable () -> CertificateAuthority
    private let directory: DataDirectory
    private let interval: Int64
    private let now: @Sendable () -> Timestamp
    private let logger: Logger
    /// How far this process has seen the trail.
    private let witnessed = NIOLockedValueBox<AuditMark?>(nil)
    /// The newest row that says that it is a cut, as this process has seen it.
    private let witnessedCut = NIOLockedValueBox<String?>(nil)
    /// Who has issued since this process began: they have signed its cuts. From memory, because the store is what is being watched.
    private let issuers = NIOLockedValueBox<[Certificate]>([])

    package init(
        database: any SQLDatabase, authority: @escaping @Sendable () -> CertificateAuthority, directory: DataDirectory,
        checkpointSeconds: Int = 3_600, now: @escaping @Sendable () -> Timestamp = { .now() }, logger: Logger
    ) {
        self.database = database
        self.authority = authority
        self.directory = directory
        self.now = now
        self.logger = logger
        interval = Int64(checkpointSeconds)
    }

    // MARK: Start

    /// Before anything is appended. What is found is an event itself: a store that was put back on purpose has to be able to go on, and
    /// nobody shall be able to say that it was not.
    package func begin(_ outside: [Outside] = []) async throws {
        var known = outside
        if directory.exists(.auditCheckpoint) {
            let path = directory.path(of: .auditCheckpoint)
            do {
                let checkpoint = try JSONCoding.decode(AuditCheckpoint.self, from: Array(try directory.text(.auditCheckpoint).utf8))
                known.append(Outside(place: path, checkpoint: checkpoint))
            } catch {
                try await report(Self.rollback, ["found": "the checkpoint beside the store is unreadable", "checkpoint": path])
            }
        }
        for outside in known { try await hold(against: outside) }
        let (head, cut) = try await database.read { tx in (try AuditLog.head(in: tx), try AuditStore.newestCut(in: tx)) }
        witnessed.withLockedValue { $0 = head }
        witnessedCut.withLockedValue { $0 = cut }
        _ = knownIssuers()
        _ = try await checkpoint(.start)
    }

    /// Also later, for a checkpoint that could not be read at start.
    package func hold(against outside: Outside) async throws {
        guard let found = try await contradiction(outside) else { return }
        let statement = try? outside.checkpoint.decoded()
        if let statement, let restoration = try await explanation(of: statement, outside) {
            return try await reportRestore(statement, restoration, outside)
        }
        try await report(
            Self.rollback,
            [
                "found": found, "checkpoint": outside.place, "checkpointTime": statement?.time.iso8601 ?? "",
                "checkpointSequence": statement.map { String($0.mark.sequence) } ?? "",
            ])
    }

    /// What is wrong with the store if the checkpoint is right, in words. Nil if it goes on from there.
    private func contradiction(_ outside: Outside) async throws -> String? {
        try await database.read { tx in
            guard let statement = try? outside.checkpoint.decoded() else { return "the checkpoint is unreadable" }
            guard try AuthorityStore.all(in: tx).contains(where: { outside.checkpoint.isSigned(by: $0.certificate) }) else {
                return "the checkpoint is not signed by this controller"
            }
            let (head, mark) = (try AuditLog.head(in: tx), statement.mark)
            guard head.trail == mark.trail else { return "the store has another trail: it was replaced" }
            guard mark.sequence <= head.sequence else {
                return "the store ends with record \(head.sequence), the checkpoint covers \(mark.sequence): it was rolled back"
            }
            guard let stored = try AuditStore.mark(at: mark.sequence, in: tx) else {
                let oldest = try AuditStore.oldest(in: tx).mark.sequence
                return oldest > mark.sequence ? nil : "record \(mark.sequence) is missing"
            }
            return stored == mark
                ? nil : "record \(mark.sequence) has another digest: the store was rolled back and went on, or was written anew"
        }
    }

    /// A signed restore is why the store does not go on from there: the checkpoint is of the time between the backup and the restore.
    private func explanation(of statement: AuditStatement, _ outside: Outside) async throws -> StoreRestorationStatement? {
        try await database.read { tx in
            guard let restoration = try StoreIdentity(in: tx).restoration, let restored = try? restoration.decoded() else { return nil }
            let known = try AuthorityStore.all(in: tx).map(\.certificate)
            guard known.contains(where: { restoration.isSigned(by: $0) }), known.contains(where: { outside.checkpoint.isSigned(by: $0) }),
                statement.mark.trail == restored.mark.trail, statement.mark.sequence > restored.mark.sequence,
                statement.time <= restored.time,
                // The store is the one that was restored.
                try AuditStore.mark(at: restored.mark.sequence, in: tx).map({ $0 == restored.mark }) ?? true
            else { return nil }
            return restored
        }
    }

    private func reportRestore(_ statement: AuditStatement, _ restored: StoreRestorationStatement, _ outside: Outside) async throws {
        let details = [
            "found": "the store was restored: records \(restored.mark.sequence + 1) to \(statement.mark.sequence) are not in it any more",
            "checkpoint": outside.place, "checkpointTime": statement.time.iso8601, "restoredAt": restored.time.iso8601,
        ]
        logger.warning(
            "the audit trail was restored from a backup", metadata: Logger.Metadata(uniqueKeysWithValues: details.map { ($0, "\($1)") }))
        let event = AuditEvent(time: now(), controllerDid: Self.restore, resource: "*", outcome: .success, details: details)
        try await database.write { tx in try AuditLog.append(event, in: tx) }
    }

    private func report(_ operation: String, _ details: [String: String]) async throws {
        logger.critical(
            "the audit trail is not what it was", metadata: Logger.Metadata(uniqueKeysWithValues: details.map { ($0, "\($1)") }))
        let event = AuditEvent(time: now(), controllerDid: operation, resource: "*", outcome: .failed, details: details)
        try await database.write { tx in try AuditLog.append(event, in: tx) }
    }

    // MARK: Checkpoints

    /// Of the head as it is. What is covered already is not signed again, but for the start and the end of a run.
    @discardableResult package func checkpoint(_ kind: AuditStatement.Kind) async throws -> AuditCheckpoint {
        let (time, authority) = (now(), authority())
        let checkpoint = try await database.write { tx in
            if kind == .regular || kind == .request, let latest = try AuditStore.latestCheckpoint(in: tx),
                try latest.decoded().mark == AuditLog.head(in: tx)
            {
                return latest
            }
            return try AuditStore.checkpoint(kind, time: time, by: authority, in: tx)
        }
        do {
            try directory.write(String(decoding: try JSONCoding.encode(checkpoint), as: UTF8.self) + "\n", to: .auditCheckpoint)
        } catch {
            logger.error("checkpoint of the audit trail not kept beside the store", metadata: ["error": "\(PlainWords.of(error))"])
        }
        return checkpoint
    }

    package func run() async throws {
        await cancelWhenGracefulShutdown { [self] in
            var due = now().adding(seconds: interval)
            while !Task.isCancelled {
                try? await Task.sleep(for: .seconds(min(Self.watchSeconds, interval)))
                guard !Task.isCancelled else { return }
                do {
                    try await watch()
                    guard now() >= due else { continue }
                    try await checkpoint(.regular)
                    due = now().adding(seconds: interval)
                } catch {
                    logger.error("audit trail not checked", metadata: ["error": "\(PlainWords.of(error))"])
                }
            }
        }
        do {
            try await watch()
            try await checkpoint(.shutdown)
        } catch {
            logger.error("no checkpoint of the audit trail at shutdown", metadata: ["error": "\(PlainWords.of(error))"])
        }
    }

    // MARK: Watching

    /// Somebody who writes into the database while the controller runs is noticed within a minute, also if they make the chain anew.
    package func watch() async throws {
        guard let seen = witnessed.withLockedValue({ $0 }), let chain = AuditChain(seen) else { return }
        try await watchCut()
        try await watchRecords(from: chain)
    }

    private func knownIssuers() -> [Certificate] {
        let current = authority().certificate
        return issuers.withLockedValue { known in
            if !known.contains(where: { $0.fingerprint == current.fingerprint }) { known.append(current) }
            return known
        }
    }

    /// A cut is what excuses missing records: one that came since the last time is ours, or somebody wants to hide some.
    private func watchCut() async throws {
        let (cut, genuine) = try await database.read { tx in
            let cut = try AuditStore.newestCut(in: tx)
            // Behind the first read: what was read is not younger than they are.
            return (cut, try AuditStore.oldest(signedBy: self.knownIssuers(), in: tx).cut)
        }
        guard cut != witnessedCut.withLockedValue({ $0 }) else { return }
        let said = cut.flatMap { try? JSONCoding.decode(AuditCheckpoint.self, from: Array($0.utf8)) }
        if said == nil || said != genuine {
            try await report(Self.tampering, ["found": "the last cut of the trail is not one that this controller has signed"])
        }
        // Said once.
        witnessedCut.withLockedValue { $0 = cut }
    }

    /// Holds what was appended since the last time against the chain.
    private func watchRecords(from seen: AuditChain) async throws {
        var chain = seen
        var fault: String?
        while fault == nil {
            let mark = chain.mark
            let (rows, stored, head, oldest) = try await database.read { tx in
                let head = try AuditLog.head(in: tx)
                let issuers = self.knownIssuers()
                return (
                    try tx.query(
                        "SELECT sequence, digest, record FROM audit_events WHERE sequence > $1 ORDER BY sequence LIMIT $2",
                        [.integer(mark.sequence), .integer(Self.page)]),
                    try AuditStore.mark(at: mark.sequence, signedBy: issuers, in: tx), head,
                    try AuditStore.oldest(signedBy: issuers, in: tx).mark
                )
            }
            if oldest.sequence > mark.sequence, let next = AuditChain(oldest) {
                chain = next
                continue
            }
            if stored != mark {
                fault = "record \(mark.sequence) is not the one that this process has seen"
                break
            }
            for row in rows {
                chain.append(Array(try row.text("record").utf8))
                let (sequence, digest) = (try row.integer("sequence"), try row.text("digest"))
                if chain.sequence != sequence || chain.mark.digest != digest {
                    fault = "record \(chain.sequence) does not follow"
                    break
                }
            }
            if fault == nil, rows.count < Self.page {
                if head != chain.mark { fault = "the head is at record \(head.sequence), the last record is \(chain.sequence)" }
                break
            }
        }
        if let fault {
            try await report(Self.tampering, ["found": fault])
            // Said once; what follows is watched from here.
            let head = try await database.read { tx in try AuditLog.head(in: tx) }
            witnessed.withLockedValue { $0 = head }
        } else {
            let mark = chain.mark
            witnessed.withLockedValue { $0 = mark }
        }
    }
}
