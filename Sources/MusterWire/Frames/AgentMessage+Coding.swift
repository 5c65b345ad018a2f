import FoundationEssentials
package import NIOCore

extension ByteBuffer {
    /// Takes everything readable as one frame; a WebSocket message holds exactly one. On an error nothing is consumed.
    ///
    /// PayloadLength is not used to cut: the Go receivers take all that follows the header, and AWS itself sends wrong lengths.
    package mutating func readAgentMessage() throws(FrameError) -> AgentMessage {
        let length = self.readableBytes
        guard length >= AgentMessage.payloadOffset else { throw .tooShort(bytes: length) }
        guard length <= AgentMessage.maximumLength else { throw .tooLong(bytes: length - AgentMessage.payloadOffset) }
        let header = self.withUnsafeReadableBytes { AgentMessageHeader($0) }
        guard header.headerLength == AgentMessage.headerLength else { throw .headerLength(header.headerLength) }
        guard let messageType = header.messageType else { throw .messageType }
        let (created, digest) = (header.createdDate, header.digest)
        var reader = self
        reader.moveReaderIndex(forwardBy: AgentMessage.payloadOffset)
        guard created <= UInt64(Timestamp.latest.milliseconds), created != 0 || messageType.isPublication else { throw .createdDate }
        let payload = reader.readSlice(length: reader.readableBytes) ?? ByteBuffer()
        let isHashed = digest != .absent || !messageType.isOfStream
        let isChecked = payload.readableBytes > 0 && !messageType.isPublication && isHashed
        if isChecked {
            guard PayloadDigest(hashing: payload) == digest else { throw .digest }
        }
        self = reader
        return AgentMessage(
            messageType: messageType, schemaVersion: header.schemaVersion, createdDate: Timestamp(milliseconds: Int64(created)),
            sequenceNumber: header.sequenceNumber, flags: header.flags, messageID: header.messageID,
            payloadType: PayloadType(rawValue: header.payloadType), payload: payload, digest: isChecked ? digest : nil,
            isHashed: isHashed)
    }

    package mutating func writeAgentMessage(_ message: AgentMessage) {
        self.reserveCapacity(minimumWritableBytes: AgentMessage.payloadOffset + message.payload.readableBytes)
        self.writeAgentMessageHeader(message)
        self.writeImmutableBuffer(message.payload)
    }

    /// The same frame with the digest that it was sent without; any other frame as it is.
    package func hashingAgentMessage() -> ByteBuffer {
        var reader = self
        guard var message = try? reader.readAgentMessage(), !message.isHashed else { return self }
        message.isHashed = true
        var hashed = ByteBuffer()
        hashed.writeAgentMessage(message)
        return hashed
    }

    /// The 120 bytes before the payload, for those who can write the payload itself without copying it.
    package mutating func writeAgentMessageHeader(_ message: AgentMessage) {
        self.writeWithUnsafeMutableBytes(minimumWritableBytes: AgentMessage.payloadOffset) { space in
            AgentMessageHeader.write(message, to: space)
            return AgentMessage.payloadOffset
        }
    }
}

/// The 120 bytes before the payload, taken apart at once: each key of a shell passes here a dozen times.
private struct AgentMessageHeader {
    let headerLength: UInt32
    let messageType: MessageType?
    let schemaVersion: UInt32
    let createdDate: UInt64
    let sequenceNumber: Int64
    let flags: UInt64
    let messageID: UUID
    let digest: PayloadDigest
    let payloadType: UInt32

    /// - Parameter bytes: at least 120.
    init(_ bytes: UnsafeRawBufferPointer) {
        func integer<T: FixedWidthInteger & BitwiseCopyable>(_ offset: Int, as type: T.Type) -> T {
            T(bigEndian: bytes.loadUnaligned(fromByteOffset: offset, as: type))
        }
        headerLength = integer(0, as: UInt32.self)
        messageType = Self.messageType(UnsafeRawBufferPointer(rebasing: bytes[4..<36]))
        schemaVersion = integer(36, as: UInt32.self)
        createdDate = integer(40, as: UInt64.self)
        sequenceNumber = integer(48, as: Int64.self)
        flags = integer(56, as: UInt64.self)
        // Bytes 8 to 15 come first, then 0 to 7.
        let halves = (bytes.loadUnaligned(fromByteOffset: 72, as: UInt64.self), bytes.loadUnaligned(fromByteOffset: 64, as: UInt64.self))
        messageID = UUID(uuid: unsafeBitCast(halves, to: uuid_t.self))
        digest = PayloadDigest(
            words: (integer(80, as: UInt64.self), integer(88, as: UInt64.self), integer(96, as: UInt64.self), integer(104, as: UInt64.self))
        )
        payloadType = integer(112, as: UInt32.self)
    }

    /// - Parameter space: for at least 120 bytes.
    static func write(_ message: AgentMessage, to space: UnsafeMutableRawBufferPointer) {
        func store(_ value: some FixedWidthInteger & BitwiseCopyable, _ offset: Int) {
            space.storeBytes(of: value.bigEndian, toByteOffset: offset, as: type(of: value.bigEndian))
        }
        store(AgentMessage.headerLength, 0)
        write(message.messageType, to: UnsafeMutableRawBufferPointer(rebasing: space[4..<36]))
        store(message.schemaVersion, 36)
        store(UInt64(clamping: message.createdDate.milliseconds), 40)
        store(message.sequenceNumber, 48)
        store(message.flags, 56)
        let halves = unsafeBitCast(message.messageID.uuid, to: (UInt64, UInt64).self)
        space.storeBytes(of: halves.1, toByteOffset: 64, as: UInt64.self)
        space.storeBytes(of: halves.0, toByteOffset: 72, as: UInt64.self)
        let digest = (message.isHashed ? message.payloadDigest : .absent).words
        store(digest.0, 80)
        store(digest.1, 88)
        store(digest.2, 96)
        store(digest.3, 104)
        store(message.payloadType.rawValue, 112)
        store(UInt32(clamping: message.payload.readableBytes), 116)
    }

    // MARK: The type

    private typealias Field = (UInt64, UInt64, UInt64, UInt64)

    /// The kinds of a session's stream, as they stand in their field: a string for each frame would cost more than the rest.
    private static let frequent: [(field: Field, type: MessageType)] =
        [MessageType.inputStreamData, .outputStreamData, .acknowledge].map { (field($0), $0) }

    private static func field(_ type: MessageType) -> Field {
        var field: Field = (0, 0, 0, 0)
        withUnsafeMutableBytes(of: &field) { bytes in
            bytes.initializeMemory(as: UInt8.self, repeating: 0x20)
            bytes.copyBytes(from: type.rawValue.utf8)
        }
        return field
    }

    private static func messageType(_ bytes: UnsafeRawBufferPointer) -> MessageType? {
        let field = bytes.loadUnaligned(as: Field.self)
        for known in frequent where known.field == field { return known.type }
        return MessageType(field: Array(bytes))
    }

    private static func write(_ type: MessageType, to space: UnsafeMutableRawBufferPointer) {
        for known in frequent where known.type == type { return space.storeBytes(of: known.field, as: Field.self) }
        space.storeBytes(of: field(type), as: Field.self)
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
