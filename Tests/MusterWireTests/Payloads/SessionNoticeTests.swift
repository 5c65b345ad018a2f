import FoundationEssentials
import MusterCrypto
import NIOCore
import Testing

@testable import MusterWire

@Suite struct SessionNoticeTests {
    /// A `session_notice` in full: its header in the layout of `AgentMessage`, then the JSON.
    private static let goldenFrame = Hex.decode(
        "00000074" + "73657373696f6e5f6e6f74696365202020202020202020202020202020202020" + "00000001" + "0000018bcfe5687b"
            + "0000000000000000" + "0000000000000000" + "8899aabbccddeeff0011223344556677"
            + "05fbf317728f12caae4805591299af26f6a765b9e55c7865dc21ef6551a35a44" + "00000000" + "0000003a"
            + "7b2253657373696f6e4964223a22616c6963652d303761313630363036313363"
            + "3430386235222c2254657874223a22656e647320736f6f6e227d")!

    private func goldenMessage() throws -> AgentMessage {
        try AgentMessage(
            .sessionNotice, createdDate: Timestamp(milliseconds: 1_700_000_000_123),
            messageID: UUID(uuidString: "00112233-4455-6677-8899-aabbccddeeff")!,
            payload: SessionNotice(sessionID: try #require(SessionID("alice-07a16060613c408b5")), text: "ends soon"))
    }

    private func read(_ bytes: some Sequence<UInt8>) throws -> (SessionNotice, AgentMessage) {
        var buffer = ByteBuffer(bytes: bytes)
        let message = try buffer.readAgentMessage()
        #expect(buffer.readableBytes == 0)
        return (try message.decodePayload(SessionNotice.self), message)
    }

    @Test func goldenFrameIsWrittenAndRead() throws {
        var buffer = ByteBuffer()
        buffer.writeAgentMessage(try goldenMessage())
        #expect(Hex.encode(Array(buffer.readableBytesView)) == Hex.encode(Self.goldenFrame))
        let (notice, message) = try read(Self.goldenFrame)
        #expect(message == (try goldenMessage()) && message.messageType == .sessionNotice)
        #expect(notice.sessionID.rawValue == "alice-07a16060613c408b5" && notice.line == "ends soon")
    }

    /// As it arrives over the slowest of links.
    @Test func oneByteAtATime() throws {
        var frame = ByteBuffer(bytes: [0x82, 0x80 | 126])
        frame.writeInteger(UInt16(Self.goldenFrame.count))
        frame.writeInteger(UInt32(0))
        frame.writeBytes(Self.goldenFrame)
        var reader = WebSocketReader(maximumBytes: 1 << 20, maximumFragments: 8, isMasked: true)
        var messages: [WebSocketReader.Message] = []
        for byte in Array(buffer: frame) {
            #expect(messages.isEmpty)
            var piece = ByteBuffer(bytes: [byte])
            while let message = try reader.next(&piece) { messages.append(message) }
        }
        guard messages.count == 1, case .binary(let bytes) = messages[0] else {
            Issue.record("\(messages)")
            return
        }
        #expect(try read(Array(buffer: bytes)).1 == (try goldenMessage()))
    }

    @Test func cutAtEveryLengthItIsNone() {
        for length in 0..<Self.goldenFrame.count {
            #expect(throws: FrameError.self) { try read(Self.goldenFrame.prefix(length)) }
        }
    }

    /// With a digest that is right: from whoever wants to see what the agent does.
    @Test func aPayloadThatIsCutOrOfAnotherShapeIsNone() throws {
        let json = #"{"SessionId":"alice-07a16060613c408b5","Text":"ends soon"}"#
        let shapes = [
            "null", "[]", #"{"SessionId":"alice-07a16060613c408b5"}"#, #"{"Text":"x"}"#, #"{"SessionId":"../x","Text":"x"}"#,
            #"{"SessionId":"alice-07a16060613c408b5","Text":7}"#, #"{"sessionid":"alice-07a16060613c408b5","text":"x"}"#,
        ]
        for text in json.indices.map({ String(json[..<$0]) }) + shapes {
            let message = AgentMessage(messageType: .sessionNotice, createdDate: .now(), payload: ByteBuffer(string: text))
            #expect(throws: FrameError.self, "\(text)") { try message.decodePayload(SessionNotice.self) }
        }
        // What a newer controller says besides is not understood, and does no harm.
        let more = #"{"Kind":"end","SessionId":"alice-07a16060613c408b5","Text":"ends soon","Seconds":[60]}"#
        let message = AgentMessage(messageType: .sessionNotice, createdDate: .now(), payload: ByteBuffer(string: more))
        #expect(try message.decodePayload(SessionNotice.self).line == "ends soon")
    }

    @Test func randomNoticesComeBackAsTheyWere() throws {
        for _ in 0..<200 {
            let scalars = (0..<Int.random(in: 0...40)).compactMap { _ in Unicode.Scalar(UInt32.random(in: 0...0x1_FFFF)) }
            let notice = SessionNotice(sessionID: .random(owner: "alice"), text: String(String.UnicodeScalarView(scalars)))
            var buffer = ByteBuffer()
            buffer.writeAgentMessage(try AgentMessage(.sessionNotice, createdDate: .now(), payload: notice))
            #expect(try buffer.readAgentMessage().decodePayload(SessionNotice.self) == notice)
        }
    }

    @Test func golden() throws {
        let notice = SessionNotice(sessionID: try #require(SessionID("alice-07a16060613c408b5")), text: "ends soon")
        let json = #"{"SessionId":"alice-07a16060613c408b5","Text":"ends soon"}"#
        #expect(try JSONCoding.decode(SessionNotice.self, from: Array(json.utf8)) == notice)
        #expect(try JSONCoding.decode(SessionNotice.self, from: JSONCoding.encode(notice)) == notice)
    }

    @Test func nothingReachesTheTerminalButText() throws {
        let notice = SessionNotice(sessionID: try #require(SessionID("alice-07a16060613c408b5")), text: "a\u{1B}[31m\nb\u{9B}c\u{7F}é")
        #expect(notice.line == "a[31mbcé")
        #expect(SessionNotice(sessionID: notice.sessionID, text: String(repeating: "x", count: 9_000)).line.count == 500)
    }
}
