import FoundationEssentials
import MusterCrypto
import NIOCore

/// Payload of `acknowledge`, in both directions. Receivers match by the sequence number alone.
///
/// One goes back for each frame of a session, so it is written and read without a JSON coder; what is not in the shape that every known
/// sender uses goes through one.
package struct AcknowledgeContent: Codable, Sendable, Equatable {
    package var messageType: String
    /// Lower case, in its logical form: only headers swap the halves.
    package var messageID: String
    package var sequenceNumber: Int64
    package var isSequential: Bool

    package init(messageType: String, messageID: String, sequenceNumber: Int64, isSequential: Bool = true) {
        self.messageType = messageType
        self.messageID = messageID
        self.sequenceNumber = sequenceNumber
        self.isSequential = isSequential
    }

    enum CodingKeys: String, CodingKey {
        case messageType = "AcknowledgedMessageType"
        case messageID = "AcknowledgedMessageId"
        case sequenceNumber = "AcknowledgedMessageSequenceNumber"
        case isSequential = "IsSequentialMessage"
    }

    package init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        self.messageType = try container.decodeIfPresent(String.self, forKey: .messageType) ?? ""
        self.messageID = try container.decodeIfPresent(String.self, forKey: .messageID) ?? ""
        self.sequenceNumber = try container.decode(Int64.self, forKey: .sequenceNumber)
        self.isSequential = try container.decodeIfPresent(Bool.self, forKey: .isSequential) ?? true
    }
}

extension AgentMessage {
    private static let openingText = Array(#"{"AcknowledgedMessageType":""#.utf8)
    private static let sequenceText = Array(#","AcknowledgedMessageSequenceNumber":"#.utf8)
    private static let identifierText = Array(#"","AcknowledgedMessageId":""#.utf8)
    private static let closingText = Array(#","IsSequentialMessage":true}"#.utf8)

    /// In Flags of an acknowledgement that the controller repeats: it comes faster than the client's own of frames sent before.
    package static let isAnswerOfRelay: UInt64 = 4

    /// Carries Flags 3, as every acknowledgement does.
    package static func acknowledging(_ message: AgentMessage, createdDate: Timestamp) -> AgentMessage {
        var payload = ByteBuffer()
        payload.reserveCapacity(192)
        payload.writeBytes(Self.openingText)
        payload.writeString(message.messageType.rawValue)
        payload.writeBytes(Self.identifierText)
        payload.writeLowercase(message.messageID)
        payload.writeInteger(UInt8(ascii: "\""))
        payload.writeBytes(Self.sequenceText)
        payload.writeString(String(message.sequenceNumber))
        payload.writeBytes(Self.closingText)
        var answer = AgentMessage(messageType: .acknowledge, createdDate: createdDate, flags: 3, payload: payload)
        answer.isHashed = message.isHashed
        return answer
    }

    /// The sequence number that an `acknowledge` frame speaks of, and the last byte of the MessageId if it has one.
    package var acknowledged: (sequence: Int64, copy: UInt8?)? {
        if let known = self.payload.withUnsafeReadableBytes({ Self.acknowledged(in: $0) }) { return known }
        guard let content = try? self.decodePayload(AcknowledgeContent.self) else { return nil }
        return (content.sequenceNumber, UInt8(content.messageID.suffix(2), radix: 16))
    }

    package var acknowledgedSequence: Int64? { self.acknowledged?.sequence }

    /// For the text as it is written above, by the Go senders too. Inside a JSON string the same characters would have a backslash.
    private static func acknowledged(in bytes: UnsafeRawBufferPointer) -> (sequence: Int64, copy: UInt8?)? {
        guard bytes.count <= 512, bytes.holds(self.openingText, at: 0) else { return nil }
        // Type (32 at most), id (36) and the texts between them: the number begins within this distance.
        let first = self.openingText.count + 1 + self.identifierText.count + 1
        guard bytes.count > first + self.sequenceText.count else { return nil }
        var index = first
        let last = bytes.count - self.sequenceText.count
        while index < last {
            if bytes[index] == UInt8(ascii: ","), bytes.holds(self.sequenceText, at: index) { break }
            index += 1
        }
        guard index < last else { return nil }
        // Before it, a quotation mark, and before that the end of the id.
        let digits = (Hex.value(of: bytes[index - 3]), Hex.value(of: bytes[index - 2]))
        let copy: UInt8? = if let high = digits.0, let low = digits.1 { high << 4 | low } else { nil }
        index += self.sequenceText.count
        var value: Int64 = 0
        let start = index
        while index < bytes.count, (0x30...0x39).contains(bytes[index]) {
            let (product, overflow) = value.multipliedReportingOverflow(by: 10)
            let (sum, carry) = product.addingReportingOverflow(Int64(bytes[index] - 0x30))
            guard !overflow, !carry else { return nil }
            value = sum
            index += 1
        }
        guard index > start, index + self.closingText.count == bytes.count, bytes.holds(self.closingText, at: index) else { return nil }
        return (value, copy)
    }
}

extension UnsafeRawBufferPointer {
    fileprivate func holds(_ text: [UInt8], at offset: Int) -> Bool {
        guard offset + text.count <= count else { return false }
        for index in text.indices where self[offset + index] != text[index] { return false }
        return true
    }
}

extension ByteBuffer {
    fileprivate mutating func writeLowercase(_ id: UUID) {
        withUnsafeBytes(of: id.uuid) { bytes in
            for (index, byte) in bytes.enumerated() {
                if index == 4 || index == 6 || index == 8 || index == 10 { self.writeInteger(UInt8(ascii: "-")) }
                self.writeInteger(Self.digit(byte >> 4) << 8 | Self.digit(byte & 0xf), as: UInt16.self)
            }
        }
    }

    private static func digit(_ value: UInt8) -> UInt16 {
        UInt16(value < 10 ? value + UInt8(ascii: "0") : value - 10 + UInt8(ascii: "a"))
    }
}
