import NIOConcurrencyHelpers
import NIOCore
import Testing

@testable import MusterController

@Suite struct AgentOutboxTests {
    @Test func saysNoWhenFull() {
        let outbox = AgentOutbox { _, _ in }
        for _ in 0..<AgentOutbox.maximumFrames { #expect(outbox.offer(ByteBuffer(string: "x"))) }
        #expect(!outbox.offer(ByteBuffer(string: "x")))
    }

    @Test func countsBytesAndLetsOneLargeFrameThrough() {
        let outbox = AgentOutbox { _, _ in }
        let large = ByteBuffer(repeating: 0, count: AgentOutbox.maximumBytes + 1)
        #expect(outbox.offer(large))
        #expect(!outbox.offer(ByteBuffer(string: "x")))
    }

    @Test func hasRoomAgainWhenFramesHaveLeft() {
        let waiting = NIOLockedValueBox<[@Sendable () -> Void]>([])
        let outbox = AgentOutbox { _, written in waiting.withLockedValue { $0.append(written) } }
        for _ in 0..<AgentOutbox.maximumFrames { #expect(outbox.offer(ByteBuffer(string: "x"))) }
        #expect(!outbox.offer(ByteBuffer(string: "x")))
        waiting.withLockedValue { $0.removeFirst() }()
        #expect(outbox.offer(ByteBuffer(string: "x")))
        #expect(!outbox.offer(ByteBuffer(string: "x")))
    }

    @Test func keepsTheOrderAndTakesNothingAfterItsEnd() {
        let sent = NIOLockedValueBox<[String]>([])
        let outbox = AgentOutbox { frame, written in
            sent.withLockedValue { $0.append(String(buffer: frame)) }
            written()
        }
        for index in 0..<200 { #expect(outbox.offer(ByteBuffer(string: "\(index)"))) }
        outbox.close()
        #expect(!outbox.offer(ByteBuffer(string: "late")))
        #expect(sent.withLockedValue { $0 } == (0..<200).map(String.init))
    }
}
