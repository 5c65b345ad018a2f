internal import MusterCrypto
internal import MusterWire

/// Chains the rows of a store from before the chain. Their records are written in the new shape and say that they were chained later: what
/// happened to them until then, nobody can know.
enum AuditUpgrade {
    private static let bite = 500

    /// The record as it was before.
    private struct Former: Decodable {
        struct Identity: Decodable {
            let userName: String
            let accessKeyId: String
        }
        let userIdentity: Identity
        let sourceIPAddress: String
        let userAgent: String
        let requestID: String
        let awsRegion: String
        let details: [String: String]
    }

    static func chainRows(in tx: any SQLTransaction) throws {
        let account = try MetaStore.value(.account, in: tx) ?? ""
        var chain = AuditChain(trail: Hex.encode(RandomBytes.make(16)))
        var last: Int64 = 0
        while true {
            let rows = try tx.query(
                """
                SELECT sequence, event_id, time_ms, caller, operation, resource, outcome, record FROM audit_events
                WHERE sequence > $1 ORDER BY sequence LIMIT $2
                """, [.integer(last), .integer(bite)])
            for row in rows {
                let event = try event(row)
                let record = AuditRecordText(event, account: account, region: "", time: event.time.iso8601).bytes
                chain.append(record)
                last = try row.integer("sequence")
                // A row that somebody removed before leaves a gap, which a chain does not have.
                try tx.execute(
                    "UPDATE audit_events SET record = $1, digest = $2, related = $3, user_name = $4, sequence = $5 WHERE sequence = $6",
                    [
                        .text(String(decoding: record, as: UTF8.self)), .text(chain.mark.digest), .text(event.related),
                        .text(event.caller.userName), .integer(chain.sequence), .integer(last),
                    ])
            }
            if rows.count < bite { break }
        }
        try tx.execute(
            "INSERT INTO audit_head (number, trail, sequence, digest, account, region) VALUES (1, $1, $2, $3, $4, '')",
            [.text(chain.trail), .integer(chain.sequence), .text(chain.mark.digest), .text(account)])
    }

    private static func event(_ row: SQLRow) throws -> AuditEvent {
        let former = try JSONCoding.decode(Former.self, from: Array(row.text("record").utf8))
        guard let outcome = AuditEvent.Outcome(rawValue: try row.text("outcome")) else {
            throw StoredValueError(table: "audit_events", key: try row.text("event_id"))
        }
        return AuditEvent(
            time: Timestamp(milliseconds: try row.integer("time_ms")),
            caller: Caller(
                accessKeyID: former.userIdentity.accessKeyId, userName: former.userIdentity.userName, arn: try row.text("caller"),
                sourceAddress: former.sourceIPAddress, userAgent: former.userAgent),
            requestID: former.requestID, region: former.awsRegion, operation: try row.text("operation"), resource: try row.text("resource"),
            outcome: outcome, details: former.details.merging(["chained": "at upgrade"]) { first, _ in first },
            id: try row.text("event_id"))
    }
}
