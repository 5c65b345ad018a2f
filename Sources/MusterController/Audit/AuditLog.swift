package import MusterWire

/// The audit trail in the store. A change and its event are one transaction: neither exists without the other.
///
/// The chain's head is a row of its own. It is read and written inside the caller's transaction, so an event whose change is taken back
/// leaves no trace in the chain, and the next one takes its place.
package enum AuditLog {
    package static func append(_ event: AuditEvent, in tx: any SQLTransaction) throws {
        try append([event], in: tx)
    }

    /// Many at once read and write the head once.
    package static func append(_ events: [AuditEvent], in tx: any SQLTransaction) throws {
        guard !events.isEmpty else { return }
        let row = try headRow(in: tx)
        var chain = row.chain
        var (time, timeText) = (Int64.min, "")
        for event in events {
            if event.time.milliseconds != time { (time, timeText) = (event.time.milliseconds, event.time.iso8601) }
            let record = AuditRecordText(event, account: row.account, region: row.region, time: timeText).bytes
            chain.append(record)
            try tx.execute(
                """
                INSERT INTO audit_events (sequence, event_id, time_ms, caller, operation, resource, outcome, record, digest, related, user_name)
                VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
                """,
                [
                    .integer(chain.sequence), .text(event.id), .integer(event.time.milliseconds), .text(event.caller.arn),
                    .text(event.operation), .text(event.resource), .text(event.outcome.rawValue),
                    .text(String(decoding: record, as: UTF8.self)), .text(chain.mark.digest), .text(event.related),
                    .text(event.caller.userName),
                ])
        }
        try setHead(chain, in: tx)
    }

    // MARK: The head

    struct Head: Sendable {
        let chain: AuditChain
        let account: String
        let region: String
    }

    static func headRow(in tx: any SQLTransaction) throws -> Head {
        guard let row = try tx.first("SELECT trail, sequence, digest, account, region FROM audit_head WHERE number = 1") else {
            throw StoredValueError(table: "audit_head", key: "1")
        }
        let mark = AuditMark(trail: try row.text("trail"), sequence: try row.integer("sequence"), digest: try row.text("digest"))
        guard let chain = AuditChain(mark) else { throw StoredValueError(table: "audit_head", key: mark.digest) }
        return Head(chain: chain, account: try row.text("account"), region: try row.text("region"))
    }

    static func setHead(_ chain: AuditChain, in tx: any SQLTransaction) throws {
        try tx.execute(
            "UPDATE audit_head SET sequence = $1, digest = $2 WHERE number = 1", [.integer(chain.sequence), .text(chain.mark.digest)])
    }

    package static func head(in tx: any SQLTransaction) throws -> AuditMark { try headRow(in: tx).chain.mark }

    /// What records say of where they were made.
    package static func adopt(account: String, region: String, in tx: any SQLTransaction) throws {
        try tx.execute("UPDATE audit_head SET account = $1, region = $2 WHERE number = 1", [.text(account), .text(region)])
    }

    // MARK: Reading

    /// Newest first; for tests and for people who look.
    package static func newest(_ count: Int, in tx: any SQLTransaction) throws -> [Entry] {
        try tx.query(
            "SELECT time_ms, caller, operation, resource, outcome FROM audit_events ORDER BY sequence DESC LIMIT $1",
            [.integer(count)]
        ).map { row in
            Entry(
                time: Timestamp(milliseconds: try row.integer("time_ms")), caller: try row.text("caller"),
                operation: try row.text("operation"), resource: try row.text("resource"), outcome: try row.text("outcome"))
        }
    }

    package struct Entry: Sendable, Equatable {
        package let time: Timestamp
        package let caller: String
        package let operation: String
        package let resource: String
        package let outcome: String
    }
}
