/// Reading the audit trail: requests that carry at most one piece, so that memory is bounded on both sides.
///
///     POST /v1/audit-checkpoint                     signs one; says how far the trail goes
///     GET  /v1/audit?after=N&until=M&more=1         lines from behind N up to M, as `AuditLine`; with `more` without the first
package enum AuditRoute {
    package static let checkpoint = "/v1/audit-checkpoint"
    package static let read = "/v1/audit"

    /// The piece ends with the line that reaches it.
    package static let pieceBytes = 768 << 10
    package static let pieceRecords = 2_000
}

/// The answer to a request for a checkpoint.
package struct AuditHead: Codable, Sendable, Equatable {
    /// As far as the checkpoint covers it.
    package var mark: AuditMark
    /// The last record that was removed because it had served its time; 0 if none was.
    package var removed: Int64
    package var checkpoint: AuditCheckpoint

    package init(mark: AuditMark, removed: Int64, checkpoint: AuditCheckpoint) {
        (self.mark, self.removed, self.checkpoint) = (mark, removed, checkpoint)
    }
}
