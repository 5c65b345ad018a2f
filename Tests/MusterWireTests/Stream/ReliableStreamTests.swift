import FoundationEssentials
import NIOCore
import Testing

@testable import MusterWire

@Suite struct ReliableStreamTests {
    private static let small = ReliableStream.Limits(
        maximumPayload: 1000, maximumUnacknowledgedBytes: 20_000, maximumUnacknowledgedMessages: 50, maximumReordered: 50)

    private let start = NIODeadline.uptimeNanoseconds(1_000_000_000)
    private let date = StreamTime.date

    private func text(_ text: String) -> ByteBuffer { ByteBuffer(string: text) }

    /// Of the first copy, unless another is named.
    private func acknowledgement(_ sequence: Int64, copy: Int = 0) throws -> AgentMessage {
        let id = "00112233-4455-6677-8899-aabbccddee0\(copy)"
        return try AgentMessage(
            .acknowledge, createdDate: date,
            payload: AcknowledgeContent(messageType: "input_stream_data", messageID: id, sequenceNumber: sequence))
    }

    private func same(_ a: [AgentMessage], _ b: [AgentMessage]) -> Bool {
        a.map(\.sequenceNumber) == b.map(\.sequenceNumber) && a.map(\.payload) == b.map(\.payload)
    }

    private func data(_ sequence: Int64, _ text: String, from role: ReliableStream.Role = .agent) -> AgentMessage {
        AgentMessage(
            messageType: role.outgoing, createdDate: date, sequenceNumber: sequence, payloadType: .output, payload: ByteBuffer(string: text)
        )
    }

    // MARK: Sending

    @Test func framesHaveTheHeadersOfTheStockEnds() {
        var agent = ReliableStream(role: .agent, limits: .stock)
        let first = agent.send(.output, text("a"), now: start, date: date)
        let second = agent.send(.output, text("b"), flags: ReliableStream.isLast, now: start, date: date)
        #expect(first.map(\.flags) == [1])
        #expect(second.map(\.flags) == [2])
        #expect((first + second).map(\.sequenceNumber) == [0, 1])
        #expect((first + second).allSatisfy { $0.messageType == .outputStreamData })

        var client = ReliableStream(role: .client, limits: .stock)
        #expect(client.send(.output, text("a"), now: start, date: date).map(\.flags) == [0])
    }

    @Test func payloadsAreCutAndFlagsStandInTheLastPiece() {
        var client = ReliableStream(role: .client, limits: .stock)
        let frames = client.send(.output, ByteBuffer(repeating: 7, count: 2500), flags: ReliableStream.isLast, now: start, date: date)
        #expect(frames.map(\.payload.readableBytes) == [1024, 1024, 452])
        #expect(frames.map(\.flags) == [0, 0, 2])
        #expect(client.unacknowledgedBytes == 2500)
    }

    // MARK: Digests

    @Test func whoIsSentFramesWithoutADigestSendsNoneEither() throws {
        var limits = ReliableStream.Limits.native
        limits.hashesPayloads = false
        var agent = ReliableStream(role: .agent, limits: limits)
        var client = ReliableStream(role: .client, limits: .native)
        #expect(client.send(.output, text("a"), now: start, date: date).map(\.isHashed) == [true])
        let frame = try #require(agent.send(.output, text("b"), now: start, date: date).first)
        #expect(!frame.isHashed)
        let answers = client.received(frame, now: start, date: date).send
        #expect(answers.map(\.isHashed) == [false])
        #expect(client.send(.output, text("c"), now: start, date: date).map(\.isHashed) == [false])
        // What is sent again is what was sent.
        client.disconnected()
        #expect(client.reconnected(now: start).map(\.isHashed) == [true, false])
    }

    @Test func anEmptyFrameSaysNothingOfDigests() {
        var client = ReliableStream(role: .client, limits: .native)
        var empty = data(0, "")
        empty.isHashed = false
        _ = client.received(empty, now: start, date: date)
        #expect(client.send(.output, text("a"), now: start, date: date).map(\.isHashed) == [true])
    }

    @Test func framesAreLargeOnceTheLinkIsKnownToBeQuick() throws {
        var client = ReliableStream(role: .client, limits: .native)
        func frames(of size: Int) -> [Int] {
            client.send(.output, ByteBuffer(repeating: 1, count: size), now: start, date: date).map(\.payload.readableBytes)
        }
        #expect(frames(of: 128 << 10) == [64 << 10, 64 << 10])
        _ = client.received(try acknowledgement(0), now: start + .milliseconds(101), date: date)
        #expect(frames(of: 65 << 10) == [64 << 10, 1 << 10])
        _ = client.received(try acknowledgement(1), now: start + .milliseconds(9), date: date)
        #expect(frames(of: 128 << 10) == [128 << 10])
        client.disconnected()
        _ = client.reconnected(now: start)
        #expect(frames(of: 65 << 10) == [64 << 10, 1 << 10])
    }

    // MARK: The stock client

    /// An agent whose client has its handler.
    private func readyAgent() -> ReliableStream {
        var agent = ReliableStream(role: .agent, limits: .stock)
        _ = agent.received(data(0, "x", from: .client), now: start, date: date)
        return agent
    }

    @Test func aStockClientThatIsReadyGetsDataBeforeItsTurn() {
        var agent = ReliableStream(role: .agent, limits: .stock)
        let early = agent.send(.output, text("a"), now: start, date: date) + agent.flushed(now: start)
        #expect(early.map(\.sequenceNumber) == [0])
        #expect(early[0].flags == 1)
        _ = agent.received(data(0, "x", from: .client), now: start, date: date)
        let frames = agent.send(.output, ByteBuffer(repeating: 7, count: 2500), now: start, date: date) + agent.flushed(now: start)
        #expect(frames.map(\.sequenceNumber) == [2, 3, 4, 1])
        #expect(frames.map(\.flags) == [4, 0, 0, 0])
        #expect(frames.map(\.payload.readableBytes) == [1024, 1024, 452, 0])
        #expect(agent.flushed(now: start).isEmpty)
        let more = agent.send(.standardError, text("b"), now: start, date: date) + agent.flushed(now: start)
        #expect(more.map(\.sequenceNumber) == [6, 5])
    }

    @Test func aNativeClientGetsFramesInTheirOrder() {
        var agent = ReliableStream(role: .agent, limits: .native)
        _ = agent.received(data(0, "x", from: .client), now: start, date: date)
        let frames = agent.send(.output, text("a"), now: start, date: date) + agent.flushed(now: start)
        #expect(frames.map(\.sequenceNumber) == [0])
    }

    @Test func afterAReconnectTheOpenerFollowsItsDataAgain() {
        var agent = readyAgent()
        _ = agent.send(.output, text("a"), now: start, date: date) + agent.flushed(now: start)
        _ = agent.send(.output, text("b"), now: start, date: date)  // and not flushed
        agent.disconnected()
        #expect(agent.reconnected(now: start).map(\.sequenceNumber) == [1, 0, 3, 2, 4])
        #expect(agent.flushed(now: start).isEmpty)
    }

    /// 40 frames whose acknowledgements were lost with a connection: the client has them, and stays silent.
    @Test func whatTheStockClientHasAlreadyIsSettled() throws {
        var agent = readyAgent()
        _ = agent.send(.output, ByteBuffer(repeating: 7, count: 40 * 1024), now: start, date: date) + agent.flushed(now: start)
        agent.disconnected()
        let again = agent.reconnected(now: start)
        #expect(again.count == 42)
        #expect(again.last?.payload.readableBytes == 0)
        let step = agent.received(try acknowledgement(41), now: start + .milliseconds(3), date: date)
        #expect(step.send.isEmpty)
        #expect(agent.isDrained)
        #expect(agent.unacknowledgedBytes == 0)
        #expect(agent.nextDeadline == nil)
    }

    @Test func nothingIsSettledByWhatWentAnotherWay() throws {
        var agent = readyAgent()
        _ = agent.send(.output, text("a"), now: start, date: date) + agent.flushed(now: start)
        agent.disconnected()
        _ = agent.send(.output, text("b"), now: start, date: date) + agent.flushed(now: start)
        #expect(agent.reconnected(now: start).map(\.sequenceNumber) == [1, 0, 3, 2, 4])
        // Of the first copy, which went over the former connection.
        _ = agent.received(try acknowledgement(0), now: start, date: date)
        #expect(agent.unacknowledgedMessages == 4)
        // And the controller's answer has overtaken what is on its way to the client.
        var answer = try acknowledgement(4)
        answer.flags |= AgentMessage.isAnswerOfRelay
        _ = agent.received(answer, now: start, date: date)
        #expect(agent.unacknowledgedMessages == 3)
    }

    @Test func anotherConnectionOfTheClientGetsEverythingAgain() throws {
        var agent = readyAgent()
        _ = agent.send(.output, text("a"), now: start, date: date) + agent.flushed(now: start)
        let publication = AgentMessage(messageType: .startPublication, createdDate: date, payload: text("{}"))
        #expect(agent.received(publication, now: start, date: date).send.map(\.sequenceNumber) == [1, 0, 2])
        var native = ReliableStream(role: .agent, limits: .native)
        _ = native.send(.output, text("a"), now: start, date: date)
        #expect(native.received(publication, now: start, date: date).send.isEmpty)
    }

    @Test func anEmptyPayloadGoesOutOnlyWithFlags() {
        var client = ReliableStream(role: .client, limits: .native)
        #expect(client.send(.output, ByteBuffer(), now: start, date: date).isEmpty)
        #expect(client.send(.output, ByteBuffer(), flags: ReliableStream.isLast, now: start, date: date).count == 1)
    }

    @Test func aShortSliceDoesNotKeepALargeBuffer() {
        var client = ReliableStream(role: .client, limits: .native)
        var large = ByteBuffer(repeating: 1, count: 1 << 20)
        let slice = large.readSlice(length: 3)!
        let frame = client.send(.output, slice, now: start, date: date)[0]
        #expect(frame.payload.storageCapacity < 1024)
        #expect(frame.payload == slice)
    }

    @Test func roomEndsAndComesBack() throws {
        var client = ReliableStream(role: .client, limits: Self.small)
        #expect(client.room == 20_000)
        _ = client.send(.output, ByteBuffer(repeating: 7, count: 20_000), now: start, date: date)
        #expect(client.room == 0)
        _ = client.received(try acknowledgement(0), now: start + .milliseconds(5), date: date)
        #expect(client.room == 1000)
        // As many messages as may be on their way, however short.
        var other = ReliableStream(role: .client, limits: Self.small)
        for _ in 0..<50 { _ = other.send(.output, text("x"), now: start, date: date) }
        #expect(other.room == 0)
    }

    @Test func anAcknowledgementForNothingChangesNothing() throws {
        var client = ReliableStream(role: .client, limits: Self.small)
        _ = client.send(.output, text("x"), now: start, date: date)
        for sequence in [Int64.min, -1, 1, .max] {
            #expect(client.received(try acknowledgement(sequence), now: start, date: date).failure == nil)
        }
        #expect(client.unacknowledgedMessages == 1)
        _ = client.received(try acknowledgement(0), now: start, date: date)
        _ = client.received(try acknowledgement(0), now: start, date: date)
        #expect(client.isDrained)
        #expect(client.nextDeadline == nil)
        #expect(client.unacknowledgedBytes == 0)
    }

    @Test(arguments: ["", "{", "[]", "{}", #"{"AcknowledgedMessageSequenceNumber":"7"}"#, #"{"AcknowledgedMessageSequenceNumber":1e99}"#])
    func anUnreadableAcknowledgementFails(payload: String) {
        var client = ReliableStream(role: .client, limits: Self.small)
        let frame = AgentMessage(messageType: .acknowledge, createdDate: date, payload: text(payload))
        #expect(client.received(frame, now: start, date: date).failure == .acknowledgement)
    }

    // MARK: Receiving

    @Test func framesAreDeliveredOnceAndInOrder() {
        var client = ReliableStream(role: .client, limits: Self.small)
        func deliver(_ sequence: Int64) -> [String] {
            client.received(data(sequence, "\(sequence)"), now: start, date: date).deliver.map { String(buffer: $0.payload) }
        }
        #expect(deliver(2) == [])
        #expect(deliver(1) == [])
        #expect(deliver(1) == [])
        #expect(deliver(0) == ["0", "1", "2"])
        #expect(deliver(0) == [])
        #expect(deliver(2) == [])
        #expect(deliver(3) == ["3"])
        #expect(client.reordered.bytes == 0)
    }

    @Test func everyFrameThatIsKeptIsAcknowledgedAndOldOnesAgain() throws {
        for role in [ReliableStream.Role.client, .agent] {
            var stream = ReliableStream(role: role, limits: Self.small)
            for sequence in [Int64(1), 0, 0] {
                let frame = data(sequence, "x", from: role == .client ? .agent : .client)
                let answers = stream.received(frame, now: start, date: date).send
                #expect(answers.map(\.messageType) == [.acknowledge])
                #expect(answers.first?.flags == 3)
                let content = try answers[0].decodePayload(AcknowledgeContent.self)
                #expect(content.sequenceNumber == sequence)
                #expect(content.messageType == frame.messageType.rawValue)
                #expect(content.messageID == frame.messageID.uuidString.lowercased())
            }
        }
    }

    @Test func whoIsNotReadyStaysSilent() {
        var agent = ReliableStream(role: .agent, limits: Self.small)
        let early = agent.received(data(0, "a", from: .client), isReady: false, now: start, date: date)
        #expect(early.send.isEmpty && early.deliver.isEmpty)
        // What comes behind it is kept meanwhile, as the stock ends do.
        #expect(agent.received(data(1, "b", from: .client), isReady: false, now: start, date: date).send.count == 1)
        #expect(agent.received(data(0, "a", from: .client), now: start, date: date).deliver.count == 2)
    }

    @Test func whatComesEarlyIsBounded() {
        var client = ReliableStream(role: .client, limits: Self.small)
        for sequence in 1...200 { _ = client.received(data(Int64(sequence), "x"), now: start, date: date) }
        #expect(client.reordered.messages == 50)
        var other = ReliableStream(role: .client, limits: Self.small)
        for sequence in 1...40 {
            _ = other.received(data(Int64(sequence), String(repeating: "x", count: 1000)), now: start, date: date)
        }
        #expect(other.reordered.bytes == 20_000)
        // What was dropped was not acknowledged either.
        #expect(other.received(data(60, "x"), now: start, date: date).send.isEmpty)
    }

    @Test(arguments: [Int64.min, -1, .max]) func impossibleSequenceNumbersFail(sequence: Int64) {
        var client = ReliableStream(role: .client, limits: Self.small)
        #expect(client.received(data(sequence, "x"), now: start, date: date).failure == .sequence(sequence))
    }

    @Test func framesOfTheOwnDirectionAreNotForUs() {
        var client = ReliableStream(role: .client, limits: Self.small)
        let step = client.received(data(0, "x", from: .client), now: start, date: date)
        #expect(step.deliver.isEmpty && step.send.isEmpty && step.failure == nil)
    }

    // MARK: Again

    @Test func whatIsOverdueGoesOutAgainUnchangedAndMoreAndMoreRarely() {
        var client = ReliableStream(role: .client, limits: Self.small)
        let frame = client.send(.output, text("x"), now: start, date: date)[0]
        var now = start
        var waits: [Int64] = []
        for _ in 0..<6 {
            let next = client.nextDeadline!
            #expect(client.due(now: next - .nanoseconds(1)).isEmpty)
            #expect(same(client.due(now: next), [frame]))
            waits.append((next - now).nanoseconds / 1_000_000)
            now = next
        }
        #expect(waits == [200, 400, 800, 1000, 1000, 1000])
    }

    /// The others may be at the other end already, waiting for the first one, with no room left for more of them.
    @Test func theFirstOneIsRepeatedUntilItArrives() throws {
        var client = ReliableStream(role: .client, limits: Self.small)
        for _ in 0..<10 { _ = client.send(.output, text("x"), now: start, date: date) }
        for _ in 0..<5 { #expect(client.due(now: client.nextDeadline!).map(\.sequenceNumber) == [0]) }
        _ = client.received(try acknowledgement(0), now: start + .seconds(10), date: date)
        #expect(client.due(now: client.nextDeadline!).map(\.sequenceNumber) == [1])
    }

    @Test func anAcknowledgementStartsTheTimeoutAgain() throws {
        var client = ReliableStream(role: .client, limits: Self.small)
        for _ in 0..<3 { _ = client.send(.output, text("x"), now: start, date: date) }
        _ = client.received(try acknowledgement(0), now: start + .milliseconds(150), date: date)
        #expect(client.due(now: start + .milliseconds(201)).isEmpty)
    }

    @Test func whatWasOvertakenGoesOutAtOnceTwoForEachAcknowledgement() throws {
        var client = ReliableStream(role: .client, limits: Self.small)
        for _ in 0..<10 { _ = client.send(.output, text("x"), now: start, date: date) }
        let now = start + .milliseconds(30)
        #expect(client.received(try acknowledgement(5), now: now, date: date).send.map(\.sequenceNumber) == [0, 1])
        #expect(client.received(try acknowledgement(6), now: now, date: date).send.map(\.sequenceNumber) == [2, 3])
        #expect(client.received(try acknowledgement(7), now: now, date: date).send.map(\.sequenceNumber) == [4])
        // 8 and 9 have not been overtaken by enough.
        #expect(client.received(try acknowledgement(0), now: now, date: date).send.isEmpty)
    }

    @Test func aLateAcknowledgementIsNotTakenForALoss() throws {
        // A stall of 400 ms: the first frame is repeated, then all first copies are acknowledged.
        var client = ReliableStream(role: .client, limits: Self.small)
        for _ in 0..<10 { _ = client.send(.output, text("x"), now: start, date: date) }
        #expect(client.due(now: start + .milliseconds(200)).count == 1)
        for sequence in Int64(0)..<10 {
            #expect(client.received(try acknowledgement(sequence), now: start + .milliseconds(400), date: date).send.isEmpty)
        }
        #expect(client.isDrained)
    }

    @Test func aLostTailIsRecoveredByDoubling() throws {
        var client = ReliableStream(role: .client, limits: Self.small)
        for _ in 0..<20 { _ = client.send(.output, text("x"), now: start, date: date) }
        var now = client.nextDeadline!
        var wave = client.due(now: now)
        var sizes: [Int] = []
        while !wave.isEmpty {
            sizes.append(wave.count)
            now = now + .milliseconds(30)
            var next: [AgentMessage] = []
            for frame in wave {
                #expect(frame.messageID.uuid.15 == 1)
                next += client.received(try acknowledgement(frame.sequenceNumber, copy: 1), now: now, date: date).send
            }
            wave = next
        }
        #expect(sizes == [1, 2, 4, 8, 5])
        #expect(client.isDrained)
    }

    @Test func anUnnamedCopyProvesNothing() throws {
        var client = ReliableStream(role: .client, limits: Self.small)
        for _ in 0..<20 { _ = client.send(.output, text("x"), now: start, date: date) }
        let now = client.nextDeadline!
        _ = client.due(now: now)
        let before = client.roundTrip
        let frame = AgentMessage(
            messageType: .acknowledge, createdDate: date, payload: text(#"{"AcknowledgedMessageSequenceNumber":0}"#))
        #expect(client.received(frame, now: now, date: date).send.isEmpty)
        #expect(client.roundTrip == before)
    }

    @Test func allIsSentAgainAfterAReconnectInOrderWithinAWindow() {
        var client = ReliableStream(role: .client, limits: Self.small)
        let sent = client.send(.output, ByteBuffer(repeating: 7, count: 20_000), now: start, date: date)
        client.disconnected()
        #expect(client.nextDeadline == nil)
        #expect(client.due(now: start + .seconds(60)).isEmpty)
        let again = client.reconnected(now: start + .seconds(60))
        #expect(same(again, Array(sent.prefix(again.count))))
        #expect((17...20).contains(again.count))
    }

    @Test func whatIsWrittenWhileDisconnectedWaits() {
        var client = ReliableStream(role: .client, limits: Self.small)
        client.disconnected()
        #expect(client.send(.output, text("x"), now: start, date: date).isEmpty)
        #expect(client.reconnected(now: start).map { String(buffer: $0.payload) } == ["x"])
    }

    @Test func aPauseStopsEverythingUntilTheOtherSideIsHeardOf() {
        let ways = [
            AgentMessage(messageType: .startPublication, createdDate: date, payload: text("{}")),
            data(0, "x", from: .client),
        ]
        for way in ways {
            var agent = ReliableStream(role: .agent, limits: Self.small)
            let sent = agent.send(.output, text("x"), now: start, date: date)
            _ = agent.received(
                AgentMessage(messageType: .pausePublication, createdDate: date, payload: text("{}")), now: start, date: date)
            #expect(agent.room == 0)
            #expect(agent.nextDeadline == nil)
            #expect(agent.send(.output, text("y"), now: start, date: date).isEmpty)
            let step = agent.received(way, now: start + .seconds(1), date: date)
            let again = step.send.filter { $0.messageType == .outputStreamData }
            #expect(again.first?.payload == sent.first?.payload)
            #expect(again.map(\.sequenceNumber) == [0, 1])
            #expect(agent.room > 0)
        }
    }

    @Test func aStuckFrameDoesNotHoldUpTheOthers() throws {
        // A stock client has processed frame 0, its acknowledgement was lost, and it will not send another.
        var agent = ReliableStream(role: .agent, limits: Self.small)
        _ = agent.send(.output, text("x"), now: start, date: date)
        var now = start
        var repeats = 0
        for sequence in Int64(1)...5000 {
            now = now + .milliseconds(2)
            #expect(agent.room > 0)
            _ = agent.send(.output, text("x"), now: now, date: date)
            repeats += agent.received(try acknowledgement(sequence), now: now + .milliseconds(1), date: date).send.count
            repeats += agent.due(now: now + .milliseconds(1)).count
        }
        #expect(agent.unacknowledgedMessages == 1)
        #expect(repeats < 60)  // ten seconds
    }

    /// Time is the link's here, so the machine's load is nothing to it. At 125 KB/s a frame of 64 KiB takes half a second.
    @Test(arguments: [62_500, 125_000, 1_000_000], [5, 50, 200])
    func aSlowLinkIsNotFilledWithRepeats(bytesPerSecond: Int, latency: Int64) {
        let link = transfer(
            .native, .native, Weather(latency: .milliseconds(latency), bytesPerSecond: bytesPerSecond), seed: 1, upstream: 2 << 20,
            downstream: 0)
        #expect(link.report.isFinished)
        #expect(link.report.bytes < (2 << 20) * 11 / 10)
        #expect(link.report.took < .nanoseconds(Int64(2 << 20) * 1_000_000_000 / Int64(bytesPerSecond) * 3 / 2))
    }

    @Test func aSlowLinkHasAShortQueue() {
        let link = transfer(
            .native, .native, Weather(latency: .milliseconds(20), bytesPerSecond: 250_000), seed: 2, upstream: 0, downstream: 20 << 20)
        #expect(link.report.isFinished)
        #expect(link.report.mostHeld <= 512 << 10)
        #expect(link.agent.stream.roundTrip.smoothed < .seconds(1))
    }

    // MARK: Properties

    static let weathers: [Weather] = [
        Weather(),
        Weather(loss: 0.05, duplication: 0.05, straggling: 0.1),
        Weather(loss: 0.3, duplication: 0.2, straggling: 0.3),
        Weather(connectionLife: .milliseconds(300)),
        Weather(loss: 0.02, connectionLife: .milliseconds(700), pauses: .milliseconds(500)),
        Weather(pauses: .milliseconds(200), unready: .seconds(2)),
        Weather(latency: .milliseconds(200), bytesPerSecond: 1_000_000, loss: 0.01, connectionLife: .seconds(3)),
        Weather(latency: .nanoseconds(50_000), loss: 0.001),
    ]

    @Test(arguments: 0..<weathers.count, UInt64(1)...6) func ourEndsLoseNothing(weather: Int, seed: UInt64) {
        let link = transfer(.native, .native, Self.weathers[weather], seed: seed, upstream: 700_000, downstream: 1_300_000)
        #expect(link.report.isFinished, "\(link.report)")
        #expect(link.report.mostHeld <= 4 << 20)
        #expect(link.client.stream.unacknowledgedBytes == 0)
    }

    @Test(arguments: 0..<weathers.count, UInt64(1)...6) func smallLimitsHold(weather: Int, seed: UInt64) {
        let link = transfer(Self.small, Self.small, Self.weathers[weather], seed: seed, upstream: 60_000, downstream: 90_000)
        #expect(link.report.isFinished, "\(link.report)")
        #expect(link.report.mostHeld <= 20_000)
    }

    /// A stock client does not say twice that it has a frame, and shows twice what it could not acknowledge. Frames get lost with a
    /// connection or while one end is away, not in between: WebSockets and the relay keep them and their order.
    @Test(arguments: UInt64(1)...12) func anAgentAndTheStockPluginLoseAndDoubleNothing(seed: UInt64) {
        for weather in [
            Weather(), Weather(duplication: 0.1, unready: .seconds(1)), Weather(connectionLife: .milliseconds(500)),
            Weather(pauses: .milliseconds(300)), Weather(connectionLife: .milliseconds(500), pauses: .milliseconds(700)),
            Weather(latency: .milliseconds(100), bytesPerSecond: 400_000, connectionLife: .milliseconds(900)),
        ] {
            var random = SeededGenerator(seed: seed)
            let up = bytes(20_000, &random), down = bytes(300_000, &random)
            // What it shows before its first input, a prompt, may double.
            var link = LossyLink(
                client: StockEnd(.client), agent: MusterEnd(.agent, .stock, isQuietAtFirst: true), weather: weather, seed: seed)
            link.run(upstream: up, downstream: down, atMost: .minutes(30), untilDrained: true)
            #expect(link.report.isFinished, "\(link.report)")
            #expect(link.report.took < .minutes(1))
            let isExact = link.client.output == down
            #expect(isExact, "\(weather)")
            #expect(link.agent.output == up)
            #expect(link.report.mostHeld <= 1 << 20)
        }
    }

    @Test(arguments: UInt64(1)...8) func aClientAndTheStockAgentLoseNothing(seed: UInt64) {
        for weather in [
            Weather(), Weather(duplication: 0.1, straggling: 0.1, unready: .seconds(1)), Weather(loss: 0.02),
            Weather(connectionLife: .milliseconds(500), pauses: .milliseconds(700)),
        ] {
            var random = SeededGenerator(seed: seed)
            let up = bytes(200_000, &random), down = bytes(50_000, &random)
            var link = LossyLink(client: MusterEnd(.client, .stock), agent: StockEnd(.agent), weather: weather, seed: seed)
            link.run(upstream: up, downstream: down, atMost: .minutes(30), untilDrained: true)
            #expect(link.report.isFinished, "\(link.report)")
            #expect(link.client.output == down)
            #expect(link.agent.output == up)
        }
    }

    /// Frames whose numbers, kinds and contents a peer made up.
    @Test(arguments: UInt64(1)...50) func nothingTrapsAndNothingGrows(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        var stream = ReliableStream(role: seed.isMultiple(of: 2) ? .client : .agent, limits: Self.small)
        var now = start
        for _ in 0..<2000 {
            let types: [MessageType] = [
                .inputStreamData, .outputStreamData, .acknowledge, .pausePublication, .startPublication, .channelClosed,
            ]
            let sequences: [Int64] = [
                0, 1, 2, Int64.random(in: -5...100, using: &random), .max, .min, stream.unacknowledgedMessages.signed,
            ]
            let sequence = sequences.randomElement(using: &random)!
            var message = data(sequence, String(repeating: "x", count: Int.random(in: 0...1500, using: &random)))
            message.messageType = types.randomElement(using: &random)!
            if message.messageType == .acknowledge {
                message.payload = text(#"{"AcknowledgedMessageSequenceNumber":\#(sequence)}"#)
            }
            _ = stream.received(message, isReady: Bool.random(using: &random), now: now, date: date)
            if stream.room > 0 { _ = stream.send(.output, text("hello"), now: now, date: date) }
            if Int.random(in: 0..<20, using: &random) == 0 { stream.disconnected() }
            if Int.random(in: 0..<20, using: &random) == 0 { _ = stream.reconnected(now: now) }
            _ = stream.due(now: now)
            now = now + .milliseconds(Int64.random(in: 0...300, using: &random))
            #expect(stream.reordered.messages <= 50 && stream.reordered.bytes <= 20_000)
            #expect(stream.unacknowledgedMessages <= 50 && stream.unacknowledgedBytes <= 20_000)
        }
    }

    private func transfer(
        _ a: ReliableStream.Limits, _ b: ReliableStream.Limits, _ weather: Weather, seed: UInt64, upstream: Int, downstream: Int
    ) -> LossyLink<MusterEnd, MusterEnd> {
        var random = SeededGenerator(seed: seed &* 77)
        let up = bytes(upstream, &random), down = bytes(downstream, &random)
        var link = LossyLink(client: MusterEnd(.client, a), agent: MusterEnd(.agent, b), weather: weather, seed: seed)
        link.run(upstream: up, downstream: down, atMost: .minutes(30), untilDrained: true)
        #expect(link.client.output == down)
        #expect(link.agent.output == up)
        #expect(link.client.failure == nil && link.agent.failure == nil)
        return link
    }

    private func bytes(_ count: Int, _ random: inout SeededGenerator) -> [UInt8] {
        [UInt8](unsafeUninitializedCapacity: count) { buffer, initialized in
            for index in 0..<count { buffer.initializeElement(at: index, to: UInt8(truncatingIfNeeded: random.next())) }
            initialized = count
        }
    }
}

extension Int {
    fileprivate var signed: Int64 { Int64(self) }
}
