package import FoundationEssentials
package import Logging
import MusterDocuments
package import MusterWire
import ServiceLifecycle

/// Brings accepted commands to their nodes and their results into the store. [service]
///
///     events ──► machines ──► rows of all of them, one commit ──► replies acknowledged, frames out ──► next round
///
/// Nothing in memory is the truth: a frame goes out only after the rows that speak of it are durable, and a reply counts
/// as received only when its result is. So the process may end between any two lines; the next start builds everything
/// from the rows. The same happens when a commit fails.
package final class CommandDispatcher: Service, AgentEvents {
    package struct Settings: Sendable {
        /// Between the total timeout as shown and the moment at which open invocations are given up.
        package var slackSeconds: Int64 = 30
        /// After a restart, for agents to come back and report.
        package var graceSeconds: Int64 = 60
        package var timing = DispatchMachine.Timing()

        package init() {}
    }

    /// The clock on the wall may be set; so long at most goes by before it is looked at again.
    private static let longestWait: Int64 = 60_000

    private let database: any SQLDatabase
    private let registry: any AgentDelivery
    private let settings: Settings
    private let now: @Sendable () -> Timestamp
    private let logger: Logger
    private let events = DispatchEvents()
    private let metrics = DispatchMetrics()

    package init(
        database: any SQLDatabase, registry: any AgentDelivery, settings: Settings = Settings(),
        now: @escaping @Sendable () -> Timestamp = { .now() }, logger: Logger
    ) {
        self.database = database
        self.registry = registry
        self.settings = settings
        self.now = now
        self.logger = logger
    }

    // MARK: News

    /// After the commit that made the command.
    package func commandCreated(_ id: CommandID) async {
        events.add(.created(id))
    }

    /// Returns when the invocations show it. The wish itself is in the rows already, so a failure here loses nothing.
    package func cancel(_ id: CommandID, nodes: [NodeID]?) async {
        await tell(.cancel(id, nodes: nodes))
    }

    package func nodeConnected(_ node: NodeID, generation: Int) async {
        events.add(.connected(node, generation: generation))
    }

    package func nodeDisconnected(_ node: NodeID) async {
        events.add(.disconnected(node))
    }

    package func nodeDeregistered(_ node: NodeID) async {
        await tell(.deregistered(node))
    }

    package func jobAcknowledged(_ node: NodeID, _ acknowledgement: AgentJobAcknowledge) async {
        guard let job = JobID(acknowledgement.jobID), job.node == node else { return }
        let event = DispatchEvents.Event.acknowledged(
            job, messageID: UUID(uuidString: acknowledgement.acknowledgedMessageID), code: acknowledgement.statusCode)
        if events.isFull { await tell(event) } else { events.add(event) }
    }

    /// Returns when the result is durable. A reply that holds none is not waited for.
    package func replyReceived(_ node: NodeID, _ reply: AgentJobReply, messageID: UUID) async throws {
        guard let job = JobID(reply.jobID), job.node == node else {
            logger.warning("reply for another node", metadata: ["node": "\(node)", "message": "\(messageID)"])
            return
        }
        let report = JobReport(try reply.decodeContent())
        if report.outcome == nil, report.steps.isEmpty, !events.isFull {
            events.add(.reported(job, report))
        } else {
            try await events.addAndWait(.reported(job, report))
        }
    }

    private func tell(_ event: DispatchEvents.Event) async {
        do {
            try await events.addAndWait(event)
        } catch {
            logger.debug("news not applied; the next start finds it in the store", metadata: ["error": "\(PlainWords.of(error))"])
        }
    }

    // MARK: Running

    package func run() async throws {
        events.open()
        defer { events.close() }
        try await cancelWhenGracefulShutdown {
            let (frames, continuation) = AsyncStream.makeStream(of: [OpenCommands.Frame].self)
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { await self.deliver(frames) }
                group.addTask {
                    defer { continuation.finish() }
                    try await self.dispatch { continuation.yield($0) }
                }
                try await group.waitForAllOrAFailure()
            }
        }
    }

    /// Until cancelled. A failed commit leaves the machines ahead of the rows, so everything is built anew.
    private func dispatch(_ send: @Sendable ([OpenCommands.Frame]) -> Void) async throws {
        var pause: Duration = .milliseconds(100)
        while !Task.isCancelled {
            do {
                let (fence, epoch) = try await database.write { tx in
                    (try CommandStore.takeFence(in: tx), try StoreIdentity(in: tx))
                }
                var open = try await load(fence: fence, epoch: epoch)
                logger.info("dispatching", metadata: ["commands": "\(open.count)", "fence": "\(fence)"])
                try await serve(&open, fence: fence, epoch: epoch, send) { pause = .milliseconds(100) }
            } catch let error as FenceLost {
                logger.critical("stopped dispatching", metadata: ["error": "\(PlainWords.of(error))"])
                throw error
            } catch is CancellationError {
                return
            } catch {
                logger.error("commands not written; trying again", metadata: ["error": "\(PlainWords.of(error))", "after": "\(pause)"])
                try? await Task.sleep(for: pause)
                pause = min(pause * 2, .seconds(30))
            }
        }
    }

    private func serve(
        _ open: inout OpenCommands, fence: Int64, epoch: StoreIdentity, _ send: @Sendable ([OpenCommands.Frame]) -> Void,
        succeeded: () -> Void
    ) async throws {
        var items: [DispatchEvents.Item] = []
        while true {
            do {
                try await round(&open, items, fence: fence, epoch: epoch, send)
            } catch {
                for item in items { item.done?.resume(throwing: error) }
                throw error
            }
            for item in items { item.done?.resume() }
            succeeded()
            if Task.isCancelled { return }
            let time = now().milliseconds
            let wait = max(0, min(open.nextDeadline ?? .max, time + Self.longestWait) - time)
            items = await events.next(timeout: .milliseconds(wait))
        }
    }

    /// Everything that has happened since the last one.
    private func round(
        _ open: inout OpenCommands, _ items: [DispatchEvents.Item], fence: Int64, epoch: StoreIdentity,
        _ send: @Sendable ([OpenCommands.Frame]) -> Void
    ) async throws {
        var changes = CommandChanges()
        for item in items {
            let time = now().milliseconds
            switch item.event {
            case .created(let id): try await add(id, to: &open, fence: fence, epoch: epoch, isRestart: false)
            case .cancel(let id, let nodes): open.cancel(id, nodes: nodes, at: time)
            case .connected(let node, let generation): open.nodeConnected(node, generation: generation, at: time)
            case .disconnected(let node): open.nodeDisconnected(node)
            case .deregistered(let node): open.nodeDeregistered(node)
            case .acknowledged(let job, let messageID, let code): open.acknowledged(job, messageID: messageID, code: code, at: time)
            case .sendFailed(let id, let position, let messageID): open.sendFailed(id, position: position, messageID: messageID, at: time)
            case .reported(let job, let report): changes.steps += open.reported(job, report, at: time)
            }
        }
        let time = now()
        let frames = try open.collect(into: &changes, at: time)
        if !changes.isEmpty {
            let durable = changes
            try await database.write { tx in
                guard try CommandStore.holdsFence(fence, in: tx) else { throw FenceLost(fence: fence) }
                try CommandStore.apply(durable, at: time, fence: fence, in: tx)
            }
        }
        if !frames.isEmpty { send(frames) }
        metrics.round(changes, open.takeDelays(), open: open.count, inFlight: open.inFlight)
    }

    private func load(fence: Int64, epoch: StoreIdentity) async throws -> OpenCommands {
        var open = OpenCommands(
            settings: OpenCommands.Settings(
                slack: settings.slackSeconds * 1000, grace: settings.graceSeconds * 1000, timing: settings.timing),
            connected: await registry.connectedNodes())
        let expired = now().adding(seconds: -settings.slackSeconds)
        for id in try await database.read({ tx in try CommandStore.openCommands(expired: expired, in: tx) }) {
            try await add(id, to: &open, fence: fence, epoch: epoch, isRestart: true)
        }
        return open
    }

    private func add(_ id: CommandID, to open: inout OpenCommands, fence: Int64, epoch: StoreIdentity, isRestart: Bool) async throws {
        guard !open.contains(id) else { return }
        do {
            let loaded = try await database.read { tx -> OpenCommands.Loaded? in
                guard let record = try CommandStore.command(id, in: tx), isRestart || !record.progress.status.isFinal else { return nil }
                let document = try DocumentDecoder.decode(json: Array(record.document.utf8))
                return OpenCommands.Loaded(
                    record: record, invocations: try CommandStore.invocations(of: id, in: tx),
                    orphans: try CommandStore.orphans(of: id, in: tx),
                    template: try JobTemplate(record, epoch: epoch, fence: fence),
                    stepNames: document.steps.map(\.name.rawValue))
            }
            if let loaded { open.add(loaded, at: now().milliseconds, isRestart: isRestart) }
        } catch let error where error is StoredValueError || error is DocumentError || error is DecodingError {
            logger.critical("command cannot be read and is closed", metadata: ["command": "\(id)", "error": "\(PlainWords.of(error))"])
            let time = now()
            try await database.write { tx in
                try CommandStore.close(id, because: "The controller's record of the command is damaged; it was closed.", at: time, in: tx)
            }
        }
    }

    /// Beside the rounds, so that the next commit and the frames of the last overlap.
    private func deliver(_ batches: AsyncStream<[OpenCommands.Frame]>) async {
        for await batch in batches {
            for frame in batch {
                switch frame {
                case .job(let id, let position, let message, let node):
                    if await !registry.send(message, to: node) {
                        events.add(.sendFailed(id, position: position, messageID: message.messageID))
                    }
                case .cancellation(let message, let node):
                    // Sent again until it is confirmed.
                    _ = await registry.send(message, to: node)
                }
            }
        }
    }
}

/// Another process dispatches from this store.
struct FenceLost: Error, CustomStringConvertible {
    let fence: Int64

    var description: String {
        "Another controller has taken over the commands of this store (this one held number \(fence)). Run one controller per store."
    }
}
