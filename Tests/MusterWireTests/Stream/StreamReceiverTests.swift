import NIOCore
import Testing

@testable import MusterWire

@Suite struct StreamReceiverTests {
    private func frame(_ sequence: Int64, _ text: String) -> AgentMessage {
        AgentMessage(
            messageType: .outputStreamData, createdDate: StreamTime.date, sequenceNumber: sequence, payloadType: .output,
            payload: ByteBuffer(string: text))
    }

    @Test func theRecorderSeesEachNumberOnce() throws {
        var receiver = StreamReceiver(maximumWaiting: 10, maximumWaitingBytes: 1000, remembering: 4)
        var seen: [Int64] = []
        func pass(_ sequence: Int64) throws -> StreamReceiver.Outcome {
            try receiver.received(frame(sequence, "\(sequence)")) { seen.append($0.sequenceNumber) }
        }
        #expect(try pass(0) == .delivered)
        #expect(try pass(2) == .waiting)
        #expect(try pass(2) == .repeated)
        #expect(try pass(0) == .repeated)
        #expect(try pass(1) == .delivered)
        for sequence in Int64(3)...9 { #expect(try pass(sequence) == .delivered) }
        #expect(try pass(6) == .repeated)
        // Four are remembered: 6 to 9.
        #expect(try pass(5) == .unknownRepeat)
        #expect(seen == Array(0...9))
    }

    @Test func aRepeatWithOtherContentsIsFound() throws {
        var receiver = StreamReceiver(maximumWaiting: 10, maximumWaitingBytes: 1000, remembering: 4)
        _ = try receiver.received(frame(0, "rm x")) { _ in }
        _ = try receiver.received(frame(2, "y")) { _ in }
        #expect(throws: StreamFailure.repeatDiffers(sequence: 0)) { try receiver.received(frame(0, "rm y")) { _ in } }
        #expect(throws: StreamFailure.repeatDiffers(sequence: 2)) { try receiver.received(frame(2, "z")) { _ in } }
    }

    @Test func itGoesOnAfterARestart() throws {
        var receiver = StreamReceiver(maximumWaiting: 10, maximumWaitingBytes: 1000, remembering: 4, expected: 100)
        receiver.remember(frame(98, "98").payloadDigest)
        receiver.remember(frame(99, "99").payloadDigest)
        #expect(try receiver.received(frame(99, "99")) { _ in } == .repeated)
        #expect(try receiver.received(frame(98, "98")) { _ in } == .repeated)
        #expect(try receiver.received(frame(97, "97")) { _ in } == .unknownRepeat)
        #expect(throws: StreamFailure.repeatDiffers(sequence: 98)) { try receiver.received(frame(98, "x")) { _ in } }
        #expect(try receiver.received(frame(100, "100")) { _ in } == .delivered)
    }
}
