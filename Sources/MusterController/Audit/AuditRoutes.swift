internal import HTTPTypes
internal import MusterWire
internal import NIOConcurrencyHelpers

/// The routes of `AuditRoute`. Reading the trail is an event of its own.
package struct AuditRoutes: Sendable {
    private let database: any SQLDatabase
    private let keeper: AuditKeeper
    private let reads = ReadLedger()

    package init(database: any SQLDatabase, keeper: AuditKeeper) {
        (self.database, self.keeper) = (database, keeper)
    }

    package func register(in table: inout RouteTable) {
        table.register(
            "CheckpointAuditTrail", .post, AuditRoute.checkpoint, permission: "muster:ExportAuditTrail", route: .operators,
            access: .anything, changes: true, checkpoint)
        table.register(
            "ExportAuditTrail", .get, AuditRoute.read, permission: "muster:ExportAuditTrail", route: .operators, access: .anything,
            bodies: 8, read)
    }

    private static let nothing = APIError(code: "ResourceNotFoundException", message: "There is nothing here.", status: 404)

    @Sendable private func checkpoint(_ call: RouteCall, _ context: OperationContext) async throws -> RouteAnswer {
        guard call.parts == [""] || call.parts.isEmpty else { throw Self.nothing }
        try await audit(context)
        let checkpoint = try await keeper.checkpoint(.request)
        let removed = try await database.read { tx in try AuditStore.oldest(in: tx).mark.sequence }
        return try RouteAnswer(json: AuditHead(mark: try checkpoint.decoded().mark, removed: removed, checkpoint: checkpoint))
    }

    @Sendable private func read(_ call: RouteCall, _ context: OperationContext) async throws -> RouteAnswer {
        guard call.parts == [""] || call.parts.isEmpty else { throw Self.nothing }
        guard let after = call.number("after") else { throw APIError.validation("after has to be a record's number, or 0.") }
        try await audit(context)
        let (until, goesOn) = (call.number("until") ?? .max, call.query["more"] != nil)
        let lines = try await database.read { tx -> [AuditLine] in
            let (oldest, cut) = try AuditStore.oldest(in: tx)
            // A reader who asks for what was removed is told where the rest begins.
            let first = max(after, oldest.sequence)
            guard let mark = try AuditStore.mark(at: first, in: tx) else {
                throw APIError.validation("There is no record \(after): the trail ends before it.")
            }
            let piece = try AuditStore.piece(
                after: mark, checkpoint: 0, until: until, records: AuditRoute.pieceRecords, bytes: AuditRoute.pieceBytes, in: tx)
            guard !goesOn else {
                // The checkpoints there came with the last piece.
                return Array(piece.lines.drop { if case .record = $0 { false } else { true } })
            }
            return [.trail(mark)] + (cut != nil && mark == oldest ? [.checkpoint(cut!)] : []) + piece.lines
        }
        var bytes: [UInt8] = []
        for line in lines {
            bytes += try line.text()
            bytes.append(0x0a)
        }
        return RouteAnswer(bytes: bytes)
    }

    /// One event tells of all requests that one caller makes in a while.
    private func audit(_ context: OperationContext) async throws {
        try await reads.write([context.audit("ExportAuditTrail", resource: "*")], in: database)
    }
}
