import MusterWire
import NIOCore
import Testing

@testable import MusterClient

@Suite struct DelayedAcknowledgementsTests {
    private func frame(_ number: Int64, bytes: Int = 1, type: PayloadType = .output, flags: UInt64 = 0) -> AgentMessage {
        AgentMessage(
            messageType: .outputStreamData, createdDate: .now(), sequenceNumber: number, flags: flags, payloadType: type,
            payload: ByteBuffer(repeating: 0x78, count: bytes))
    }

    private func answer(_ frame: AgentMessage) -> [AgentMessage] { [.acknowledging(frame, createdDate: .now())] }

    @Test func aKeyWaits() {
        var delayed = DelayedAcknowledgements()
        let key = frame(0)
        #expect(delayed.delay(answer(key), of: key).isEmpty)
        #expect(!delayed.isEmpty && !delayed.areDue)
        #expect(delayed.take().compactMap(\.acknowledgedSequence) == [0])
        #expect(delayed.isEmpty && delayed.take().isEmpty)
    }

    @Test func manyAreNoKeys() {
        var delayed = DelayedAcknowledgements()
        for number in 0..<3 {
            #expect(!delayed.areDue)
            let key = frame(Int64(number))
            #expect(delayed.delay(answer(key), of: key).isEmpty)
        }
        #expect(delayed.areDue)
        #expect(delayed.take().compactMap(\.acknowledgedSequence) == [0, 1, 2])
    }

    @Test func whatPoursOrEndsIsAnsweredAtOnce() {
        var delayed = DelayedAcknowledgements()
        for other in [frame(0, bytes: 1_025), frame(0, type: .exitCode), frame(0, type: .size), frame(0, flags: ReliableStream.isLast)] {
            #expect(delayed.delay(answer(other), of: other).count == 1)
        }
        // With what is sent again, or with nothing at all, there is nothing to wait for.
        #expect(delayed.delay(answer(frame(1)) + [frame(2)], of: frame(1)).count == 2)
        #expect(delayed.delay([], of: frame(1)).isEmpty)
        #expect(delayed.isEmpty)
    }
}
