import MusterCrypto
import NIOCore

@testable import MusterWire

extension FuzzTarget {
    /// Binary frames, and with another first byte than theirs the payloads and the calls of the API.
    static let frames = FuzzTarget(name: "frames") { bytes in
        guard let first = bytes.first, first != 0 else {
            try readFrame(bytes)
            if bytes.count > AgentMessage.payloadOffset { try readFrame(repaired(bytes)) }
            return
        }
        let json = Array(bytes.dropFirst())
        try payloads[Int(first - 1) % payloads.count](json)
    }

    /// Nobody guesses a SHA-256: the same frame with the one that belongs to it.
    private static func repaired(_ bytes: [UInt8]) -> [UInt8] {
        var bytes = bytes
        bytes.replaceSubrange(0..<4, with: [0, 0, 0, UInt8(AgentMessage.headerLength)])
        bytes.replaceSubrange(80..<112, with: SHA256.hash(Array(bytes[AgentMessage.payloadOffset...])))
        return bytes
    }

    private static func readFrame(_ bytes: [UInt8]) throws {
        var buffer = ByteBuffer(bytes: bytes)
        guard let message = try? buffer.readAgentMessage() else {
            return try Finding.unless(buffer.readableBytes == bytes.count, "a refused frame was consumed")
        }
        var written = ByteBuffer()
        written.writeAgentMessage(message)
        let again = try written.readAgentMessage()
        try Finding.unless(again == message, "a frame is another one after writing and reading: \(message) \(again)")
        _ = message.acknowledged
        _ = StreamFlag(payload: message.payload)
        _ = try? message.decodePayload(JSONValue.self)
    }

    private static let payloads: [@Sendable ([UInt8]) throws -> Void] = [
        payload(OpenControlChannel.self), payload(OpenDataChannel.self), payload(AcknowledgeContent.self), payload(AgentSessionState.self),
        payload(ChannelClosed.self), payload(Publication.self), payload(HandshakeRequest.self), payload(HandshakeResponse.self),
        payload(HandshakeComplete.self), payload(AgentJob.self), payload(SendCommandContent.self), payload(CancelCommandContent.self),
        payload(AgentJobAcknowledge.self), payload(AgentJobReply.self), payload(AgentJobReplyAcknowledge.self),
        payload(JobReplyContent.self), payload(AgentOutputRequest.self), payload(FollowRequest.self), payload(StartSessionTask.self),
        payload(StartSessionContent.self), payload(AgentTaskComplete.self), payload(AgentTaskAcknowledge.self),
        payload(TerminalSize.self), payload(AuthorityList.self), acknowledgement,
        call(SendCommand.self), call(StartSession.self), call(CreateActivation.self), call(RegisterManagedInstance.self),
        call(RenewManagedInstanceCertificate.self), call(UpdateInstanceInformation.self), call(DescribeInstanceInformation.self),
        call(CreateDocument.self), call(ListCommands.self), call(GetMessages.self), call(SendReply.self), call(AddTagsToResource.self),
        call(DescribeSessions.self), call(ListDocuments.self), call(UpdateServiceSetting.self),
    ]

    private static func payload<T: Codable & Equatable & Sendable>(_ type: T.Type) -> @Sendable ([UInt8]) throws -> Void {
        { json in
            let value: T
            do { value = try JSONCoding.decode(type, from: json) } catch {
                _ = JSONCoding.explain(error)
                return
            }
            let again = try JSONCoding.decode(type, from: JSONCoding.encode(value))
            try Finding.unless(again == value, "\(type) is another one after writing and reading")
        }
    }

    /// What is decoded without a JSON coder says the same as one.
    private static let acknowledgement: @Sendable ([UInt8]) throws -> Void = { json in
        let message = AgentMessage(messageType: .acknowledge, createdDate: Timestamp(milliseconds: 1), payload: ByteBuffer(bytes: json))
        let slow = try? JSONCoding.decode(AcknowledgeContent.self, from: json)
        if let slow { try Finding.unless(message.acknowledgedSequence == slow.sequenceNumber, "two readers, two acknowledgements") }
    }

    private static func call<O: Operation>(_ operation: O.Type) -> @Sendable ([UInt8]) throws -> Void {
        { body in
            guard let input = try? operation.decodeInput(body) else { return }
            _ = input.unserved
            _ = try operation.decodeInput(JSONCoding.encode(input))
        }
    }
}
