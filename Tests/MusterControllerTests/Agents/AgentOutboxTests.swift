import NIOCore
import Testing

@testable import MusterController

@Suite struct AgentOutboxTests {
    @Test func saysNoWhenFull() {
        let outbox = AgentOutbox()
        for _ in 0..<AgentOutbox.maximumFrames { #expect(outbox.offer(ByteBuffer(string: "x"))) }
        #expect(!outbox.offer(ByteBuffer(string: "x")))
    }

    @Test func countsBytesAndLetsOneLargeFrameThrough() {
        let outbox = AgentOutbox()
        let large = ByteBuffer(repeating: 0, count: AgentOutbox.maximumBytes + 1)
        #expect(outbox.offer(large))
        #expect(!outbox.offer(ByteBuffer(string: "x")))
    }

    @Test func takesNothingAfterItsEnd() async {
        let outbox = AgentOutbox()
        #expect(outbox.offer(ByteBuffer(string: "waits")))
        outbox.close()
        #expect(!outbox.offer(ByteBuffer(string: "late")))
        var sent = 0
        await outbox.drain { _ in sent += 1 }
        #expect(sent == 0)
    }
}
