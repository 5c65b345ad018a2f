import MusterCrypto
package import MusterWire

/// A session as its row holds it.
package struct SessionRecord: Sendable, Equatable {
    /// What the agent is told: the document as JSON, the parameters as it takes them.
    package struct Order: Sendable, Equatable {
        package var document: String
        package var parameters: [String: JSONValue]
        /// Resolved here; empty when the agent's own default applies.
        package var runAsUser: String
    }

    package var facts: SessionFacts
    package var generation: Int
    package var order: Order
    package var idleMinutes: Int
    package var maximumMinutes: Int?
    package var grant: SessionGrant
    /// What the client said of itself when it first opened its leg.
    package var client: SessionClient?
    /// The agent may have heard of it.
    package var isOrdered: Bool
    package var status: SessionStatus
    package var details: String
    package var endedAt: Timestamp?
    /// Since when it has its status; nil if that is not known.
    package var statusAt: Timestamp?

    package var id: SessionID { facts.id }

    /// Of a session whose client is away, since when: how long it has been is what one wants to know of it.
    private var words: String {
        guard status == .disconnected, let statusAt else { return details }
        return "Disconnected since \(statusAt.iso8601)"
    }

    package var shape: Session {
        Session(
            sessionID: id, target: facts.node.description, status: status, startDate: facts.started, endDate: endedAt,
            documentName: facts.document, owner: facts.ownerARN, reason: facts.reason.isEmpty ? nil : facts.reason,
            details: words.isEmpty ? nil : words, outputURL: SessionOutputURL(),
            maxSessionDuration: maximumMinutes.map(String.init), accessType: "Standard")
    }
}

package enum SessionStore {
    /// The names that ids of sessions and recordings begin with.
    static func owners(in tx: any SQLTransaction) throws -> [String] {
        let name = "SUBSTR(session_id, 1, LENGTH(session_id) - 18) AS owner"
        return try tx.query("SELECT \(name) FROM sessions UNION SELECT \(name) FROM recordings").map { try $0.text("owner") }
    }

    /// What a list is about. Nil members do not select.
    package struct Selection: Sendable, Equatable {
        package var isOver: Bool
        package var after: Timestamp?
        package var before: Timestamp?
        package var target: String?
        package var owner: String?
        package var status: String?
        package var session: String?
        /// Only `Standard` exists.
        package var accessType: String?

        package init(isOver: Bool) {
            self.isOver = isOver
        }
    }

    /// Newest first; the id makes it total.
    package struct Position: Sendable, Equatable {
        package let startedAt: Int64
        package let session: String

        package var text: String { "\(startedAt) \(session)" }

        package init(startedAt: Int64, session: String) {
            self.startedAt = startedAt
            self.session = session
        }

        package init?(_ text: String) {
            let parts = text.split(separator: " ", maxSplits: 1)
            guard parts.count == 2, let startedAt = Int64(parts[0]) else { return nil }
            self.init(startedAt: startedAt, session: String(parts[1]))
        }
    }

    private static let over = "('Terminated', 'Failed')"

    /// With what allowed it: that is looked at as long as the session lives.
    package static func insert(_ record: SessionRecord, by permit: Permit, in tx: any SQLTransaction) throws {
        try tx.execute(
            """
            INSERT INTO sessions (session_id, node_id, generation, facts, owner_arn, document, parameters, run_as_user, idle_minutes,
                maximum_minutes, token_digest, token_expires_at, token_holder, status, started_at, access)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)
            """,
            [
                .text(record.id.rawValue), .text(record.facts.node.description), .integer(record.generation),
                .text(try json(record.facts)), .text(record.facts.ownerARN), .text(record.order.document),
                .text(try json(record.order.parameters)), .text(record.order.runAsUser), .integer(record.idleMinutes),
                .integer(record.maximumMinutes.map(Int64.init)), .text(Hex.encode(record.grant.digest)),
                .integer(record.grant.expiresAt.milliseconds), .text(try record.grant.holder.map(json)), .text(record.status.rawValue),
                .integer(record.facts.started.milliseconds), .text(try json(permit.access)),
            ])
    }

    /// What a session was allowed by; nil for one from before there were policies.
    package static func access(of id: SessionID, in tx: any SQLTransaction) throws -> GrantedAccess? {
        guard let text = try tx.first("SELECT access FROM sessions WHERE session_id = $1", [.text(id.rawValue)])?.text("access"),
            !text.isEmpty
        else { return nil }
        return try JSONCoding.decode(GrantedAccess.self, from: Array(text.utf8))
    }

    /// What the sessions that have not ended were allowed by.
    package static func liveAccess(in tx: any SQLTransaction) throws -> [(SessionID, GrantedAccess)] {
        try tx.query(
            "SELECT session_id, access FROM sessions WHERE status NOT IN \(over) AND status <> 'Terminating' AND access <> '' ORDER BY session_id"
        ).compactMap { row in
            guard let id = SessionID(try row.text("session_id")) else { return nil }
            return (id, try JSONCoding.decode(GrantedAccess.self, from: Array(try row.text("access").utf8)))
        }
    }

    package static func session(_ id: SessionID, in tx: any SQLTransaction) throws -> SessionRecord? {
        try tx.first("SELECT * FROM sessions WHERE session_id = $1", [.text(id.rawValue)]).map(record)
    }

    /// Those that have not ended, for a controller that starts.
    package static func live(in tx: any SQLTransaction) throws -> [SessionRecord] {
        try tx.query("SELECT * FROM sessions WHERE status NOT IN \(over) ORDER BY session_id").map(record)
    }

    package static func sessions(
        _ selection: Selection, after position: Position?, limit: Int, in tx: any SQLTransaction
    ) throws -> [SessionRecord] {
        if let type = selection.accessType, type != "Standard" { return [] }
        var conditions = ["status \(selection.isOver ? "IN" : "NOT IN") \(over)"]
        var arguments: [SQLValue] = []
        func add(_ condition: String, _ value: SQLValue) {
            arguments.append(value)
            conditions.append(condition + " $\(arguments.count)")
        }
        if let after = selection.after { add("started_at >=", .integer(after.milliseconds)) }
        if let before = selection.before { add("started_at <", .integer(before.milliseconds)) }
        if let target = selection.target { add("node_id =", .text(target)) }
        if let owner = selection.owner { add("owner_arn =", .text(owner)) }
        if let status = selection.status { add("status =", .text(status)) }
        if let session = selection.session { add("session_id =", .text(session)) }
        if let position {
            arguments += [.integer(position.startedAt), .text(position.session)]
            let (time, id) = (arguments.count - 1, arguments.count)
            conditions.append("(started_at < $\(time) OR (started_at = $\(time) AND session_id > $\(id)))")
        }
        arguments.append(.integer(limit))
        return try tx.query(
            """
            SELECT * FROM sessions WHERE \(conditions.joined(separator: " AND "))
            ORDER BY started_at DESC, session_id LIMIT $\(arguments.count)
            """, arguments
        ).map(record)
    }

    /// A new token, or its first opening; a former one is worth nothing from the commit on.
    package static func setGrant(_ grant: SessionGrant, of id: SessionID, in tx: any SQLTransaction) throws {
        try tx.execute(
            """
            UPDATE sessions SET token_digest = $1, token_expires_at = $2, client_id = $3, token_holder = $4, token_used = $5
            WHERE session_id = $6
            """,
            [
                .text(Hex.encode(grant.digest)), .integer(grant.expiresAt.milliseconds), .text(grant.clientID),
                .text(try grant.holder.map(json)), .integer(grant.isUsed ? 1 : 0), .text(id.rawValue),
            ])
    }

    /// The client is there, and the agent is about to hear of it.
    package static func setClient(_ client: SessionClient, at now: Timestamp, of id: SessionID, in tx: any SQLTransaction) throws {
        try tx.execute(
            "UPDATE sessions SET client = $1, ordered_at = COALESCE(ordered_at, $2) WHERE session_id = $3",
            [.text(try json(client)), .integer(now.milliseconds), .text(id.rawValue)])
    }

    /// A session that is over stays so.
    package static func setStatus(
        _ status: SessionStatus, details: String = "", at now: Timestamp, of id: SessionID, in tx: any SQLTransaction
    ) throws {
        try tx.execute(
            """
            UPDATE sessions SET status = $1, details = CASE WHEN $2 = '' THEN details ELSE $2 END, status_at = $3
            WHERE session_id = $4 AND status NOT IN \(over)
            """,
            [.text(status.rawValue), .text(details), .integer(now.milliseconds), .text(id.rawValue)])
    }

    package static func end(
        _ id: SessionID, _ status: SessionStatus, details: String, at now: Timestamp, in tx: any SQLTransaction
    ) throws {
        try tx.execute(
            """
            UPDATE sessions SET status = $1, details = $2, ended_at = $3, token_expires_at = 0
            WHERE session_id = $4 AND status NOT IN \(over)
            """,
            [.text(status.rawValue), .text(details), .integer(now.milliseconds), .text(id.rawValue)])
    }

    /// Some of those that ended before; the number says whether there may be more.
    package static func removeEnded(before: Timestamp, limit: Int, in tx: any SQLTransaction) throws -> Int {
        try tx.execute(
            """
            DELETE FROM sessions WHERE session_id IN
                (SELECT session_id FROM sessions WHERE ended_at IS NOT NULL AND ended_at < $1 ORDER BY ended_at LIMIT $2)
            """, [.integer(before.milliseconds), .integer(limit)])
        return tx.changes
    }

    private static func json(_ value: some Encodable) throws -> String {
        String(decoding: try JSONCoding.encode(value), as: UTF8.self)
    }

    private static func record(_ row: SQLRow) throws -> SessionRecord {
        let id = try row.text("session_id")
        func decode<T: Decodable>(_ type: T.Type, _ column: String) throws -> T {
            try JSONCoding.decode(type, from: Array(row.text(column).utf8))
        }
        guard let status = SessionStatus(rawValue: try row.text("status")), let digest = Hex.decode(try row.text("token_digest")),
            let facts = try? decode(SessionFacts.self, "facts"), let parameters = try? decode([String: JSONValue].self, "parameters")
        else { throw StoredValueError(table: "sessions", key: id) }
        return SessionRecord(
            facts: facts, generation: Int(try row.integer("generation")),
            order: .init(document: try row.text("document"), parameters: parameters, runAsUser: try row.text("run_as_user")),
            idleMinutes: Int(try row.integer("idle_minutes")), maximumMinutes: try row.optionalInteger("maximum_minutes").map(Int.init),
            grant: SessionGrant(
                digest: digest, expiresAt: Timestamp(milliseconds: try row.integer("token_expires_at")),
                clientID: try row.optionalText("client_id"),
                holder: try row.optionalText("token_holder").flatMap {
                    try? JSONCoding.decode(SessionGrant.Holder.self, from: Array($0.utf8))
                },
                isUsed: try row.integer("token_used") == 1),
            client: try row.optionalText("client").flatMap { try? JSONCoding.decode(SessionClient.self, from: Array($0.utf8)) },
            isOrdered: try row.optionalInteger("ordered_at") != nil, status: status, details: try row.text("details"),
            endedAt: try row.optionalInteger("ended_at").map { Timestamp(milliseconds: $0) },
            statusAt: try row.optionalInteger("status_at").flatMap { $0 > 0 ? Timestamp(milliseconds: $0) : nil })
    }
}
