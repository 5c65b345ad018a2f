import FoundationEssentials
import Logging
import MusterCrypto
import MusterWire
import Testing

@testable import MusterController

/// GetMessages, AcknowledgeMessage, FailMessage and SendReply over the registry that WebSockets use as well.
@Suite(.timeLimit(.minutes(1))) struct MessageTests {
    private let fixture: EnrolmentFixture
    private let operations: MessageOperations
    private let openings = ChannelOpenings(now: { 1_000 })

    init() async throws {
        let fixture = try await EnrolmentFixture()
        self.fixture = fixture
        var logger = Logger(label: "test")
        logger.logLevel = .critical
        operations = MessageOperations(openings: openings, logger: logger) { [logger] connection in
            AgentConnection(
                peer: connection.peer, certificate: connection.certificate, registry: fixture.registry, events: fixture.events,
                database: fixture.database, now: { fixture.clock.now }, logger: logger)
        }
    }

    private func serving(_ body: (NodeIdentity, OperationContext) async throws -> Void) async throws {
        let (identity, certificate) = try await fixture.node()
        let context = OperationContext(
            caller: .node(identity, account: "000000000001", region: "local", sourceAddress: "192.0.2.9", userAgent: ""), requestID: "r",
            now: fixture.clock.now, region: "local", account: "000000000001", node: identity, certificate: certificate)
        let service = Task { try await operations.run() }
        defer { service.cancel() }
        try await body(identity, context)
    }

    private func input(_ node: NodeIdentity, number: Int64, opens: Bool = false, waits: Int? = nil) -> GetMessages.Input {
        GetMessages.Input(
            destination: node.node.rawValue, messagesRequestID: UUID().uuidString, connectionNumber: number,
            identityGeneration: node.generation, opensConnection: opens, waitSeconds: waits)
    }

    private func code(_ body: () async throws -> Void) async -> String? {
        do {
            try await body()
            return nil
        } catch {
            return (error as? APIError)?.code
        }
    }

    /// As for control channels, which have the same bound; calls on the connection there is have another.
    @Test func aNodeThatOpensPollsInALoopIsSlowed() async throws {
        try await serving { node, context in
            _ = try await operations.messages(input(node, number: 1, opens: true), context)
            while openings.admit(node.node) {}
            #expect(await code { _ = try await operations.messages(input(node, number: 2, opens: true), context) } == "ThrottlingException")
            _ = try await operations.messages(input(node, number: 1, waits: 0), context)
            #expect(await fixture.registry.connectedNodes() == [node.node: node.generation])
            // The number that was not let in was not used up either: the store has not seen it.
            #expect(openings.admit(.random()))
        }
    }

    @Test func aJobIsFetchedAcknowledgedAndAnswered() async throws {
        try await serving { node, context in
            #expect(try await operations.messages(input(node, number: 1, opens: true), context).messages == [])
            #expect(await fixture.registry.connectedNodes() == [node.node: node.generation])

            let id = JobID(command: .random(), node: node.node)
            let job = AgentJob(content: "{}", jobID: id.description, topic: JobTopic.sendCommand)
            let frame = try AgentMessage(.agentJob, createdDate: fixture.clock.now, payload: job)
            async let held = operations.messages(input(node, number: 1), context)
            #expect(await fixture.registry.send(frame, to: node.node))
            let message = try #require(try await held.messages.first)
            #expect(message.messageID == id.description)
            #expect(message.payload == "{}")
            #expect(message.payloadDigest == Hex.encode(SHA256.hash(Array("{}".utf8))))

            _ = try await operations.acknowledge(.init(messageID: id.description, connectionNumber: 1), context)
            await fixture.events.wait(for: .acknowledged(node.node, id.description))
            _ = try await operations.reply(
                .init(messageID: id.description, payload: "{}", replyID: UUID().uuidString, connectionNumber: 1), context)
            #expect(fixture.events.all.contains(.reply(node.node, id.description)))
        }
    }

    @Test func aReplyThatIsNotKeptIsNotAnswered() async throws {
        try await serving { node, context in
            _ = try await operations.messages(input(node, number: 1, opens: true), context)
            fixture.events.refuseReplies()
            let id = JobID(command: .random(), node: node.node)
            let refusal = await code {
                _ = try await operations.reply(
                    .init(messageID: id.description, payload: "{}", replyID: UUID().uuidString, connectionNumber: 1), context)
            }
            #expect(refusal == "ConnectionNotOpen")
        }
    }

    @Test func aNumberThatWasUsedBeforeIsAClones() async throws {
        try await serving { node, context in
            _ = try await operations.messages(input(node, number: 5, opens: true), context)
            #expect(
                await code { _ = try await operations.messages(input(node, number: 5, opens: true), context) } == "AccessDeniedException")
            #expect(try await fixture.stored(node.node)?.state == .quarantined)
            #expect(await code { _ = try await operations.messages(input(node, number: 5), context) } == "ConnectionNotOpen")
        }
    }

    @Test func aHigherNumberReplacesAndAnUnknownOneIsToldToOpen() async throws {
        try await serving { node, context in
            #expect(await code { _ = try await operations.messages(input(node, number: 1), context) } == "ConnectionNotOpen")
            _ = try await operations.messages(input(node, number: 1, opens: true), context)
            _ = try await operations.messages(input(node, number: 2, opens: true), context)
            #expect(await code { _ = try await operations.messages(input(node, number: 1), context) } == "ConnectionNotOpen")
            #expect(try await operations.messages(input(node, number: 2, waits: 1), context).messages == [])
            #expect(try await fixture.stored(node.node)?.state == .registered)
        }
    }

    @Test func aReplyForAnotherNodeEndsTheConnection() async throws {
        try await serving { node, context in
            _ = try await operations.messages(input(node, number: 1, opens: true), context)
            let foreign = JobID(command: .random(), node: .random())
            let refusal = await code {
                _ = try await operations.reply(
                    .init(messageID: foreign.description, payload: "{}", replyID: UUID().uuidString, connectionNumber: 1), context)
            }
            #expect(refusal == "ConnectionNotOpen")
            #expect(try await fixture.audit("RefuseAgentMessage").count == 1)
        }
    }

    @Test func aGoodbyeTakesTheNodeAway() async throws {
        try await serving { node, context in
            _ = try await operations.messages(input(node, number: 1, opens: true), context)
            var last = input(node, number: 1)
            last.closesConnection = true
            _ = try await operations.messages(last, context)
            await fixture.events.wait(for: .disconnected(node.node))
            #expect(await fixture.registry.connectedNodes().isEmpty)
        }
    }

    @Test func aFollowersWishReachesAHeldPoll() async throws {
        try await serving { node, context in
            _ = try await operations.messages(input(node, number: 1, opens: true), context)
            let request = AgentOutputRequest(commandID: "c", seconds: 60)
            let frame = try AgentMessage(.agentOutput, createdDate: fixture.clock.now, payload: request)
            async let held = operations.messages(input(node, number: 1), context)
            #expect(await fixture.registry.send(frame, to: node.node))
            let output = try await held
            #expect(output.messages == [] && output.outputRequests == [request])
            #expect(try await operations.messages(input(node, number: 1, waits: 1), context).outputRequests == nil)
        }
    }

    @Test func aPollWhoseClientHangsUpEndsTheConnectionSoon() async throws {
        try await serving { node, context in
            _ = try await operations.messages(input(node, number: 1, opens: true), context)
            let end = ConnectionEnd()
            let dying = OperationContext(
                caller: context.caller, requestID: "r", now: context.now, region: "local", account: context.account, node: node,
                certificate: context.certificate, connectionEnd: end)
            async let held = operations.messages(input(node, number: 1), dying)
            end.reached()
            #expect(try await held.messages == [])
            let began = ContinuousClock.now
            await fixture.events.wait(for: .disconnected(node.node))
            #expect(ContinuousClock.now - began < PollSession.longestSilence / 2)
            #expect(await code { _ = try await operations.messages(input(node, number: 1), context) } == "ConnectionNotOpen")
        }
    }

    @Test func anotherNodesMessagesAreRefused() async throws {
        try await serving { node, context in
            var foreign = input(node, number: 1, opens: true)
            foreign.destination = NodeID.random().rawValue
            #expect(await code { _ = try await operations.messages(foreign, context) } == "InvalidInstanceId")
        }
    }

    @Test func aFailureCarriesItsCode() async throws {
        try await serving { node, context in
            _ = try await operations.messages(input(node, number: 1, opens: true), context)
            let id = JobID(command: .random(), node: node.node).description
            _ = try await operations.fail(
                .init(
                    messageID: id, failureType: FailMessage.Input.internalHandlerException,
                    statusCode: JobAcknowledgeCode.bufferFull.rawValue,
                    connectionNumber: 1), context)
            await fixture.events.wait(for: .acknowledged(node.node, id))
        }
    }
}
