import MusterCrypto
package import NIOCore

extension ByteBuffer {
    /// Takes everything readable as one frame; a WebSocket message holds exactly one. On an error nothing is consumed.
    ///
    /// PayloadLength is not used to cut: the Go receivers take all that follows the header, and AWS itself sends wrong lengths.
    package mutating func readAgentMessage() throws(FrameError) -> AgentMessage {
        let length = self.readableBytes
        guard length >= AgentMessage.payloadOffset else { throw .tooShort(bytes: length) }
        guard length <= AgentMessage.maximumLength else { throw .tooLong(bytes: length - AgentMessage.payloadOffset) }
        var reader = self
        guard let headerLength = reader.readInteger(as: UInt32.self) else { throw .tooShort(bytes: length) }
        guard headerLength == AgentMessage.headerLength else { throw .headerLength(headerLength) }
        guard
            let typeField = reader.readBytes(length: MessageType.maximumLength),
            let schemaVersion = reader.readInteger(as: UInt32.self),
            let created = reader.readInteger(as: UInt64.self),
            let sequenceNumber = reader.readInteger(as: Int64.self),
            let flags = reader.readInteger(as: UInt64.self),
            let messageID = reader.readSwappedUUID(),
            let digest = reader.readBytes(length: 32),
            let payloadType = reader.readInteger(as: UInt32.self),
            reader.readInteger(as: UInt32.self) != nil
        else { throw .tooShort(bytes: length) }

        guard let messageType = MessageType(field: typeField) else { throw .messageType }
        guard created <= UInt64(Timestamp.latest.milliseconds), created != 0 || messageType.isPublication else { throw .createdDate }
        let payload = reader.readSlice(length: reader.readableBytes) ?? ByteBuffer()
        if payload.readableBytes > 0, !messageType.isPublication {
            let actual = payload.withUnsafeReadableBytes { SHA256.hash($0) }
            guard actual == digest else { throw .digest }
        }
        self = reader
        return AgentMessage(
            messageType: messageType, schemaVersion: schemaVersion, createdDate: Timestamp(milliseconds: Int64(created)),
            sequenceNumber: sequenceNumber, flags: flags, messageID: messageID,
            payloadType: PayloadType(rawValue: payloadType), payload: payload
        )
    }

    package mutating func writeAgentMessage(_ message: AgentMessage) {
        self.reserveCapacity(minimumWritableBytes: AgentMessage.payloadOffset + message.payload.readableBytes)
        self.writeInteger(AgentMessage.headerLength)
        self.writeString(message.messageType.rawValue)
        self.writeRepeatingByte(0x20, count: MessageType.maximumLength - message.messageType.rawValue.utf8.count)
        self.writeInteger(message.schemaVersion)
        self.writeInteger(UInt64(clamping: message.createdDate.milliseconds))
        self.writeInteger(message.sequenceNumber)
        self.writeInteger(message.flags)
        self.writeSwappedUUID(message.messageID)
        self.writeBytes(message.payload.withUnsafeReadableBytes { SHA256.hash($0) })
        self.writeInteger(message.payloadType.rawValue)
        self.writeInteger(UInt32(clamping: message.payload.readableBytes))
        self.writeImmutableBuffer(message.payload)
    }
}

extension MessageType {
    /// Senders pad with spaces, some with NULs: NULs are stripped at both ends first, then white space.
    init?(field: [UInt8]) {
        let inner = field.trimming { $0 == 0 }.trimming { $0 == 0x20 || (0x09...0x0d).contains($0) }
        self.init(rawValue: String(decoding: inner, as: UTF8.self))
    }
}

extension RandomAccessCollection where Element == UInt8, SubSequence == ArraySlice<UInt8> {
    fileprivate func trimming(_ isPadding: (UInt8) -> Bool) -> ArraySlice<UInt8> {
        guard let first = self.firstIndex(where: { !isPadding($0) }), let last = self.lastIndex(where: { !isPadding($0) }) else {
            return []
        }
        return self[first...last]
    }
}
