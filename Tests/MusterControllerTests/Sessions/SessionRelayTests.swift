import MusterWire
import NIOConcurrencyHelpers
import NIOCore
import Testing

@testable import MusterController

@Suite struct SessionRelayTests {
    /// A leg without a connection: what it is asked for is counted.
    final class FakeLeg: Sendable {
        struct Seen {
            var drains = 0
            var resumes = 0
            var closed: String?
        }

        let leg: RelayLeg
        private let seen: NIOLockedValueBox<Seen>

        init(_ side: SessionSide) {
            let seen = NIOLockedValueBox(Seen())
            self.seen = seen
            leg = RelayLeg(
                side: side, remoteAddress: "192.0.2.1",
                connection: .init(
                    drain: { seen.withLockedValue { $0.drains += 1 } }, resumeReading: { seen.withLockedValue { $0.resumes += 1 } },
                    attach: { _, _ in }, close: { _, reason in seen.withLockedValue { $0.closed = reason } }))
        }

        var drains: Int { seen.withLockedValue { $0.drains } }
        var resumes: Int { seen.withLockedValue { $0.resumes } }

        /// What its loop would write now.
        func written() -> [ByteBuffer] {
            var frames: [ByteBuffer] = []
            while let frame = leg.next(isFirst: frames.isEmpty) { frames.append(frame) }
            return frames
        }
    }

    final class FakeTap: SessionTap {
        let passed = NIOLockedValueBox<[(SessionSide, Int64)]>([])
        let failsAt: Int64?

        init(failsAt: Int64? = nil) { self.failsAt = failsAt }

        func pass(_ frame: AgentMessage, from side: SessionSide) throws(RecordingFailure) {
            if frame.sequenceNumber == failsAt { throw RecordingFailure("disk full") }
            passed.withLockedValue { $0.append((side, frame.sequenceNumber)) }
        }

        func noted(_ note: SessionNote) {}
        func ended(_ reason: String) async {}
    }

    final class Fixture: Sendable {
        let relay: SessionRelay
        let reports = NIOLockedValueBox<[SessionRelay.Report]>([])
        let clock = NIOLockedValueBox(NIODeadline.uptimeNanoseconds(1_000))

        init() {
            let (reports, clock) = (reports, clock)
            relay = SessionRelay(
                id: SessionTokenTests.session, now: { clock.withLockedValue { $0 } },
                report: { item in reports.withLockedValue { $0.append(item) } })
        }

        func attach(_ side: SessionSide) -> FakeLeg {
            let leg = FakeLeg(side)
            _ = relay.attach(leg.leg, takesUnhashed: false)
            return leg
        }
    }

    static func frame(_ type: MessageType, _ sequence: Int64, size: Int = 1, payloadType: PayloadType = .output) -> ByteBuffer {
        var bytes = ByteBuffer()
        bytes.writeAgentMessage(
            AgentMessage(
                messageType: type, createdDate: Timestamp(milliseconds: 1), sequenceNumber: sequence, payloadType: payloadType,
                payload: ByteBuffer(repeating: 7, count: size)))
        return bytes
    }

    static func unhashed(_ frame: ByteBuffer) throws -> ByteBuffer {
        var (reader, bytes) = (frame, ByteBuffer())
        var message = try reader.readAgentMessage()
        message.isHashed = false
        bytes.writeAgentMessage(message)
        return bytes
    }

    @Test func whoTakesNoFrameWithoutADigestGetsOne() throws {
        let fixture = Fixture()
        let agent = fixture.attach(.agent)
        let frames = (0..<4).map { Self.frame(.outputStreamData, $0) }
        let bare = try frames.map(Self.unhashed)
        // Held, for a client that takes them and is then replaced by one that does not.
        _ = fixture.relay.received(bare[0], from: agent.leg)
        let native = FakeLeg(.client)
        _ = fixture.relay.attach(native.leg, takesUnhashed: true)
        #expect(native.written() == [bare[0]])
        _ = fixture.relay.received(bare[1], from: agent.leg)
        let stock = fixture.attach(.client)
        _ = fixture.relay.received(bare[2], from: agent.leg)
        _ = fixture.relay.received(frames[3], from: agent.leg)
        #expect(stock.written() == Array(frames[1...]))
    }

    static func sequences(_ frames: [ByteBuffer]) throws -> [Int64] {
        try frames.map { frame in
            var reader = frame
            return try reader.readAgentMessage().sequenceNumber
        }
    }

    @Test func oneWakeUpForManyFrames() {
        let fixture = Fixture()
        let (client, agent) = (fixture.attach(.client), fixture.attach(.agent))
        let frames = (0..<5).map { Self.frame(.inputStreamData, $0) }
        for frame in frames { #expect(fixture.relay.received(frame, from: client.leg) == .passed) }
        #expect(agent.drains == 1)
        #expect(agent.written() == frames)
        _ = fixture.relay.received(frames[0], from: client.leg)
        #expect(agent.drains == 2)
    }

    @Test func aFullLegStopsTheOtherUntilItHasDrained() {
        let fixture = Fixture()
        let (client, agent) = (fixture.attach(.client), fixture.attach(.agent))
        var count: Int64 = 0
        while fixture.relay.received(Self.frame(.outputStreamData, count, size: 1 << 16), from: agent.leg) == .passed { count += 1 }
        #expect(count == 15)
        // Interrupting works all the while.
        #expect(fixture.relay.received(Self.frame(.inputStreamData, 0), from: client.leg) == .passed)
        for _ in 0..<12 { _ = client.leg.next(isFirst: false) }
        #expect(agent.resumes == 0)
        _ = client.leg.next(isFirst: false)
        #expect(agent.resumes == 1)
    }

    @Test func whoWaitsForALegThatEndsIsWoken() {
        let fixture = Fixture()
        let (client, agent) = (fixture.attach(.client), fixture.attach(.agent))
        #expect(fixture.relay.received(Self.frame(.outputStreamData, 0, size: 1 << 20), from: agent.leg) == .wait)
        fixture.relay.detach(client.leg)
        #expect(agent.resumes == 1)
        #expect(fixture.reports.withLockedValue { $0 } == [.lost(.client)])
        #expect(fixture.relay.received(Self.frame(.outputStreamData, 1), from: agent.leg) == .passed)
    }

    /// It repeats what was acknowledged long ago, and never reads that it was.
    @Test func whoDoesNotReadItsAnswersIsNotReadFrom() throws {
        let fixture = Fixture()
        let (client, agent) = (fixture.attach(.client), fixture.attach(.agent))
        let output = Self.frame(.outputStreamData, 0)
        #expect(fixture.relay.received(output, from: agent.leg) == .passed)
        var reader = output
        var acknowledgement = ByteBuffer()
        acknowledgement.writeAgentMessage(
            .acknowledging(try reader.readAgentMessage(), createdDate: Timestamp(milliseconds: 1)))
        #expect(fixture.relay.received(acknowledgement, from: client.leg) == .passed)
        var repeats = 0
        while repeats < 100_000, fixture.relay.received(output, from: agent.leg) == .passed { repeats += 1 }
        #expect(repeats < 100_000)
        // The client, which has something for it as well, waits beside it.
        #expect(fixture.relay.received(Self.frame(.inputStreamData, 0), from: client.leg) == .wait)
        #expect(agent.resumes == 0 && client.resumes == 0)
        #expect(agent.written().count > repeats)
        #expect(agent.resumes == 1 && client.resumes == 1)
        #expect(fixture.relay.received(output, from: agent.leg) == .passed)
    }

    @Test func littleIsHeldForASideThatIsAway() throws {
        let fixture = Fixture()
        let agent = fixture.attach(.agent)
        for number in 0..<100 as Range<Int64> {
            #expect(fixture.relay.received(Self.frame(.outputStreamData, number, size: 1 << 14), from: agent.leg) == .passed)
        }
        let client = fixture.attach(.client)
        let held = client.written()
        #expect(try Self.sequences(held) == Array(0..<15))
        // What a former leg had not sent comes first.
        for number in 100..<103 as Range<Int64> { _ = fixture.relay.received(Self.frame(.outputStreamData, number), from: agent.leg) }
        let next = FakeLeg(.client)
        #expect(fixture.relay.attach(next.leg, takesUnhashed: false) === client.leg)
        #expect(try Self.sequences(next.written()) == Array(100..<103))
        fixture.relay.detach(client.leg)
        #expect(fixture.reports.withLockedValue { $0.isEmpty })
    }

    @Test func aLegThatWasReplacedSaysNothingMore() throws {
        let fixture = Fixture()
        let (former, agent) = (fixture.attach(.client), fixture.attach(.agent))
        let client = fixture.attach(.client)
        // The agent hears of each new leg of the client before that can acknowledge anything.
        var heard = agent.written()
        #expect(heard.count == 1)
        #expect(try heard[0].readAgentMessage().messageType == .startPublication)
        _ = fixture.relay.received(Self.frame(.inputStreamData, 9), from: former.leg)
        #expect(agent.written().isEmpty)
        _ = fixture.relay.received(Self.frame(.inputStreamData, 0), from: client.leg)
        #expect(agent.written().count == 1)
    }

    @Test func whatCannotBeRecordedIsNotPassedOn() {
        let fixture = Fixture()
        let tap = FakeTap(failsAt: 2)
        fixture.relay.record(with: tap)
        let (client, agent) = (fixture.attach(.client), fixture.attach(.agent))
        for number in 0..<5 as Range<Int64> { _ = fixture.relay.received(Self.frame(.outputStreamData, number), from: agent.leg) }
        #expect(client.written().count == 2)
        #expect(tap.passed.withLockedValue { $0.map(\.1) } == [0, 1])
        #expect(fixture.reports.withLockedValue { $0 } == [.recordingFailed("disk full")])
        // The controller's own words still get there.
        fixture.relay.send(
            AgentMessage(messageType: .channelClosed, createdDate: Timestamp(milliseconds: 1), payload: ByteBuffer()), to: .client)
        #expect(client.written().count == 1)
    }

    @Test func repeatsSizesAndAcknowledgementsAreNoSignOfLife() {
        let fixture = Fixture()
        let (client, agent) = (fixture.attach(.client), fixture.attach(.agent))
        func at(_ time: UInt64, _ frame: ByteBuffer, from leg: RelayLeg) -> UInt64 {
            fixture.clock.withLockedValue { $0 = .uptimeNanoseconds(time) }
            _ = fixture.relay.received(frame, from: leg)
            return fixture.relay.lastActivity.uptimeNanoseconds
        }
        #expect(at(2_000, Self.frame(.inputStreamData, 0), from: client.leg) == 2_000)
        #expect(at(3_000, Self.frame(.inputStreamData, 0), from: client.leg) == 2_000)
        #expect(at(3_000, Self.frame(.inputStreamData, 1, payloadType: .size), from: client.leg) == 2_000)
        #expect(at(3_000, Self.frame(.acknowledge, 7), from: agent.leg) == 2_000)
        #expect(at(4_000, Self.frame(.outputStreamData, 0, payloadType: .standardError), from: agent.leg) == 4_000)
    }

    @Test func nothingOfAPeerTraps() {
        let fixture = Fixture()
        let (client, agent) = (fixture.attach(.client), fixture.attach(.agent))
        let whole = Self.frame(.inputStreamData, .max)
        for length in 0...whole.readableBytes {
            guard let cut = whole.getSlice(at: 0, length: length) else { continue }
            _ = fixture.relay.received(cut, from: client.leg)
        }
        for sequence in [Int64.min, -1, .max] {
            _ = fixture.relay.received(Self.frame(.outputStreamData, sequence), from: agent.leg)
            _ = fixture.relay.received(Self.frame(.agentTaskComplete, sequence), from: agent.leg)
            _ = fixture.relay.received(Self.frame(.agentSessionState, sequence), from: agent.leg)
        }
        for _ in 0..<100 { _ = fixture.relay.received(Self.frame(.agentTaskComplete, 0), from: agent.leg) }
        #expect(fixture.reports.withLockedValue { $0.count } <= 16)
    }
}
