package import FoundationEssentials
package import NIOCore

/// One binary frame: one complete WebSocket message, the same in both directions on both channels.
///
/// The layout is the AgentMessage of amazon-ssm-agent (agent/session/contracts) and the ClientMessage of session-manager-plugin:
///
///     0    4  HeaderLength, always 116: the bytes before PayloadLength
///     4   32  MessageType, ASCII, padded with spaces (NULs are accepted)
///     36   4  SchemaVersion              64  16  MessageId, the two halves of the UUID swapped
///     40   8  CreatedDate, epoch ms      80  32  SHA-256 of the payload, or zeros (`isHashed`)
///     48   8  SequenceNumber            112   4  PayloadType
///     56   8  Flags                     116   4  PayloadLength
///                                       120      Payload, to the end of the message
package struct AgentMessage: Sendable, Equatable {
    package static let headerLength: UInt32 = 116
    package static let payloadOffset = 120
    /// Room for a 120,000-byte reply whose every byte is escaped, and nothing near what would hurt a controller with 10,000 agents.
    package static let maximumPayloadLength = 1 << 20
    package static let maximumLength = payloadOffset + maximumPayloadLength

    package var messageType: MessageType
    package var schemaVersion: UInt32
    package var createdDate: Timestamp
    package var sequenceNumber: Int64
    package var flags: UInt64
    package var messageID: UUID
    package var payloadType: PayloadType
    package var payload: ByteBuffer {
        didSet { self.digest = nil }
    }
    /// False between our own ends of a session: TLS has authenticated every byte on both legs, and to hash them once more at each end is
    /// what costs most in a tunnel (decision 93). Stock ends drop such frames; the relay never passes them any.
    package var isHashed = true
    /// The SHA-256 of the payload where it is known already, because the frame was read or has been written before: nothing is hashed twice.
    private var digest: PayloadDigest?

    package init(
        messageType: MessageType, schemaVersion: UInt32 = 1, createdDate: Timestamp, sequenceNumber: Int64 = 0, flags: UInt64 = 0,
        messageID: UUID = .frame(), payloadType: PayloadType = .none, payload: ByteBuffer
    ) {
        self.messageType = messageType
        self.schemaVersion = schemaVersion
        self.createdDate = createdDate
        self.sequenceNumber = sequenceNumber
        self.flags = flags
        self.messageID = messageID
        self.payloadType = payloadType
        self.payload = payload
    }

    /// For a reader that has just compared the digest with the payload.
    init(
        messageType: MessageType, schemaVersion: UInt32, createdDate: Timestamp, sequenceNumber: Int64, flags: UInt64, messageID: UUID,
        payloadType: PayloadType, payload: ByteBuffer, digest: PayloadDigest?, isHashed: Bool
    ) {
        self.init(
            messageType: messageType, schemaVersion: schemaVersion, createdDate: createdDate, sequenceNumber: sequenceNumber, flags: flags,
            messageID: messageID, payloadType: payloadType, payload: payload)
        self.digest = digest
        self.isHashed = isHashed
    }

    package var payloadDigest: PayloadDigest {
        self.digest ?? PayloadDigest(hashing: self.payload)
    }

    /// Frames that may go out again hash their payload once.
    package mutating func keepDigest() {
        if self.digest == nil { self.digest = PayloadDigest(hashing: self.payload) }
    }

    /// The same bytes in other memory: what is known of them stays known.
    func replacingPayload(withEqual payload: ByteBuffer) -> AgentMessage {
        AgentMessage(
            messageType: self.messageType, schemaVersion: self.schemaVersion, createdDate: self.createdDate,
            sequenceNumber: self.sequenceNumber, flags: self.flags, messageID: self.messageID, payloadType: self.payloadType,
            payload: payload, digest: self.digest, isHashed: self.isHashed)
    }

    package static func == (a: AgentMessage, b: AgentMessage) -> Bool {
        a.messageType == b.messageType && a.schemaVersion == b.schemaVersion && a.createdDate == b.createdDate
            && a.sequenceNumber == b.sequenceNumber && a.flags == b.flags && a.messageID == b.messageID
            && a.payloadType == b.payloadType && a.payload == b.payload
    }

    /// A control frame with a JSON payload.
    package init(_ type: MessageType, createdDate: Timestamp, messageID: UUID = .frame(), payload: some Encodable) throws(FrameError) {
        let bytes: [UInt8]
        do {
            bytes = try JSONCoding.encode(payload)
        } catch {
            throw .payload("\(type) could not be written as JSON.")
        }
        guard bytes.count <= Self.maximumPayloadLength else { throw .tooLong(bytes: bytes.count) }
        self.init(messageType: type, createdDate: createdDate, messageID: messageID, payload: ByteBuffer(bytes: bytes))
    }

    package func decodePayload<T: Decodable>(_ type: T.Type) throws(FrameError) -> T {
        do {
            return try JSONCoding.decode(type, from: Array(self.payload.readableBytesView))
        } catch {
            throw .payload("\(self.messageType) \(JSONCoding.explain(error))")
        }
    }
}
