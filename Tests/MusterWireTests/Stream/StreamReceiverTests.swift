import NIOCore
import Testing

@testable import MusterWire

@Suite struct StreamReceiverTests {
    private func frame(_ sequence: Int64, _ text: String) -> AgentMessage {
        AgentMessage(
            messageType: .outputStreamData, createdDate: StreamTime.date, sequenceNumber: sequence, payloadType: .output,
            payload: ByteBuffer(string: text))
    }

    @Test(arguments: [nil, PayloadFingerprint()]) func theRecorderSeesEachNumberOnce(fingerprint: PayloadFingerprint?) throws {
        var receiver = StreamReceiver(maximumWaiting: 10, maximumWaitingBytes: 1000, remembering: 4, fingerprint: fingerprint)
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

    /// With a digest in the frame or without one.
    @Test(arguments: [nil, PayloadFingerprint()], [true, false])
    func aRepeatWithOtherContentsIsFound(fingerprint: PayloadFingerprint?, isHashed: Bool) throws {
        var receiver = StreamReceiver(maximumWaiting: 10, maximumWaitingBytes: 1000, remembering: 4, fingerprint: fingerprint)
        func frame(_ sequence: Int64, _ text: String) -> AgentMessage {
            var message = self.frame(sequence, text)
            message.isHashed = isHashed
            return message
        }
        _ = try receiver.received(frame(0, "rm x")) { _ in }
        #expect(try receiver.received(frame(0, "rm x")) { _ in } == .repeated)
        _ = try receiver.received(frame(2, "y")) { _ in }
        #expect(throws: StreamFailure.repeatDiffers(sequence: 0)) { try receiver.received(frame(0, "rm y")) { _ in } }
        #expect(throws: StreamFailure.repeatDiffers(sequence: 2)) { try receiver.received(frame(2, "z")) { _ in } }
    }

    /// What is taken for a window's size the first time and typed the second time would be in no recording.
    @Test(arguments: [nil, PayloadFingerprint()])
    func aRepeatOfAnotherTypeOrWithOtherFlagsIsFound(fingerprint: PayloadFingerprint?) throws {
        func of(_ sequence: Int64, _ type: PayloadType, flags: UInt64 = 0) -> AgentMessage {
            var message = frame(sequence, "touch /tmp/hidden\r")
            (message.payloadType, message.flags) = (type, flags)
            return message
        }
        var receiver = StreamReceiver(maximumWaiting: 10, maximumWaitingBytes: 1000, remembering: 4, fingerprint: fingerprint)
        _ = try receiver.received(of(0, .size)) { _ in }
        _ = try receiver.received(of(2, .size)) { _ in }
        #expect(try receiver.received(of(0, .size)) { _ in } == .repeated)
        #expect(try receiver.received(of(2, .size)) { _ in } == .repeated)
        for number: Int64 in [0, 2] {
            #expect(throws: StreamFailure.repeatDiffers(sequence: number)) { try receiver.received(of(number, .output)) { _ in } }
            #expect(throws: StreamFailure.repeatDiffers(sequence: number)) {
                try receiver.received(of(number, .size, flags: ReliableStream.isLast)) { _ in }
            }
        }
    }

    @Test func itGoesOnAfterARestart() throws {
        var receiver = StreamReceiver(maximumWaiting: 10, maximumWaitingBytes: 1000, remembering: 4, expected: 100)
        receiver.remember(frame(98, "98").payloadDigest, frame(98, "98").kind)
        receiver.remember(frame(99, "99").payloadDigest, nil)
        #expect(try receiver.received(frame(99, "99")) { _ in } == .repeated)
        #expect(try receiver.received(frame(98, "98")) { _ in } == .repeated)
        #expect(try receiver.received(frame(97, "97")) { _ in } == .unknownRepeat)
        #expect(throws: StreamFailure.repeatDiffers(sequence: 98)) { try receiver.received(frame(98, "x")) { _ in } }
        var other = frame(98, "98")
        other.payloadType = .size
        #expect(throws: StreamFailure.repeatDiffers(sequence: 98)) { try receiver.received(other) { _ in } }
        #expect(try receiver.received(frame(100, "100")) { _ in } == .delivered)
    }

    @Test func aFrameStandsForItsOpener() throws {
        var receiver = StreamReceiver(maximumWaiting: 10, maximumWaitingBytes: 1000, remembering: 4, takesOpeners: true)
        var seen: [(Int64, Int)] = []
        func pass(_ sequence: Int64, _ text: String, flags: UInt64 = 0) throws -> StreamReceiver.Outcome {
            var message = frame(sequence, text)
            message.flags = flags
            return try receiver.received(message) { seen.append(($0.sequenceNumber, $0.payload.readableBytes)) }
        }
        #expect(try pass(1, "a", flags: ReliableStream.hasOpener) == .delivered)
        #expect(try pass(0, "") == .repeated)
        #expect(try pass(2, "b") == .delivered)
        // Out of its turn it is like any other.
        #expect(try pass(5, "c", flags: ReliableStream.hasOpener) == .waiting)
        #expect(try pass(3, "d") == .delivered)
        #expect(try pass(4, "") == .delivered)
        #expect(seen.map(\.0) == Array(0...5))
        #expect(seen.map(\.1) == [0, 1, 1, 1, 0, 1])
        // Who says that it is empty may not send another one afterwards.
        #expect(try pass(7, "e", flags: ReliableStream.hasOpener) == .delivered)
        #expect(throws: StreamFailure.repeatDiffers(sequence: 6)) { try pass(6, "rm -rf") }
    }
}
