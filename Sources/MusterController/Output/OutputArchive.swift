internal import FoundationEssentials
internal import Logging
internal import MusterCrypto
internal import MusterDocuments
internal import MusterWire
internal import ServiceLifecycle

/// Copies the complete outputs of commands that ask for it into their bucket. [service]
///
/// What is to be done stands in the rows, so a restart or a store that is away costs time only.
struct OutputArchive: Service {
    private static let atATime = 50
    private static let pause = Duration.seconds(1)
    private static let retry = Duration.seconds(30)
    /// After so many days a copy that does not succeed is given up.
    private static let patienceDays: Int64 = 7

    private struct Order: Sendable {
        let command: CommandID
        let bucket: String
        let prefix: String
        let requestedAt: Timestamp
        let isOver: Bool
        let document: Document
        let nodes: [NodeID]
    }

    let database: any SQLDatabase
    let folder: OutputFolder
    let upload: ObjectUpload
    let wakes: AsyncStream<Void>
    let wake: AsyncStream<Void>.Continuation
    let logger: Logger

    func run() async throws {
        await cancelWhenGracefulShutdown {
            await withDiscardingTaskGroup { group in
                group.addTask {
                    while !Task.isCancelled {
                        wake.yield()
                        try? await Task.sleep(for: Self.retry)
                    }
                }
                for await _ in wakes {
                    do {
                        try await round()
                    } catch {
                        logger.warning("outputs not copied to the object store; trying again", metadata: ["error": "\(error)"])
                    }
                    // Replies come in swarms; one look for many of them.
                    try? await Task.sleep(for: Self.pause)
                }
                group.cancelAll()
            }
        }
    }

    private func round() async throws {
        var after: (Int64, String) = (0, "")
        var failure: (any Error)?
        while !Task.isCancelled {
            let position = after
            let found = try await database.read { tx in try Self.orders(after: position, in: tx) }
            for order in found {
                do {
                    try await serve(order)
                } catch {
                    failure = error
                    if Timestamp.now().adding(seconds: -Self.patienceDays * 86_400) > order.requestedAt { try await close(order.command) }
                }
                after = (order.requestedAt.milliseconds, order.command.description)
            }
            if found.count < Self.atATime { break }
        }
        if let failure { throw failure }
    }

    private static func orders(after: (Int64, String), in tx: any SQLTransaction) throws -> [Order] {
        try tx.query(
            """
            SELECT command_id, output_bucket, output_prefix, requested_at, finished_at, document FROM commands
            WHERE archive_state = 1 AND (requested_at > $1 OR (requested_at = $1 AND command_id > $2))
            ORDER BY requested_at, command_id LIMIT $3
            """, [.integer(after.0), .text(after.1), .integer(atATime)]
        ).compactMap { row in
            guard let command = CommandID(try row.text("command_id")) else { return nil }
            return Order(
                command: command, bucket: try row.text("output_bucket"), prefix: try row.text("output_prefix"),
                requestedAt: Timestamp(milliseconds: try row.integer("requested_at")),
                isOver: try row.optionalInteger("finished_at") != nil,
                document: try DocumentDecoder.decode(json: Array(row.text("document").utf8)),
                nodes: try CommandStore.invocations(of: command, in: tx).map(\.node))
        }
    }

    private func serve(_ order: Order) async throws {
        var isDone = order.isOver
        for node in order.nodes {
            let (streams, copied) = try await database.read { tx in
                (
                    try OutputStore.streams(of: order.command, node, order.document, in: tx),
                    Set(
                        try tx.query(
                            "SELECT step_name, stream FROM output_copies WHERE command_id = $1 AND node_id = $2",
                            [.text(order.command.description), .text(node.description)]
                        ).map { try $0.text("step_name") + "/" + $0.text("stream") })
                )
            }
            for stream in streams where !copied.contains("\(stream.key.step)/\(stream.key.stream)") {
                if stream.stored.state == .uploading { isDone = false }
                // An empty stream makes no object, as with Systems Manager.
                guard stream.stored.state == .complete || stream.stored.state == .truncated, stream.stored.length > 0 else { continue }
                try await copy(stream, order)
            }
        }
        if isDone { try await close(order.command) }
    }

    private func copy(_ stream: OutputStore.Stream, _ order: Order) async throws {
        let (folder, key) = (folder, stream.key)
        let read: ObjectUpload.Read
        if stream.source == .text {
            let text = try await database.read { tx in try OutputStore.text(key, length: stream.stored.length, in: tx) }
            read = { offset, count in Array(text.dropFirst(Int(offset)).prefix(count)) }
        } else {
            read = { offset, count in try await OutputUploads.blocking { try folder.read(key, from: offset, atMost: count) } }
        }
        try await upload.put(
            order.bucket, key.objectKey(prefix: order.prefix), length: stream.stored.length, sha256: stream.stored.sha256, read)
        try await database.write { tx in
            try tx.execute(
                """
                INSERT INTO output_copies (command_id, node_id, step_name, stream, state, reason) VALUES ($1, $2, $3, $4, 'done', '')
                ON CONFLICT (command_id, node_id, step_name, stream) DO NOTHING
                """, [.text(key.command.description), .text(key.node.description), .text(key.step), .text(key.stream.rawValue)])
        }
    }

    private func close(_ command: CommandID) async throws {
        try await database.write { tx in
            try tx.execute("UPDATE commands SET archive_state = 2 WHERE command_id = $1", [.text(command.description)])
        }
    }
}
