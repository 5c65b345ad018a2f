import FoundationEssentials
import MusterCrypto
import NIOCore
import Testing

@testable import MusterWire

/// A frame is a whole WebSocket message, so there is no drip-feed here: cutting it anywhere is the truncation test.
@Suite struct AgentMessageTests {
    /// Made by a Python script, read and written again byte for byte by the Go packages of amazon-ssm-agent and session-manager-plugin.
    static let golden = Hex.decode(
        "00000074" + "696e7075745f73747265616d5f64617461202020202020202020202020202020" + "00000001" + "0000018bcfe5687b"
            + "0000000000000007"
            + "0000000000000000" + "8899aabbccddeeff0011223344556677" + "3674c13c3eb42ef32effd127a689c6118191a811bca335ffa3f509eff051d253"
            + "00000001" + "00000006" + "6c73202d6c0d")!

    static let goldenMessage = AgentMessage(
        messageType: .inputStreamData, createdDate: Timestamp(milliseconds: 1_700_000_000_123), sequenceNumber: 7,
        messageID: UUID(uuidString: "00112233-4455-6677-8899-aabbccddeeff")!, payloadType: .output, payload: ByteBuffer(string: "ls -l\r"))

    private func read(_ bytes: [UInt8]) throws(FrameError) -> AgentMessage {
        var buffer = ByteBuffer(bytes: bytes)
        return try buffer.readAgentMessage()
    }

    private func golden(_ change: (inout [UInt8]) -> Void) -> [UInt8] {
        var bytes = Self.golden
        change(&bytes)
        return bytes
    }

    @Test func goldenFrameIsWritten() {
        var buffer = ByteBuffer()
        buffer.writeAgentMessage(Self.goldenMessage)
        #expect(Array(buffer.readableBytesView) == Self.golden)
    }

    @Test func goldenFrameIsRead() throws {
        var buffer = ByteBuffer(bytes: Self.golden)
        #expect(try buffer.readAgentMessage() == Self.goldenMessage)
        #expect(buffer.readableBytes == 0)
    }

    @Test func typeMayBePaddedWithNULs() throws {
        let bytes = golden { for index in 21..<36 { $0[index] = 0 } }
        #expect(try read(bytes).messageType == .inputStreamData)
        let mixed = golden { bytes in for index in 28..<36 { bytes[index] = 0 } }
        #expect(try read(mixed).messageType == .inputStreamData)
    }

    @Test func typeMustBeText() {
        #expect(throws: FrameError.messageType) { try read(golden { for index in 4..<36 { $0[index] = 0x20 } }) }
        #expect(throws: FrameError.messageType) { try read(golden { for index in 4..<36 { $0[index] = 0 } }) }
        #expect(throws: FrameError.messageType) { try read(golden { $0[6] = 0xff }) }
        #expect(throws: FrameError.messageType) { try read(golden { $0[6] = 0x20 }) }
    }

    @Test(arguments: [0, 1, 115, 117, 120, UInt32.max]) func headerLengthIs116(length: UInt32) {
        let bytes = golden { bytes in withUnsafeBytes(of: length.bigEndian) { bytes.replaceSubrange(0..<4, with: $0) } }
        #expect(throws: FrameError.headerLength(length)) { try read(bytes) }
    }

    @Test func payloadReachesToTheEndWhateverItsLengthFieldSays() throws {
        let bytes = golden { $0[119] = 2 }
        #expect(try read(bytes).payload == Self.goldenMessage.payload)
    }

    @Test func digestIsVerified() {
        #expect(throws: FrameError.digest) { try read(golden { $0[125] ^= 1 }) }
        #expect(throws: FrameError.digest) { try read(golden { $0[80] ^= 1 }) }
        #expect(throws: FrameError.digest) { try read(Self.golden + [0]) }
    }

    @Test(arguments: [MessageType.inputStreamData, .outputStreamData, .acknowledge], [0, 5, 70_000])
    func aFrameOfAStreamMayHaveNoDigest(type: MessageType, size: Int) throws {
        var message = AgentMessage(
            messageType: type, createdDate: Timestamp(milliseconds: 1), sequenceNumber: 3, payloadType: .output,
            payload: ByteBuffer(repeating: 9, count: size))
        message.isHashed = false
        message.keepDigest()
        var buffer = ByteBuffer()
        buffer.writeAgentMessage(message)
        #expect(Array(buffer.readableBytesView)[80..<112].allSatisfy { $0 == 0 })
        // For who cannot do without, it is what it would have been.
        var hashed = buffer.hashingAgentMessage()
        let whole = try hashed.readAgentMessage()
        #expect(whole == message && whole.isHashed)
        let read = try buffer.readAgentMessage()
        #expect(read == message && !read.isHashed)
        #expect(!AgentMessage.acknowledging(read, createdDate: read.createdDate).isHashed)
        #expect(AgentMessage.acknowledging(whole, createdDate: read.createdDate).isHashed)
    }

    @Test func noOtherFrameMayAndAWrongDigestStaysOne() throws {
        let zeros = golden { for index in 80..<112 { $0[index] = 0 } }
        var control = zeros
        control.replaceSubrange(4..<36, with: Array("agent_job_reply                 ".utf8))
        #expect(throws: FrameError.digest) { try read(control) }
        #expect(throws: FrameError.digest) { try read(golden { $0[111] ^= 1 }) }
        #expect(throws: FrameError.digest) { try read(golden { for index in 80..<111 { $0[index] = 0 } }) }
        let whole = ByteBuffer(bytes: Self.golden)
        #expect(whole.hashingAgentMessage() == whole)
        #expect(ByteBuffer(string: "no frame").hashingAgentMessage() == ByteBuffer(string: "no frame"))
    }

    @Test func typesAreTheSameByNumberOrByName() {
        #expect(MessageType(rawValue: "acknowledge") == .acknowledge)
        #expect(MessageType(rawValue: "acknowledge") != .agentJob)
        #expect(MessageType(rawValue: "something_new") == MessageType(rawValue: "something_new"))
        #expect(MessageType(rawValue: "something_new") != MessageType(rawValue: "something_else"))
        #expect(MessageType(rawValue: "something_new") != .acknowledge)
    }

    @Test func dateIsSetAndInRange() {
        #expect(throws: FrameError.createdDate) { try read(golden { for index in 40..<48 { $0[index] = 0 } }) }
        #expect(throws: FrameError.createdDate) { try read(golden { for index in 40..<48 { $0[index] = 0xff } }) }
    }

    @Test func publicationFramesMayHaveNoDateAndAWrongDigest() throws {
        let bytes = golden { bytes in
            bytes.replaceSubrange(4..<36, with: Array("start_publication".utf8) + Array(repeating: 0x20, count: 15))
            for index in 40..<48 { bytes[index] = 0 }
            bytes[80] ^= 1
        }
        #expect(try read(bytes).messageType == .startPublication)
    }

    @Test func emptyPayload() throws {
        #expect(try read(Array(Self.golden.prefix(120))).payload.readableBytes == 0)
    }

    @Test func truncationAtEveryLengthIsAnErrorAndConsumesNothing() {
        for length in 0..<Self.golden.count where length != AgentMessage.payloadOffset {
            var buffer = ByteBuffer(bytes: Self.golden.prefix(length))
            #expect(throws: FrameError.self) { try buffer.readAgentMessage() }
            #expect(buffer.readableBytes == length)
        }
    }

    @Test func flippedBitsNeverTrap() throws {
        for bit in 0..<Self.golden.count * 8 {
            let bytes = golden { $0[bit / 8] ^= 1 << (bit % 8) }
            if let message = try? read(bytes) {
                var again = ByteBuffer()
                again.writeAgentMessage(message)
                #expect(try again.readAgentMessage() == message)
            }
        }
    }

    @Test func randomBytesNeverTrap() {
        for _ in 0..<2000 {
            var bytes = (0..<Int.random(in: 0...300)).map { _ in UInt8.random(in: 0...255) }
            // Half of them get past the first check.
            if bytes.count >= 4, Bool.random() { bytes.replaceSubrange(0..<4, with: [0, 0, 0, 116]) }
            _ = try? read(bytes)
        }
    }

    @Test func sizeIsLimited() throws {
        let payload = [UInt8](repeating: 7, count: AgentMessage.maximumPayloadLength)
        var message = Self.goldenMessage
        message.payload = ByteBuffer(bytes: payload)
        var buffer = ByteBuffer()
        buffer.writeAgentMessage(message)
        let bytes = Array(buffer.readableBytesView)
        #expect(try read(bytes).payload.readableBytes == AgentMessage.maximumPayloadLength)
        #expect(throws: FrameError.tooLong(bytes: AgentMessage.maximumPayloadLength + 1)) { try read(bytes + [7]) }
        #expect(throws: FrameError.self) {
            try AgentMessage(
                .agentJob, createdDate: .now(), payload: ["a": String(repeating: "a", count: AgentMessage.maximumPayloadLength)])
        }
    }

    @Test func randomMessagesComeBackAsTheyWere() throws {
        var random = SystemRandomNumberGenerator()
        for _ in 0..<200 {
            let message = AgentMessage(
                messageType: [.agentJob, .acknowledge, .outputStreamData, .channelClosed].randomElement(using: &random)!,
                schemaVersion: .random(in: 0...(.max)),
                createdDate: Timestamp(milliseconds: .random(in: 1...Timestamp.latest.milliseconds)),
                sequenceNumber: .random(in: .min...(.max)), flags: .random(in: 0...(.max)), messageID: UUID(),
                payloadType: PayloadType(rawValue: .random(in: 0...(.max))),
                payload: ByteBuffer(bytes: (0..<Int.random(in: 0...300)).map { _ in UInt8.random(in: 0...255) }))
            var buffer = ByteBuffer()
            buffer.writeAgentMessage(message)
            #expect(buffer.readableBytes == 120 + message.payload.readableBytes)
            #expect(try buffer.readAgentMessage() == message)
        }
    }

    @Test func typeNames() {
        #expect(MessageType(rawValue: "agent_job") == .agentJob)
        #expect(MessageType(rawValue: String(repeating: "a", count: 32)) != nil)
        #expect(MessageType(rawValue: String(repeating: "a", count: 33)) == nil)
        #expect(MessageType(rawValue: "") == nil)
        #expect(MessageType(rawValue: "a b") == nil)
    }

    @Test func aWrongPayloadSaysWhereAndNotWhat() throws {
        let message = try AgentMessage(.agentJobAck, createdDate: .now(), payload: ["jobId": ["secret"]])
        let error = #expect(throws: FrameError.self) { try message.decodePayload(AgentJobAcknowledge.self) }
        #expect(error?.description == "Cannot read the payload: agent_job_ack has the wrong JSON type at 'jobId': expected a string.")
    }
}
