internal import FoundationEssentials
package import MusterWire

extension AuditEvent {
    static func makeID() -> String {
        UUID().uuidString.lowercased()
    }
}

/// The audit trail in the store. A change and its event are one transaction: neither exists without the other.
package enum AuditLog {
    package static func append(_ event: AuditEvent, in tx: any SQLTransaction) throws {
        let record = String(decoding: try JSONCoding.encode(event.record), as: UTF8.self)
        try tx.execute(
            """
            INSERT INTO audit_events (sequence, event_id, time_ms, caller, operation, resource, outcome, record)
            VALUES ((SELECT COALESCE(MAX(sequence), 0) + 1 FROM audit_events), $1, $2, $3, $4, $5, $6, $7)
            """,
            [
                .text(event.id), .integer(event.time.milliseconds), .text(event.caller), .text(event.operation),
                .text(event.resource), .text(event.outcome.rawValue), .text(record),
            ])
    }

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
