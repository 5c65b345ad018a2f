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
            let messageType = reader.readMessageType(),
            let schemaVersion = reader.readInteger(as: UInt32.self),
            let created = reader.readInteger(as: UInt64.self),
            let sequenceNumber = reader.readInteger(as: Int64.self),
            let flags = reader.readInteger(as: UInt64.self),
            let messageID = reader.readSwappedUUID(),
            let digest = reader.readPayloadDigest(),
            let payloadType = reader.readInteger(as: UInt32.self),
            reader.readInteger(as: UInt32.self) != nil
        else { throw .messageType }  // the length was checked: nothing else can be missing

        guard created <= UInt64(Timestamp.latest.milliseconds), created != 0 || messageType.isPublication else { throw .createdDate }
        let payload = reader.readSlice(length: reader.readableBytes) ?? ByteBuffer()
        let isChecked = payload.readableBytes > 0 && !messageType.isPublication
        if isChecked {
            guard PayloadDigest(hashing: payload) == digest else { throw .digest }
        }
        self = reader
        return AgentMessage(
            messageType: messageType, schemaVersion: schemaVersion, createdDate: Timestamp(milliseconds: Int64(created)),
            sequenceNumber: sequenceNumber, flags: flags, messageID: messageID,
            payloadType: PayloadType(rawValue: payloadType), payload: payload, digest: isChecked ? digest : nil
        )
    }

    package mutating func writeAgentMessage(_ message: AgentMessage) {
        self.reserveCapacity(minimumWritableBytes: AgentMessage.payloadOffset + message.payload.readableBytes)
        self.writeAgentMessageHeader(message)
        self.writeImmutableBuffer(message.payload)
    }

    /// The 120 bytes before the payload, for those who can write the payload itself without copying it.
    package mutating func writeAgentMessageHeader(_ message: AgentMessage) {
        self.reserveCapacity(minimumWritableBytes: AgentMessage.payloadOffset)
        self.writeInteger(AgentMessage.headerLength)
        self.writeString(message.messageType.rawValue)
        self.writeRepeatingByte(0x20, count: MessageType.maximumLength - message.messageType.rawValue.utf8.count)
        self.writeInteger(message.schemaVersion)
        self.writeInteger(UInt64(clamping: message.createdDate.milliseconds))
        self.writeInteger(message.sequenceNumber)
        self.writeInteger(message.flags)
        self.writeSwappedUUID(message.messageID)
        self.writePayloadDigest(message.payloadDigest)
        self.writeInteger(message.payloadType.rawValue)
        self.writeInteger(UInt32(clamping: message.payload.readableBytes))
    }
}

extension ByteBuffer {
    /// The types of a session's stream are compared in place: a string for each frame would cost more than the rest of its header.
    fileprivate mutating func readMessageType() -> MessageType? {
        let known = self.withUnsafeReadableBytes { bytes in
            MessageType.frequent.first { bytes.starts(with: $0.field) }
        }
        if let known {
            self.moveReaderIndex(forwardBy: MessageType.maximumLength)
            return known.type
        }
        guard let field = self.readBytes(length: MessageType.maximumLength) else { return nil }
        return MessageType(field: field)
    }
}

extension MessageType {
    fileprivate static let frequent = [MessageType.inputStreamData, .outputStreamData, .acknowledge].map { type in
        let name = Array(type.rawValue.utf8)
        return (type: type, field: name + [UInt8](repeating: 0x20, count: MessageType.maximumLength - name.count))
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
