import FoundationEssentials
import Logging
import MusterCrypto
import MusterWire
import NIOConcurrencyHelpers

@testable import MusterController

/// Agents without sockets: each keeps its ledger, starts a job once, and repeats a reply until it is taken.
final class FakeFleet: AgentDelivery {
    enum Behaviour: Sendable {
        case succeeds(String)
        case fails(Int32)
        case runsUntilCancelled
        /// The frame is lost with its connection, and nothing is said.
        case silent
        case full
    }

    struct Agent: Sendable {
        var behaviour = Behaviour.succeeds("hi\n")
        var isConnected = true
        /// Those that came, and those that were cancelled before they did.
        var jobs: Set<String> = []
        var cancelled: Set<String> = []
        var starts: [String: Int] = [:]
        var frames = 0
        var unacknowledged: [String: JobReplyContent] = [:]
    }

    private enum Work: Sendable {
        case acknowledge(NodeID, AgentJobAcknowledge)
        case reply(NodeID, String)
    }

    private let agents: NIOLockedValueBox<[NodeID: Agent]>
    /// What is said while nobody listens is lost, as on a connection that has gone.
    private let listener = NIOLockedValueBox<AsyncStream<Work>.Continuation?>(nil)

    init(_ nodes: [NodeID]) {
        agents = NIOLockedValueBox(Dictionary(uniqueKeysWithValues: nodes.map { ($0, Agent()) }))
    }

    subscript(_ node: NodeID) -> Agent {
        get { agents.withLockedValue { $0[node] ?? Agent() } }
        set { agents.withLockedValue { $0[node] = newValue } }
    }

    var mostStarts: Int { agents.withLockedValue { $0.values.flatMap(\.starts.values).max() ?? 0 } }

    func connectedNodes() async -> [NodeID: Int] {
        agents.withLockedValue { agents in agents.filter(\.value.isConnected).mapValues { _ in 1 } }
    }

    func send(_ message: AgentMessage, to node: NodeID) async -> Bool {
        guard let job = try? message.decodePayload(AgentJob.self) else { return false }
        return agents.withLockedValue { agents -> Bool in
            guard var agent = agents[node], agent.isConnected else { return false }
            defer { agents[node] = agent }
            agent.frames += 1
            func acknowledge(_ code: JobAcknowledgeCode) {
                say(
                    .acknowledge(
                        node,
                        AgentJobAcknowledge(
                            jobID: job.jobID, acknowledgedMessageID: message.messageID.uuidString.lowercased(),
                            createdDate: message.createdDate, code: code)))
            }
            if JobTopic.isCancelCommand(job.topic) {
                guard let content = try? job.decodeContent(CancelCommandContent.self) else { return true }
                let target = content.cancelMessageID
                if case .silent = agent.behaviour { return true }
                agent.cancelled.insert(target)
                let neverArrived = agent.jobs.insert(target).inserted
                if case .runsUntilCancelled = agent.behaviour, agent.unacknowledged[target] == nil {
                    agent.unacknowledged[target] = Self.content(.cancelled, -1, "", "", hasSteps: !neverArrived)
                    say(.reply(node, target))
                }
                acknowledge(.accepted)
                return true
            }
            if agent.jobs.contains(job.jobID) {
                acknowledge(.duplicate)
                if agent.unacknowledged[job.jobID] != nil { say(.reply(node, job.jobID)) }
                return true
            }
            switch agent.behaviour {
            case .silent: break
            case .full: acknowledge(.bufferFull)
            case .succeeds(let text):
                start()
                finish(Self.content(.success, 0, text, ""))
            case .fails(let code):
                start()
                finish(Self.content(.failed, Int(code), "", "no\n"))
            case .runsUntilCancelled: start()
            }
            func start() {
                agent.jobs.insert(job.jobID)
                agent.starts[job.jobID, default: 0] += 1
                acknowledge(.accepted)
            }
            func finish(_ content: JobReplyContent) {
                agent.unacknowledged[job.jobID] = content
                say(.reply(node, job.jobID))
            }
            return true
        }
    }

    private func say(_ work: Work) { _ = listener.withLockedValue { $0?.yield(work) } }

    private static func content(
        _ status: StepStatus, _ code: Int, _ out: String, _ error: String, hasSteps: Bool = true
    ) -> JobReplyContent {
        JobReplyContent(
            additionalInfo: .init(agent: .init(osver: "1", ver: "1.0.0.0"), dateTime: "2026-11-23T12:55:23.827Z", runtimeStatusCounts: [:]),
            documentStatus: status.rawValue,
            runtimeStatus: !hasSteps
                ? nil
                : [
                    "runShellScript": StepReply(
                        status: status, code: code, name: "aws:runShellScript", output: out + error,
                        startDateTime: "2026-11-23T12:55:23.736Z",
                        endDateTime: "2026-11-23T12:55:23.827Z", standardOutput: out, standardError: error)
                ])
    }

    /// Says what the agents have to say, until cancelled.
    func run(_ dispatcher: CommandDispatcher) async {
        let (works, continuation) = AsyncStream.makeStream(of: Work.self)
        listener.withLockedValue { $0 = continuation }
        for (node, agent) in agents.withLockedValue({ $0 }) {
            for job in agent.unacknowledged.keys { say(.reply(node, job)) }
        }
        await withDiscardingTaskGroup { group in
            for await work in works {
                group.addTask {
                    switch work {
                    case .acknowledge(let node, let acknowledgement): await dispatcher.jobAcknowledged(node, acknowledgement)
                    case .reply(let node, let job): await self.reply(node, job, to: dispatcher)
                    }
                }
            }
        }
    }

    private func reply(_ node: NodeID, _ job: String, to dispatcher: CommandDispatcher) async {
        guard let content = self[node].unacknowledged[job], let reply = try? AgentJobReply(content, jobID: job) else { return }
        while !Task.isCancelled, self[node].isConnected {
            do {
                try await dispatcher.replyReceived(node, reply, messageID: UUID())
                agents.withLockedValue { _ = $0[node]?.unacknowledged.removeValue(forKey: job) }
                return
            } catch {
                // The store did not take it; an agent says it again.
                await Task.yield()
            }
        }
    }

    func connect(_ node: NodeID, _ dispatcher: CommandDispatcher) async {
        agents.withLockedValue { $0[node]?.isConnected = true }
        await dispatcher.nodeConnected(node, generation: 1)
        for job in self[node].unacknowledged.keys { say(.reply(node, job)) }
    }

    func disconnect(_ node: NodeID, _ dispatcher: CommandDispatcher) async {
        agents.withLockedValue { $0[node]?.isConnected = false }
        await dispatcher.nodeDisconnected(node)
    }
}

/// A store in a folder of its own, nodes in it, and one dispatcher after the other.
struct DispatchBench {
    let folder: String
    let database: ObservedDatabase
    let nodes: [NodeID]
    let fleet: FakeFleet
    let context: OperationContext

    init(nodes count: Int, platform: String? = "Linux") async throws {
        folder = "/tmp/muster-dispatch-\(Hex.encode(RandomBytes.make(8)))"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        database = ObservedDatabase(try SQLiteDatabase(path: folder + "/store.sqlite"))
        try await Migrations.run(on: database, now: 0)
        let nodes = (0..<count).map { _ in NodeID.random() }.sorted()
        self.nodes = nodes
        fleet = FakeFleet(nodes)
        context = Self.context()
        try await database.write { tx in
            try MetaStore.set(.pageTokenKey, to: Base64.encode(RandomBytes.make(32)), in: tx)
            try MetaStore.set(.storeEpoch, to: "epoch", in: tx)
            for (index, node) in nodes.enumerated() {
                try tx.execute(
                    """
                    INSERT INTO nodes (node_id, generation, public_key, key_fingerprint, activation_id, iam_role, state, computer_name, platform_type, registered_at)
                    VALUES ($1, 1, '', $4, '00000000-0000-4000-8000-000000000000', 'r', 'registered', $2, $3, 0)
                    """,
                    [.text(node.description), .text("host-\(index)"), .text(platform), .text(Hex.encode(SHA256.hash(node.description)))])
                try TagStore.set(
                    ["role": index % 2 == 0 ? "web" : "db", "all": "yes"], of: node.description, type: TagStore.managedInstance, in: tx)
            }
        }
    }

    static func context(retry: RetryKey? = nil) -> OperationContext {
        OperationContext(
            caller: TestAccess.caller(), requestID: "r", now: .now(), region: "x", account: "000000000001", retry: retry,
            access: TestAccess.check())
    }

    func operations(_ dispatcher: CommandDispatcher) -> CommandOperations {
        CommandOperations(database: database, dispatcher: dispatcher)
    }

    /// One life of a controller; it ends when `body` does.
    func withDispatcher<T: Sendable>(
        _ settings: CommandDispatcher.Settings = .init(), database: (any SQLDatabase)? = nil,
        _ body: @escaping @Sendable (CommandDispatcher, CommandOperations) async throws -> T
    ) async throws -> T {
        var logger = Logger(label: "test")
        logger.logLevel = .critical
        let store = database ?? self.database
        let dispatcher = CommandDispatcher(database: store, registry: fleet, settings: settings, logger: logger)
        return try await withThrowingTaskGroup(of: T?.self) { group in
            group.addTask {
                try await dispatcher.run(); return nil
            }
            group.addTask {
                await fleet.run(dispatcher); return nil
            }
            group.addTask { try await body(dispatcher, CommandOperations(database: store, dispatcher: dispatcher)) }
            defer { group.cancelAll() }
            while let result = try await group.next() {
                if let result { return result }
            }
            throw DispatcherStopped()
        }
    }

    func command(_ id: CommandID) async throws -> CommandRecord {
        guard let record = try await database.read({ tx in try CommandStore.command(id, in: tx) }) else {
            throw APIError.invalidCommandID()
        }
        return record
    }

    func invocation(_ id: CommandID, _ node: NodeID) async throws -> InvocationRecord {
        guard let record = try await database.read({ tx in try CommandStore.invocation(id, node, in: tx) }) else {
            throw APIError.invocationDoesNotExist()
        }
        return record
    }

    func states(_ id: CommandID) async throws -> [InvocationState] {
        try await database.read { tx in try CommandStore.invocations(of: id, in: tx).map(\.state) }
    }

    /// Waits for the store to show it, a minute at most: a machine may have other things to do.
    func until(_ id: CommandID, _ holds: @Sendable ([InvocationState], CommandRecord) -> Bool) async throws {
        let deadline = ContinuousClock.now + .seconds(60)
        repeat {
            let seen = database.commits.count
            let record = try await command(id)
            if holds(try await states(id), record) { return }
            guard try await database.commits.next(after: seen, until: deadline) else { break }
        } while true
        throw Late(text: "\(try await states(id)) \(try await command(id).progress)")
    }

    func untilFinished(_ id: CommandID) async throws {
        try await until(id) { _, record in record.progress.status.isFinal }
    }

    func remove() {
        try? database.close()
        try? FileManager.default.removeItem(atPath: folder)
    }

    struct Late: Error { let text: String }
}

extension SendCommand.Input {
    static func shell(
        _ nodes: [NodeID]? = nil, targets: [Target]? = nil, concurrency: String? = nil, errors: String? = nil,
        commands: [String] = ["echo hi"], timeout: Int? = nil
    ) -> SendCommand.Input {
        SendCommand.Input(
            documentName: "AWS-RunShellScript", instanceIDs: nodes?.map(\.description), targets: targets, timeoutSeconds: timeout,
            parameters: ["commands": commands], maxConcurrency: concurrency, maxErrors: errors)
    }
}
