internal import MusterCrypto
package import MusterWire

/// Access requests, each as one record. What they are looked for by has columns.
package enum ApprovalStore {
    /// Open ones of one user at a time.
    package static let mostOpen = 20
    private static let looked: Int64 = 100

    package static func makeID() -> String { "oi-" + Hex.encode(RandomBytes.make(6)) }

    package static func request(_ id: String, in tx: any SQLTransaction) throws -> ApprovalRequest? {
        try tx.first("SELECT record FROM approvals WHERE request_id = $1", [.text(id)]).map(request)
    }

    /// The newest that is for what is asked: usable ones before those that wait, and these before those that were refused a moment ago.
    package static func answering(_ need: ApprovalNeed, now: Timestamp, in tx: any SQLTransaction) throws -> ApprovalRequest? {
        let found = try tx.query(
            "SELECT record FROM approvals WHERE binding = $1 AND ends_at > $2 ORDER BY requested_at DESC, request_id LIMIT $3",
            [.text(need.subject.binding(need.principal)), .integer(now.milliseconds), .integer(looked)]
        ).map(request).filter { $0.answers(need) }
        let order: [ApprovalRequest.Status] = [.approved, .pending, .rejected]
        return order.lazy.compactMap { status in found.first { $0.status(at: now) == status } }.first
    }

    package static func openCount(of userID: String, now: Timestamp, in tx: any SQLTransaction) throws -> Int {
        Int(
            try tx.first(
                "SELECT COUNT(*) AS number FROM approvals WHERE user_id = $1 AND status = 'Pending' AND ends_at > $2",
                [.text(userID), .integer(now.milliseconds)])?.integer("number") ?? 0)
    }

    /// Newest first.
    package static func all(onlyOpen: Bool, limit: Int, now: Timestamp, in tx: any SQLTransaction) throws -> [ApprovalRequest] {
        try tx.query(
            """
            SELECT record FROM approvals WHERE $1 = 0 OR (status IN ('Pending', 'Approved') AND ends_at > $2)
            ORDER BY requested_at DESC, request_id LIMIT $3
            """, [.integer(onlyOpen ? 1 : 0), .integer(now.milliseconds), .integer(Int64(limit))]
        ).map(request)
    }

    package static func insert(_ request: ApprovalRequest, binding: String, now: Timestamp, in tx: any SQLTransaction) throws {
        try tx.execute(
            """
            INSERT INTO approvals (request_id, user_id, binding, status, requested_at, ends_at, record) VALUES ($1, $2, $3, $4, $5, $6, $7)
            """,
            [
                .text(request.id), .text(request.requester.userID), .text(binding), .text(request.status(at: now).rawValue),
                .integer(request.requestedAt.milliseconds), .integer(ends(request).milliseconds), .text(try record(request)),
            ])
    }

    package static func update(_ request: ApprovalRequest, now: Timestamp, in tx: any SQLTransaction) throws {
        try tx.execute(
            "UPDATE approvals SET status = $2, ends_at = $3, record = $4 WHERE request_id = $1",
            [
                .text(request.id), .text(request.status(at: now).rawValue), .integer(ends(request).milliseconds),
                .text(try record(request)),
            ])
    }

    /// Those whose time is over and whose row does not say so yet.
    package static func overdue(now: Timestamp, in tx: any SQLTransaction) throws -> [ApprovalRequest] {
        try tx.query(
            "SELECT record FROM approvals WHERE status IN ('Pending', 'Approved') AND ends_at <= $1 LIMIT 500", [.integer(now.milliseconds)]
        ).map(request)
    }

    package static func setExpired(_ id: String, in tx: any SQLTransaction) throws {
        try tx.execute("UPDATE approvals SET status = 'Expired' WHERE request_id = $1", [.text(id)])
    }

    /// But not those by which a session lives on: without its grant it would be one that nobody allowed.
    package static func remove(before time: Timestamp, in tx: any SQLTransaction) throws {
        let used = Set(try SessionStore.liveAccess(in: tx).compactMap { $0.1.approval })
        for row in try tx.query("SELECT request_id FROM approvals WHERE ends_at < $1", [.integer(time.milliseconds)]) {
            let id = try row.text("request_id")
            if !used.contains(id) { try tx.execute("DELETE FROM approvals WHERE request_id = $1", [.text(id)]) }
        }
    }

    /// When its state ends by itself; for what has ended, when it was asked.
    private static func ends(_ request: ApprovalRequest) -> Timestamp {
        switch request.state {
        case .pending(let until), .granted(_, let until), .refused(_, _, let until): until
        case .revoked, .usedUp, .expired: request.requestedAt
        }
    }

    private static func record(_ request: ApprovalRequest) throws -> String {
        String(decoding: try JSONCoding.encode(request), as: UTF8.self)
    }

    private static func request(_ row: SQLRow) throws -> ApprovalRequest {
        try JSONCoding.decode(ApprovalRequest.self, from: Array(try row.text("record").utf8))
    }
}

/// Writes down what has expired, and removes what nobody looks up any more.
struct ApprovalRetention: Chore {
    let database: any SQLDatabase
    let days: Int
    let subject = "old access requests"

    func clean(now: Timestamp) async throws {
        try await database.write { tx in
            for request in try ApprovalStore.overdue(now: now, in: tx) {
                try ApprovalStore.setExpired(request.id, in: tx)
                try AuditLog.append(
                    AuditEvent(
                        time: now, controllerDid: "ExpireApproval", resource: request.id,
                        details: ["requester": request.requester.arn, "action": request.subject.action]), in: tx)
            }
            try ApprovalStore.remove(before: now.adding(seconds: Int64(days) * -86_400), in: tx)
        }
    }
}
