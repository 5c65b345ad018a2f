package import Logging
package import MusterWire
internal import NIOConcurrencyHelpers
package import ServiceLifecycle

/// Where the audit trail goes. Two are never of one name.
package protocol AuditTarget: Sendable {
    var name: String { get }
    /// Between two looks for news.
    var pause: Duration { get }
    /// What the target itself says it has; nil if it cannot say.
    func reached() async throws -> AuditMark?
    /// Returns when the target has the lines for good, as far as it can tell.
    /// - Parameter position: what they follow.
    func deliver(_ lines: [AuditLine], after position: AuditDelivery.Position) async throws
    /// The latest checkpoint that the target keeps; nil if it keeps none, or cannot say.
    func latestCheckpoint() async throws -> AuditCheckpoint?
}

/// Brings the audit trail to one target. [service]
///
/// How far the target has come stands in the store, so a target that was away, or a restart, costs time only. A crash between the delivery
/// and that row repeats some records, never leaves one out.
package struct AuditDelivery: Service {
    package struct Position: Sendable, Equatable {
        package let mark: AuditMark
        /// The number of the last checkpoint before.
        package let checkpoint: Int64
    }

    private static let records = 1_000
    private static let bytes = 1 << 20
    private static let longestPause = Duration.seconds(30)
    /// At shutdown, for what has not been delivered yet.
    private static let farewell = Duration.seconds(5)

    let target: any AuditTarget
    let database: any SQLDatabase
    let metrics: Metrics
    let logger: Logger
    private let unread: (@Sendable (AuditCheckpoint) async throws -> Void)?
    private let hasRead = NIOLockedValueBox(false)

    /// - Parameter unread: given if the target's checkpoint could not be read at start; called with it before the first delivery, which
    ///   replaces it. Otherwise who puts a store back would only have to keep the target away for a moment.
    package init(
        target: any AuditTarget, database: any SQLDatabase, metrics: Metrics, logger: Logger,
        unread: (@Sendable (AuditCheckpoint) async throws -> Void)? = nil
    ) {
        (self.target, self.database, self.metrics, self.logger, self.unread) = (target, database, metrics, logger, unread)
    }

    package func run() async throws {
        await cancelWhenGracefulShutdown {
            var failure: String?
            var pause = target.pause
            while !Task.isCancelled {
                do {
                    try await round()
                    if failure != nil { logger.notice("audit trail delivered again", metadata: ["target": "\(target.name)"]) }
                    (failure, pause) = (nil, target.pause)
                } catch {
                    let words = PlainWords.of(error)
                    if failure != words, !Task.isCancelled {
                        logger.error(
                            "audit trail not delivered; it waits in the store", metadata: ["target": "\(target.name)", "error": "\(words)"])
                    }
                    failure = words
                    pause = min(max(pause, .seconds(1)) * 2, max(Self.longestPause, target.pause))
                }
                try? await Task.sleep(for: pause)
            }
        }
        // The keeper has signed its last checkpoint by now.
        await withTaskGroup(of: Void.self) { group in
            group.addTask {
                do {
                    try await round()
                } catch {
                    logger.error(
                        "audit trail not delivered at shutdown", metadata: ["target": "\(target.name)", "error": "\(PlainWords.of(error))"])
                }
            }
            group.addTask { try? await Task.sleep(for: Self.farewell) }
            await group.next()
            group.cancelAll()
        }
    }

    /// Everything that the target does not have.
    package func round() async throws {
        try await readCheckpoint()
        var (position, cut) = try await begin()
        while !Task.isCancelled {
            let (after, isFirst) = (position, cut)
            let (piece, head) = try await database.read { tx in
                (
                    try AuditStore.piece(
                        after: after.mark, checkpoint: after.checkpoint, records: Self.records, bytes: Self.bytes, in: tx),
                    try AuditLog.head(in: tx)
                )
            }
            metrics.set("muster_audit_undelivered_records", [("target", target.name)], to: Double(head.sequence - after.mark.sequence))
            guard !piece.isEmpty else { return }
            try await target.deliver((isFirst.map { [.checkpoint($0)] } ?? []) + piece.lines, after: after)
            hasRead.withLockedValue { $0 = true }
            let reached = Position(mark: piece.mark, checkpoint: piece.checkpoint)
            try await database.write { [target] tx in
                try AuditStore.set(AuditStore.Position(mark: reached.mark, checkpoint: reached.checkpoint), of: target.name, in: tx)
            }
            (position, cut) = (reached, nil)
            metrics.set("muster_audit_undelivered_records", [("target", target.name)], to: Double(head.sequence - reached.mark.sequence))
        }
    }

    private func readCheckpoint() async throws {
        guard let unread, !hasRead.withLockedValue({ $0 }) else { return }
        do {
            if let checkpoint = try await target.latestCheckpoint() { try await unread(checkpoint) }
            hasRead.withLockedValue { $0 = true }
        } catch let error where Self.isAnswer(error) {
            // As to a key that may write and not read. The records have to go on.
            logger.warning(
                "no checkpoint of the audit trail read from a target",
                metadata: ["target": "\(target.name)", "error": "\(PlainWords.of(error))"])
        }
    }

    /// Whether the target was there and gave nothing that can be used.
    private static func isAnswer(_ error: any Error) -> Bool {
        if let failure = error as? ObjectUpload.Failure { return (400..<500).contains(failure.status) }
        return error is DecodingError
    }

    /// Where to go on, and the cut that comes first where the trail does not begin with its first record.
    private func begin() async throws -> (Position, AuditCheckpoint?) {
        let said = try await target.reached()
        return try await database.read { [target] tx in
            let (oldest, cut) = try AuditStore.oldest(in: tx)
            var position = try AuditStore.position(of: target.name, in: tx)
            // What the target has counts more than what the store remembers, as long as it is of this trail.
            if let said, try AuditStore.mark(at: said.sequence, in: tx) == said {
                position = AuditStore.Position(mark: said, checkpoint: position?.checkpoint ?? 0)
            }
            guard let position, position.mark.sequence >= oldest.sequence,
                try AuditStore.mark(at: position.mark.sequence, in: tx) == position.mark
            else { return (Position(mark: oldest, checkpoint: 0), cut) }
            return (Position(mark: position.mark, checkpoint: position.checkpoint), nil)
        }
    }
}
