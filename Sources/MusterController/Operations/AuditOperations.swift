import MusterWire

/// LookupEvents of CloudTrail: the audit trail as its tools read it.
package struct AuditOperations: Sendable {
    private let database: any SQLDatabase
    private let paging: Paging

    package init(database: any SQLDatabase, pageTokenKey: [UInt8]) {
        self.database = database
        paging = Paging(key: pageTokenKey)
    }

    package func register(in table: inout OperationTable) {
        table.register(
            LookupEvents.self, permission: "cloudtrail:LookupEvents", route: .operators, access: .anything, changes: false, lookup)
    }

    @Sendable func lookup(_ input: LookupEvents.Input, _ context: OperationContext) async throws -> LookupEvents.Output {
        let selection = try AuditSelection(input)
        let limit = input.maxResults ?? LookupEvents.pageSize
        guard (1...LookupEvents.pageSize).contains(limit) else {
            throw APIError(code: "InvalidMaxResultsException", message: "MaxResults takes 1 to \(LookupEvents.pageSize).")
        }
        let filters = Filters(selection.key?.rawValue, selection.value, input.startTime, input.endTime)
        let position: String
        do {
            position = try paging.position(input.nextToken, operation: LookupEvents.name, filters: filters)
        } catch {
            throw APIError(code: "InvalidNextTokenException", message: "The token is not of this question.")
        }
        let (events, next) = try await database.read { tx in
            try selection.page(before: Int64(position), limit: limit, in: tx)
        }
        return LookupEvents.Output(
            events: events,
            nextToken: try paging.token(after: next.map(String.init), operation: LookupEvents.name, filters: filters))
    }

    /// What a token is bound to.
    private struct Filters: Encodable {
        let key: String?
        let value: String
        let start: Timestamp?
        let end: Timestamp?

        init(_ key: String?, _ value: String, _ start: Timestamp?, _ end: Timestamp?) {
            (self.key, self.value, self.start, self.end) = (key, value, start, end)
        }
    }
}
