import MusterWire

/// Which events are wanted. CloudTrail takes one attribute and a span of time.
struct AuditSelection: Sendable {
    /// Rows that one request looks at where no index helps; a page may be empty and have a successor, as CloudTrail's may.
    private static let longestLook: Int64 = 20_000
    /// Events are written when their work is done, so their times are not quite in the order of the trail.
    private static let latenessMilliseconds: Int64 = 120_000

    let key: LookupAttribute.Key?
    let value: String
    let start: Timestamp?
    let end: Timestamp?

    init(_ input: LookupEvents.Input) throws(APIError) {
        let attributes = input.lookupAttributes ?? []
        let bad = APIError(
            code: "InvalidLookupAttributesException",
            message: "LookupAttributes takes one pair of AttributeKey and AttributeValue; the keys are "
                + LookupAttribute.Key.allCases.map(\.rawValue).joined(separator: ", ") + ".")
        guard attributes.count <= 1 else { throw bad }
        if let attribute = attributes.first {
            guard let key = attribute.attributeKey.flatMap(LookupAttribute.Key.init(rawValue:)), let value = attribute.attributeValue,
                (1...2_000).contains(value.utf8.count)
            else { throw bad }
            (self.key, self.value) = (key, value)
        } else {
            (key, value) = (nil, "")
        }
        if let start = input.startTime, let end = input.endTime, start > end {
            throw APIError(code: "InvalidTimeRangeException", message: "StartTime is after EndTime.")
        }
        (start, end) = (input.startTime, input.endTime)
    }

    /// - Returns: the events, and the sequence before which the next page begins; nil at the end.
    func page(before position: Int64?, limit: Int, in tx: any SQLTransaction) throws -> (events: [LookedUpEvent], next: Int64?) {
        let upper = try position ?? self.upper(in: tx)
        let lower = max(try self.lower(in: tx), isIndexed ? 0 : upper - 1 - Self.longestLook)
        var arguments: [SQLValue] = [.integer(upper), .integer(lower)]
        var clauses = ["sequence < $1", "sequence > $2"]
        func add(_ clause: String, _ value: SQLValue) {
            arguments.append(value)
            clauses.append(clause.split(separator: "?", omittingEmptySubsequences: false).joined(separator: "$\(arguments.count)"))
        }
        if let start { add("time_ms >= ?", .integer(start.milliseconds)) }
        if let end { add("time_ms <= ?", .integer(end.milliseconds)) }
        switch key {
        case nil: break
        case .eventID: add("event_id = ?", .text(value))
        case .eventName: add("operation = ?", .text(value))
        case .userName: add("user_name <> '' AND user_name = ?", .text(value))
        case .resourceName:
            // The name as it is, or the ARN that the record has of it.
            let name = value.hasPrefix("arn:") ? value.split(separator: "/", maxSplits: 1).last.map(String.init) ?? value : value
            add("(resource = ? OR (related <> '' AND related = ?))", .text(name))
        case .resourceType: add("record LIKE ? ESCAPE '\\'", .text(Self.member("type", value)))
        case .eventSource: add("record LIKE ? ESCAPE '\\'", .text(Self.member("eventSource", value)))
        case .accessKeyID: add("record LIKE ? ESCAPE '\\'", .text(Self.member("accessKeyId", value)))
        case .readOnly:
            let word = value.lowercased() == "true" ? "true" : "false"
            add("record LIKE ? ESCAPE '\\'", .text("%\"readOnly\":\(word),%"))
        }
        arguments.append(.integer(limit + 1))
        let rows = try tx.query(
            "SELECT sequence, record FROM audit_events WHERE \(clauses.joined(separator: " AND ")) ORDER BY sequence DESC LIMIT $\(arguments.count)",
            arguments)
        let shown = try rows.prefix(limit).map(Self.event)
        if rows.count > limit { return (shown, try rows[limit - 1].integer("sequence")) }
        // Looked through, and not at the end yet.
        let hasMore = try !isIndexed && lower > self.lower(in: tx)
        return (shown, hasMore ? lower + 1 : nil)
    }

    private var isIndexed: Bool {
        switch key {
        case nil, .eventID, .eventName, .userName, .resourceName: true
        case .resourceType, .eventSource, .accessKeyID, .readOnly: false
        }
    }

    private func upper(in tx: any SQLTransaction) throws -> Int64 {
        let all = try AuditLog.head(in: tx).sequence + 1
        guard let end else { return all }
        return try tx.first(
            "SELECT sequence FROM audit_events WHERE time_ms > $1 ORDER BY time_ms LIMIT 1",
            [.integer(end.adding(milliseconds: Self.latenessMilliseconds).milliseconds)])?.integer("sequence") ?? all
    }

    private func lower(in tx: any SQLTransaction) throws -> Int64 {
        guard let start else { return 0 }
        return try tx.first(
            "SELECT sequence FROM audit_events WHERE time_ms < $1 ORDER BY time_ms DESC LIMIT 1",
            [.integer(start.adding(milliseconds: -Self.latenessMilliseconds).milliseconds)])?.integer("sequence") ?? 0
    }

    /// In a record a quote within a text is escaped, so a member is found by its text and nothing else is taken for it.
    private static func member(_ name: String, _ value: String) -> String {
        var text = ""
        for character in value {
            if character == "%" || character == "_" || character == "\\" { text.append("\\") }
            text.append(character)
        }
        return "%\"\(name)\":\"\(text)\"%"
    }

    private static func event(_ row: SQLRow) throws -> LookedUpEvent {
        let text = try row.text("record")
        let fields = try JSONCoding.decode(AuditFields.self, from: Array(text.utf8))
        return LookedUpEvent(
            eventID: fields.eventID, eventName: fields.eventName, readOnly: fields.readOnly ? "true" : "false",
            accessKeyID: fields.userIdentity.accessKeyId, eventTime: fields.time ?? Timestamp(milliseconds: 0),
            eventSource: fields.eventSource, userName: fields.userIdentity.userName,
            resources: fields.resources.map {
                LookedUpEvent.Resource(
                    resourceType: $0.type, resourceName: $0.arn.split(separator: "/", maxSplits: 1).last.map(String.init) ?? $0.arn)
            }, record: text)
    }
}
