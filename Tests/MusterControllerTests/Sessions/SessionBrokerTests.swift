import Logging
import MusterWire
import NIOConcurrencyHelpers
import Testing

@testable import MusterController

@Suite(.timeLimit(.minutes(1))) struct SessionBrokerTests {
    private let fixture: RecordingFixture
    private let broker: SessionBroker

    init() async throws {
        fixture = try await RecordingFixture()
        broker = Self.broker(fixture)
    }

    /// Another run of the controller over the same data.
    private static func broker(_ fixture: RecordingFixture, over database: (any SQLDatabase)? = nil) -> SessionBroker {
        let logger = Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() })
        return SessionBroker(
            database: database ?? fixture.database, registry: AgentRegistry(database: fixture.database, logger: logger),
            taps: fixture.recorders(),
            now: { RecordingFixture.start }, logger: logger)
    }

    private func start(by name: String) async throws -> (SessionID, SessionToken) {
        var record = SessionStoreTests.record(1, owner: name)
        let token = SessionToken.make()
        record.grant.issue(token, to: SessionTokenTests.caller(name), for: record.id, now: RecordingFixture.start)
        let accepted = record
        try await fixture.database.write { tx in try SessionStore.insert(accepted, by: TestAccess.permit(in: tx), in: tx) }
        await broker.accepted(accepted, room: try await broker.room(for: name))
        return (record.id, token)
    }

    private func resume(_ id: SessionID, by name: String) async throws -> SessionToken {
        let event = AuditEvent(
            time: RecordingFixture.start, caller: SessionTokenTests.caller(name), requestID: "r", region: "", operation: "ResumeSession",
            resource: id.rawValue, outcome: .success)
        return try #require(try await broker.issue(id, audit: event))
    }

    private func open(_ id: SessionID, _ token: SessionToken, _ broker: SessionBroker? = nil) async throws {
        let opening = OpenDataChannel(requestID: "", tokenValue: token.text, clientID: "a client", clientVersion: "1.2.0.0")
        try await (broker ?? self.broker).openClient(id, opening, SessionRelayTests.FakeLeg(.client).leg)
    }

    /// Who opened it, the first first.
    private func openers() async throws -> [String] {
        try await fixture.database.read { tx in
            try tx.query("SELECT user_name, caller, record FROM audit_events WHERE operation = 'OpenDataChannel' ORDER BY sequence").map {
                let name = try $0.text("user_name")
                let caller = SessionTokenTests.caller(name)
                #expect(try $0.text("caller") == caller.arn && $0.text("record").contains(caller.accessKeyID))
                return name
            }
        }
    }

    @Test func anOpeningIsWrittenInTheNameOfWhomTheTokenWasIssuedTo() async throws {
        let (id, first) = try await start(by: "jane")
        try await open(id, first)
        #expect(try await openers() == ["jane"])
        // The same client with the same token has only lost its connection.
        try await open(id, first)
        #expect(try await openers() == ["jane"])
        let second = try await resume(id, by: "joe")
        try await open(id, second)
        try await open(id, second)
        #expect(try await openers() == ["jane", "joe"])
        // As another run of the controller knows.
        let again = Self.broker(fixture)
        try await again.load()
        try await open(id, second, again)
        #expect(try await openers() == ["jane", "joe"])
    }

    /// A store whose disk is full from some moment on.
    private struct FullDatabase: SQLDatabase {
        struct Full: Error {}
        let inner: any SQLDatabase
        let refused: NIOLockedValueBox<Int?>

        func read<T: Sendable>(_ body: @escaping @Sendable (any SQLTransaction) throws -> T) async throws -> T {
            try await inner.read(body)
        }

        func write<T: Sendable>(_ body: @escaping @Sendable (any SQLTransaction) throws -> T) async throws -> T {
            let isFull = refused.withLockedValue { refused in
                refused = refused.map { $0 + 1 }
                return refused != nil
            }
            if isFull { throw Full() }
            return try await inner.write(body)
        }
    }

    /// The node keeps its report until it is told that it is durable: what a controller that stops has not written, it has not heard.
    @Test func anEndThatWasNotWrittenIsNotAcknowledged() async throws {
        let refused = NIOLockedValueBox<Int?>(nil)
        let broker = Self.broker(fixture, over: FullDatabase(inner: fixture.database, refused: refused))
        var record = SessionStoreTests.record(1, owner: "jane")
        let token = SessionToken.make()
        record.grant.issue(token, to: SessionTokenTests.caller("jane"), for: record.id, now: RecordingFixture.start)
        let accepted = record
        try await fixture.database.write { tx in try SessionStore.insert(accepted, by: TestAccess.permit(in: tx), in: tx) }
        await broker.accepted(accepted, room: nil)
        try await open(record.id, token, broker)
        let node = NodeIdentity(node: record.facts.node, generation: record.generation)
        let agent = SessionRelayTests.FakeLeg(.agent)
        try await broker.openAgent(record.id, node, OpenDataChannel(requestID: ""), agent.leg)
        let running = Task { try await broker.run() }
        refused.withLockedValue { $0 = 0 }
        let complete = AgentTaskComplete(session: record.id, status: AgentTaskComplete.Status.success, instanceID: node.node.rawValue)
        let frame = try AgentMessage(.agentTaskComplete, createdDate: RecordingFixture.start, payload: complete)
        #expect(await broker.taskCompleted(node, complete, frame))
        // The end has been tried to write.
        while (refused.withLockedValue { $0 ?? 0 }) < 1 { await Task.yield() }
        running.cancel()
        _ = await running.result
        let types = try agent.written().map { bytes in
            var bytes = bytes
            return try bytes.readAgentMessage().messageType
        }
        #expect(!types.contains(.agentTaskAcknowledge))
    }

    @Test func aTokenThatWasReplacedBeforeItsUseOpensNothingAndIsNobodys() async throws {
        let (id, first) = try await start(by: "jane")
        let second = try await resume(id, by: "joe")
        await #expect(throws: SessionBroker.Refusal.token(.wrong)) { try await open(id, first) }
        try await open(id, second)
        #expect(try await openers() == ["joe"])
    }

    /// Who starts sessions and opens none keeps nobody else from theirs, and has room again once one is opened or over.
    @Test func sessionsThatNobodyOpensAreBoundedForEachUser() async throws {
        let most = SessionBroker.Settings().maximumUnopenedOfUser
        let (id, token) = try await start(by: "jane")
        var held = try await rooms(most - 1, for: "jane")
        await #expect(throws: APIError.self) { try await broker.room(for: "jane") }
        #expect(try await rooms(1, for: "john").count == 1)
        try await open(id, token)
        held += try await rooms(1, for: "jane")
        await #expect(throws: APIError.self) { try await broker.room(for: "jane") }
        held.removeLast()
        #expect(try await rooms(1, for: "jane").count == 1)
    }

    private func rooms(_ count: Int, for user: String) async throws -> [Quota<String>.Share] {
        var rooms: [Quota<String>.Share] = []
        for _ in 0..<count { rooms.append(try await broker.room(for: user)) }
        return rooms
    }
}
