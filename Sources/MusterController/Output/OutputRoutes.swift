internal import FoundationEssentials
internal import HTTPTypes
internal import MusterCrypto
internal import MusterDocuments
internal import MusterWire
internal import NIOConcurrencyHelpers
internal import ServiceLifecycle

/// The routes of `OutputRoute`: nodes bring streams, operators read and watch them.
package struct OutputRoutes: Sendable {
    /// A watcher that is further behind than this is taken to the end of what there is.
    static let farBehind: Int64 = 4 << 20
    static let keptWhenBehind: Int64 = 64 << 10
    /// Of one stream, and of all, in one answer to a watcher.
    static let followPieceBytes = 64 << 10
    static let followBytes = 512 << 10
    static let followedNodes = 1_000

    let database: any SQLDatabase
    let folder: OutputFolder
    let uploads: OutputUploads
    let followers: OutputFollowers
    let delivery: any AgentDelivery
    private let reads = ReadLedger()

    package init(
        database: any SQLDatabase, folder: OutputFolder, uploads: OutputUploads, followers: OutputFollowers, delivery: any AgentDelivery
    ) {
        self.database = database
        self.folder = folder
        self.uploads = uploads
        self.followers = followers
        self.delivery = delivery
    }

    package func register(in table: inout RouteTable) {
        table.register(
            "GetOutputProgress", .get, OutputRoute.upload, permission: "muster:PutOutput", route: .nodes, access: .certificate, progress)
        table.register(
            "PutOutput", .put, OutputRoute.upload, permission: "muster:PutOutput", route: .nodes, access: .certificate,
            bodyBytes: OutputRoute.pieceBytes, bodies: 16, put)
        table.register(
            "GetCommandOutput", .get, OutputRoute.read, permission: "muster:GetCommandOutput", route: .operators, access: .inside,
            bodies: 16, read)
        table.register(
            "FollowCommandOutput", .post, OutputRoute.follow, permission: "muster:GetCommandOutput", route: .operators, access: .inside,
            bodyBytes: 1 << 20, bodies: 32, isHeld: true, follow)
    }

    // MARK: Nodes

    private struct Upload {
        let node: NodeID
        let command: CommandID
        let step: String
        let stream: OutputStream

        /// The node is the certificate's; the path does not even name one.
        init?(_ call: RouteCall, _ context: OperationContext) {
            guard let node = context.node?.node, call.parts.count == 3, let command = CommandID(call.parts[0]),
                let step = StepName(call.parts[1]), let stream = OutputStream(rawValue: call.parts[2])
            else { return nil }
            (self.node, self.command, self.step, self.stream) = (node, command, step.rawValue, stream)
        }
    }

    @Sendable private func progress(_ call: RouteCall, _ context: OperationContext) async throws -> RouteAnswer {
        guard let upload = Upload(call, context) else { throw Self.nothing }
        return try Self.answer(try await uploads.progress(upload.command, upload.node, upload.step, upload.stream))
    }

    @Sendable private func put(_ call: RouteCall, _ context: OperationContext) async throws -> RouteAnswer {
        guard let upload = Upload(call, context) else { throw Self.nothing }
        guard let offset = call.number("offset"), offset < 1 << 50 else { throw APIError.validation("offset has to be a number of bytes.") }
        let lost = call.number("lost") ?? 0
        if call.query["gone"] != nil {
            return try Self.answer(try await uploads.gone(upload.command, upload.node, upload.step, upload.stream, lost: lost))
        }
        var piece = OutputUploads.Piece(offset: offset, bytes: call.body)
        if call.query["total"] != nil || call.query["sha256"] != nil {
            guard let total = call.number("total"), let digest = call.query["sha256"], Hex.decode(digest)?.count == 32 else {
                throw APIError.validation("The last piece needs total and sha256.")
            }
            piece.end = OutputUploads.Piece.End(total: total, sha256: digest, lost: lost)
        }
        return try Self.answer(try await uploads.take(piece, upload.command, upload.node, upload.step, upload.stream))
    }

    private static func answer(_ answer: OutputUploads.Answer) throws -> RouteAnswer {
        switch answer {
        case .progress(let progress): return try RouteAnswer(json: progress)
        case .elsewhere(let progress): return try RouteAnswer(.conflict, json: progress)
        case .busy: throw APIError(code: "Busy", message: "Another request of this stream is at work.", status: 503)
        case .full:
            throw APIError(code: "StorageFull", message: "The controller's disk is nearly full; keep it and try again.", status: 503)
        case .unknown: throw nothing
        }
    }

    private static let nothing = APIError(code: "ResourceNotFoundException", message: "There is no such output.", status: 404)

    // MARK: Reading

    @Sendable private func read(_ call: RouteCall, _ context: OperationContext) async throws -> RouteAnswer {
        guard call.parts.count == 2 || call.parts.count == 4, let command = CommandID(call.parts[0]), let node = NodeID(call.parts[1])
        else {
            throw Self.nothing
        }
        let (streams, ended) = try await database.read { tx -> ([OutputStore.Stream], Bool) in
            try context.access.authorize([try CommandAccess.target(command, node, context, in: tx)], in: tx)
            guard let document = try OutputStore.document(of: command, for: node, in: tx),
                let invocation = try CommandStore.invocation(command, node, in: tx)
            else { throw Self.nothing }
            return (try OutputStore.streams(of: command, node, document, in: tx), invocation.state.isFinal)
        }
        let known = try await measured(streams)
        guard call.parts.count == 4 else {
            return try RouteAnswer(json: StoredOutputs(ended: ended, outputs: known.map(\.stored)))
        }
        guard let kind = OutputStream(rawValue: call.parts[3]),
            let stream = known.first(where: { $0.key.step == call.parts[2] && $0.key.stream == kind })
        else { throw Self.nothing }
        guard let offset = call.number("offset") else { throw APIError.validation("offset has to be a number of bytes.") }
        try await audit(context, "GetCommandOutput", "\(command)/\(node)/\(stream.key.step)/\(kind)")
        return RouteAnswer(bytes: try await bytes(of: stream, from: offset, atMost: OutputRoute.readBytes))
    }

    /// Of a stream on its way, the file knows the length.
    private func measured(_ streams: [OutputStore.Stream]) async throws -> [OutputStore.Stream] {
        guard streams.contains(where: { $0.source == .file && !$0.stored.state.isFinal }) else { return streams }
        let folder = folder
        return try await OutputUploads.blocking {
            try streams.map { stream in
                var stream = stream
                if stream.source == .file, !stream.stored.state.isFinal { stream.stored.length = try folder.size(of: stream.key) }
                return stream
            }
        }
    }

    private func bytes(of stream: OutputStore.Stream, from offset: Int64, atMost limit: Int) async throws -> [UInt8] {
        let count = Int(max(0, min(Int64(limit), stream.stored.length - offset)))
        guard count > 0, stream.stored.state != .expired else { return [] }
        switch stream.source {
        case .nowhere:
            return []
        case .file:
            let (folder, key) = (folder, stream.key)
            return try await OutputUploads.blocking { try folder.read(key, from: offset, atMost: count) }
        case .text:
            let text = try await database.read { tx in try OutputStore.text(stream.key, length: stream.stored.length, in: tx) }
            return Array(text.dropFirst(Int(offset)).prefix(count))
        }
    }

    /// Reading comes in many requests; one event tells of all that one caller makes in a while.
    private func audit(_ context: OperationContext, _ operation: String, _ resource: String) async throws {
        try await reads.write([context.audit(operation, resource: resource)], in: database)
    }

    // MARK: Watching

    @Sendable private func follow(_ call: RouteCall, _ context: OperationContext) async throws -> RouteAnswer {
        guard call.parts.count == 1, let command = CommandID(call.parts[0]) else { throw Self.nothing }
        let request: FollowRequest
        do {
            request = try JSONCoding.decode(FollowRequest.self, from: call.body)
        } catch {
            throw APIError.serialization("The request body \(JSONCoding.explain(error))")
        }
        guard (0...FollowRequest.longestWait).contains(request.wait), request.positions.allSatisfy({ $0.offset >= 0 }) else {
            throw APIError.validation("wait is 0 to \(FollowRequest.longestWait) seconds, an offset at least 0.")
        }
        try await database.read { tx in
            _ = try context.access.authorize(try CommandAccess.targets(command, [], context, in: tx), in: tx)
        }
        try await audit(context, "FollowCommandOutput", command.description)
        let positions = Dictionary(
            request.positions.map { ("\($0.node)/\($0.step)/\($0.stream)", $0.offset) }, uniquingKeysWith: { max($0, $1) })
        let deadline = ContinuousClock.now + .seconds(request.wait)
        while true {
            guard let version = followers.version(command) else { throw APIError.throttling }
            let answer = try await look(command, positions)
            if !answer.pieces.isEmpty || (answer.ended && answer.waiting.isEmpty) || ContinuousClock.now >= deadline
                || Task.isShuttingDownGracefully
            {
                return try RouteAnswer(json: answer)
            }
            await waitForNews(command, after: version, until: deadline)
        }
    }

    private func waitForNews(_ command: CommandID, after version: UInt64, until deadline: ContinuousClock.Instant) async {
        await cancelWhenGracefulShutdown {
            await withTaskGroup(of: Void.self) { group in
                group.addTask { await followers.wait(command, after: version) }
                // A second at most: nodes that begin their part are told so without news of their own.
                group.addTask { try? await Task.sleep(until: min(deadline, .now + .seconds(1)), clock: .continuous) }
                await group.next()
                group.cancelAll()
            }
        }
    }

    private func look(_ command: CommandID, _ positions: [String: Int64]) async throws -> FollowAnswer {
        let (isOver, invocations, found) = try await database.read { tx -> (Bool, [InvocationRecord], [NodeID: [OutputStore.Stream]]) in
            guard let record = try CommandStore.command(command, in: tx) else { throw Self.nothing }
            guard record.progress.targetCount <= Self.followedNodes else {
                throw APIError.validation(
                    "Output can be followed on at most \(Self.followedNodes) nodes; this command has \(record.progress.targetCount).")
            }
            let invocations = try CommandStore.invocations(of: command, in: tx)
            let document = try DocumentDecoder.decode(json: Array(record.document.utf8))
            var found: [NodeID: [OutputStore.Stream]] = [:]
            for invocation in invocations where invocation.state != .pending {
                found[invocation.node] = try OutputStore.streams(of: command, invocation.node, document, in: tx)
            }
            return (record.progress.status.isFinal, invocations, found)
        }
        try await ask(invocations.filter(\.state.isInFlight).map(\.node), for: command)
        var answer = FollowAnswer(pieces: [], ended: isOver, waiting: [])
        var room = Self.followBytes
        for invocation in invocations {
            guard let streams = found[invocation.node] else { continue }
            var isComplete = true
            for stream in try await measured(streams) {
                let position = positions["\(invocation.node)/\(stream.key.step)/\(stream.key.stream)"] ?? 0
                let isStill = stream.stored.state == .uploading || (stream.stored.state == .unknown && !invocation.state.isFinal)
                let (start, skipped) = Self.start(position, stream.stored)
                let bytes = room > 0 ? try await bytes(of: stream, from: start, atMost: min(room, Self.followPieceBytes)) : []
                room -= bytes.count
                if isStill || start + Int64(bytes.count) < stream.stored.length, stream.stored.state != .expired { isComplete = false }
                guard !bytes.isEmpty else { continue }
                answer.pieces.append(
                    FollowAnswer.Piece(
                        node: invocation.node, step: stream.key.step, stream: stream.key.stream, offset: start, bytes: Base64.encode(bytes),
                        skipped: skipped))
            }
            if !isComplete { answer.waiting.append(invocation.node) }
        }
        return answer
    }

    /// Where to read on, and what is left out for it.
    static func start(_ position: Int64, _ stored: StoredOutput) -> (offset: Int64, skipped: Int64) {
        guard stored.length - position > farBehind else { return (min(position, stored.length), 0) }
        let start = stored.length - keptWhenBehind
        return (start, start - position)
    }

    private func ask(_ nodes: [NodeID], for command: CommandID) async throws {
        for node in followers.due(nodes, of: command) {
            let message = try AgentMessage(
                .agentOutput, createdDate: .now(),
                payload: AgentOutputRequest(commandID: command.description, seconds: OutputFollowers.leaseSeconds))
            // One that is away is asked when it comes back.
            _ = await delivery.send(message, to: node)
        }
    }
}

/// What has been read lately, so that many requests of one caller are one event.
final class ReadLedger: Sendable {
    private struct Name: Hashable {
        let accessKeyID: String
        let operation: String
        let resource: String

        init(_ event: AuditEvent) {
            (accessKeyID, operation, resource) = (event.caller.accessKeyID, event.operation, event.resource)
        }
    }

    private static let windowSeconds: Int64 = 600
    private static let capacity = 4_096
    private let since = NIOLockedValueBox<[Name: Timestamp]>([:])

    /// Returns once each of them is in the trail, from now or from a while ago; whether one is from now. Two at once may write twice, and
    /// neither counts on what the other has not written yet.
    @discardableResult func write(_ events: [AuditEvent], in database: any SQLDatabase) async throws -> Bool {
        let news = since.withLockedValue { since in
            events.filter { event in since[Name(event)].map { event.time >= $0.adding(seconds: Self.windowSeconds) } ?? true }
        }
        guard !news.isEmpty else { return false }
        try await database.write { tx in try AuditLog.append(news, in: tx) }
        since.withLockedValue { since in
            // Forgetting costs an event, never the lack of one.
            if since.count + news.count > Self.capacity { since = [:] }
            for event in news { since[Name(event)] = event.time }
        }
        return true
    }
}
