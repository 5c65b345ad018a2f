internal import FoundationEssentials
internal import HTTPTypes
internal import MusterCrypto
package import MusterWire
internal import NIOConcurrencyHelpers
internal import NIOPosix
internal import ServiceLifecycle

/// The routes of `RecordingRoute`. Reading a recording is an event of its own in the audit trail, and watching a session stands in the
/// recording too.
package struct RecordingRoutes: Sendable {
    private let database: any SQLDatabase
    private let archive: RecordingArchive
    private let recorders: SessionRecorders
    private let reads = ReadLedger()

    package init(database: any SQLDatabase, archive: RecordingArchive, recorders: SessionRecorders) {
        self.database = database
        self.archive = archive
        self.recorders = recorders
    }

    package func register(in table: inout RouteTable) {
        table.register(
            "ListRecordingCommitments", .get, RecordingRoute.commitments, permission: "muster:ListRecordings", route: .operators,
            access: .anything, allCommitments)
        table.register(
            "FollowRecording", .get, RecordingRoute.follow, permission: "muster:GetRecording", route: .operators, access: .inside,
            bodies: 64, follow)
        table.register(
            "GetRecording", .get, RecordingRoute.read + "/", permission: "muster:GetRecording", route: .operators, access: .inside,
            bodies: 16, read)
        table.register(
            "ListRecordings", .get, RecordingRoute.read, permission: "muster:ListRecordings", route: .operators, access: .anything, list)
    }

    private static let nothing = APIError(code: "ResourceNotFoundException", message: "There is no such recording.", status: 404)

    // MARK: What there is

    @Sendable private func list(_ call: RouteCall, _ context: OperationContext) async throws -> RouteAnswer {
        guard call.parts == [""] || call.parts.isEmpty else { throw Self.nothing }
        let after = try call.query["after"].map { text in
            guard let after = SessionID(text) else { throw APIError.validation("after has to be a session's id.") }
            return after
        }
        let rows = try await database.read { tx in try RecordingStore.list(after: after, count: RecordingRoute.pageSize, in: tx) }
        let next = rows.count == RecordingRoute.pageSize ? rows.last?.facts.id.rawValue : nil
        return try RouteAnswer(json: RecordingList(recordings: rows.map(summary), next: next))
    }

    /// Of an open one, the recorder knows more than the row.
    private func summary(_ row: RecordingStore.Row) -> RecordingSummary {
        var summary = row.summary
        if let progress = recorders.recording(summary.session)?.progress() {
            summary.mark = progress.mark
            summary.flow = progress.flow ?? summary.flow
        }
        return summary
    }

    @Sendable private func allCommitments(_ call: RouteCall, _ context: OperationContext) async throws -> RouteAnswer {
        guard call.parts == [""] || call.parts.isEmpty else { throw Self.nothing }
        return try await commitments(of: nil, call)
    }

    private func commitments(of session: SessionID?, _ call: RouteCall) async throws -> RouteAnswer {
        let after = call.number("after") ?? 0
        let found = try await database.read { tx in
            try RecordingStore.commitments(of: session, after: after, count: RecordingRoute.commitmentPage, in: tx)
        }
        return try RouteAnswer(json: CommitmentList(commitments: found))
    }

    // MARK: Reading

    /// A recording is reached like its session.
    private func row(_ session: SessionID, _ context: OperationContext) async throws -> RecordingStore.Row? {
        try await database.read { tx in
            let row = try RecordingStore.row(session, in: tx)
            try context.access.authorize([SessionAccess.target(session, row?.facts, context)], in: tx)
            return row
        }
    }

    @Sendable private func read(_ call: RouteCall, _ context: OperationContext) async throws -> RouteAnswer {
        guard (1...2).contains(call.parts.count), let session = SessionID(call.parts[0]),
            let row = try await row(session, context)
        else { throw Self.nothing }
        guard call.parts.count == 2 else { return try RouteAnswer(json: summary(row)) }
        if call.parts[1] == "commitments" { return try await commitments(of: session, call) }
        guard let part = RecordingPart(rawValue: call.parts[1]), row.summary.state != .expired else { throw Self.nothing }
        guard let offset = call.number("offset") else { throw APIError.validation("offset has to be a number of bytes.") }
        // Facts and digests say nothing of what was on the screen.
        if part == .cast { try await audit(context, "GetRecording", session) }
        return RouteAnswer(bytes: try await bytes(session, part, from: offset))
    }

    private func bytes(_ session: SessionID, _ part: RecordingPart, from offset: Int64) async throws -> [UInt8] {
        var count = RecordingRoute.pieceBytes
        // A line that is being written is not there yet.
        if part == .cast, let open = recorders.recording(session) { count = Int(max(0, min(Int64(count), open.length - offset))) }
        guard count > 0 else { return [] }
        let (archive, most) = (archive, count)
        return try await NIOThreadPool.singleton.runIfActive { try archive.read(session, part, from: offset, atMost: most) }
    }

    /// Reading comes in many requests; one event tells of all that one caller makes in a while. Returns whether this was it.
    @discardableResult private func audit(_ context: OperationContext, _ operation: String, _ session: SessionID) async throws -> Bool {
        try await reads.write([context.audit(operation, resource: session.rawValue)], in: database)
    }

    // MARK: Watching

    @Sendable private func follow(_ call: RouteCall, _ context: OperationContext) async throws -> RouteAnswer {
        guard call.parts.count == 1, let session = SessionID(call.parts[0]),
            let row = try await row(session, context), row.facts.kind == .terminal,
            row.summary.state != .expired
        else { throw Self.nothing }
        guard let offset = call.number("offset"), let wait = call.number("wait"), wait <= RecordingRoute.longestWait else {
            throw APIError.validation("offset has to be a number of bytes, wait 0 to \(RecordingRoute.longestWait) seconds.")
        }
        let isNews = try await audit(context, "FollowRecording", session)
        guard let open = recorders.recording(session) else {
            let bytes = try await bytes(session, .cast, from: offset)
            let (archive, again) = (archive, row.summary.state)
            let length = try await NIOThreadPool.singleton.runIfActive { try archive.size(session, .cast) }
            return try answer(bytes, offset, again, length)
        }
        if isNews { open.noted(.watcherJoined(name: context.caller.userName)) }
        if open.length <= offset, wait > 0 { await news(of: open, beyond: offset, seconds: wait) }
        let bytes = try await bytes(session, .cast, from: offset)
        let state = try await database.read { tx in try RecordingStore.row(session, in: tx)?.summary.state } ?? .expired
        return try answer(bytes, offset, state, open.length)
    }

    private func answer(_ bytes: [UInt8], _ offset: Int64, _ state: RecordingState, _ length: Int64) throws -> RouteAnswer {
        try RouteAnswer(json: RecordingNews(bytes: Base64.encode(bytes), offset: offset, state: state, length: length))
    }

    private func news(of recording: any OpenRecording, beyond offset: Int64, seconds: Int64) async {
        await cancelWhenGracefulShutdown {
            await withTaskGroup(of: Void.self) { group in
                group.addTask { await recording.wait(beyond: offset) }
                group.addTask { try? await Task.sleep(for: .seconds(seconds)) }
                await group.next()
                group.cancelAll()
            }
        }
    }
}
