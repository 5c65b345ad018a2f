package import NIOCore

/// Takes WebSocket messages out of a stream of bytes, in any cut, and puts fragments together (RFC 6455 §5). [value]
///
/// NIO's decoder keeps what has come until a frame is whole, in a buffer that grows with it, and hands out a slice of that. Here each byte
/// is copied once, unmasked on its way to where its message needs it.
package struct WebSocketReader: Sendable {
    package enum Message: Sendable, Equatable {
        case text(ByteBuffer)
        case binary(ByteBuffer)
        case ping(ByteBuffer)
        case pong
        /// With the code and the reason, as they came.
        case close(ByteBuffer)
    }

    package enum Violation: Error, Sendable, Equatable {
        /// Frames that no peer of this side sends.
        case protocolError(String)
        case tooLong
    }

    private struct Frame {
        let opcode: UInt8
        let isFinal: Bool
        let key: UInt32
        let length: Int
        var taken = 0

        var isControl: Bool { opcode >= 8 }
    }

    private static let longestHeader = 14
    private static let longestControl = 125

    private let maximumBytes: Int
    private let maximumFragments: Int
    private let isMasked: Bool
    /// The first bytes of a frame, until they say all that is to be known.
    private var header = ByteBuffer()
    private var frame: Frame?
    private var control = ByteBuffer()
    /// Of the message that is being put together: 1 text, 2 binary.
    private var opcode: UInt8?
    private var fragments = 0
    private var message = ByteBuffer()

    /// The room that it takes for what has come of frames and messages that are not whole.
    var keptBytes: Int { header.storageCapacity + control.storageCapacity + message.storageCapacity }

    /// - Parameters:
    ///   - maximumBytes: of one message.
    ///   - isMasked: a client's frames have to be, a server's must not (RFC 6455 §5.1).
    package init(maximumBytes: Int, maximumFragments: Int, isMasked: Bool) {
        self.isMasked = isMasked
        self.maximumBytes = maximumBytes
        self.maximumFragments = maximumFragments
    }

    /// The next whole message; nil when all the bytes are taken. After an error there is no next one.
    package mutating func next(_ bytes: inout ByteBuffer) throws(Violation) -> Message? {
        while true {
            if frame == nil {
                guard try readHeader(&bytes) else { return nil }
            }
            guard take(&bytes) else { return nil }
            if let message = finishFrame() { return message }
        }
    }

    // MARK: Headers

    private mutating func readHeader(_ bytes: inout ByteBuffer) throws(Violation) -> Bool {
        if header.readableBytes == 0 {
            // Nearly always it is all there.
            guard let (frame, length) = try parse(bytes) else {
                header.writeBuffer(&bytes)
                return false
            }
            bytes.moveReaderIndex(forwardBy: length)
            try begin(frame)
            return true
        }
        let known = header.readableBytes
        var rest = bytes
        if var more = rest.readSlice(length: min(Self.longestHeader - known, bytes.readableBytes)) { header.writeBuffer(&more) }
        guard let (frame, length) = try parse(header) else {
            bytes.moveReaderIndex(forwardBy: header.readableBytes - known)
            return false
        }
        bytes.moveReaderIndex(forwardBy: length - known)
        header = ByteBuffer()
        try begin(frame)
        return true
    }

    private func parse(_ bytes: ByteBuffer) throws(Violation) -> (Frame, length: Int)? {
        var reader = bytes
        guard let first = reader.readInteger(as: UInt8.self), let second = reader.readInteger(as: UInt8.self) else { return nil }
        guard first & 0x70 == 0 else { throw .protocolError("reserved bits") }
        guard (second & 0x80 != 0) == isMasked else { throw .protocolError(isMasked ? "a frame without a mask" : "a frame with a mask") }
        var length = Int(second & 0x7F)
        if length == 126 {
            guard let long = reader.readInteger(as: UInt16.self) else { return nil }
            length = Int(long)
        } else if length == 127 {
            guard let long = reader.readInteger(as: UInt64.self) else { return nil }
            guard long <= UInt64(maximumBytes) else { throw .tooLong }
            length = Int(long)
        }
        guard let key = isMasked ? reader.readInteger(as: UInt32.self) : 0 else { return nil }
        let frame = Frame(opcode: first & 0x0F, isFinal: first & 0x80 != 0, key: key, length: length)
        return (frame, bytes.readableBytes - reader.readableBytes)
    }

    private mutating func begin(_ frame: Frame) throws(Violation) {
        switch (frame.opcode, opcode) {
        case (8, _), (9, _), (10, _):
            guard frame.isFinal, frame.length <= Self.longestControl else { throw .protocolError("a long control frame") }
        case (0, nil):
            throw .protocolError("a continuation without a message")
        case (0, .some):
            fragments += 1
        case (1, nil), (2, nil):
            opcode = frame.opcode
            fragments = 1
        case (1, .some), (2, .some):
            throw .protocolError("a new message inside another")
        default:
            throw .protocolError("a frame of an unknown kind")
        }
        guard frame.isControl || message.readableBytes + frame.length <= maximumBytes && fragments <= maximumFragments else {
            throw .tooLong
        }
        self.frame = frame
    }

    // MARK: Payloads

    /// True when the frame is whole.
    private mutating func take(_ bytes: inout ByteBuffer) -> Bool {
        guard var frame else { return false }
        let count = min(frame.length - frame.taken, bytes.readableBytes)
        if count > 0 {
            let key = frame.key.rotated(by: frame.taken)
            if frame.isControl {
                Self.copy(count, of: &bytes, key, to: &control, atMost: frame.length)
            } else {
                // Room for all of it once a part is here that is worth it; who announces much and sends little gets little.
                let room = count >= frame.length / 8 ? frame.length - frame.taken : count
                Self.copy(count, of: &bytes, key, to: &message, atMost: room)
            }
            frame.taken += count
        }
        self.frame = frame
        return frame.taken == frame.length
    }

    private static func copy(_ count: Int, of bytes: inout ByteBuffer, _ key: UInt32, to target: inout ByteBuffer, atMost room: Int) {
        target.reserveCapacity(minimumWritableBytes: room)
        bytes.readWithUnsafeReadableBytes { source in
            target.writeWithUnsafeMutableBytes(minimumWritableBytes: count) { space in
                let source = UnsafeRawBufferPointer(rebasing: source.prefix(count))
                if key == 0 { space.copyMemory(from: source) } else { WebSocketMask.apply(key, from: source, to: space) }
                return count
            }
            return count
        }
    }

    private mutating func finishFrame() -> Message? {
        guard let done = frame else { return nil }
        frame = nil
        if done.isControl {
            defer { control = ByteBuffer() }
            switch done.opcode {
            case 8: return .close(control)
            case 9: return .ping(control)
            default: return .pong
            }
        }
        guard done.isFinal else { return nil }
        // A new buffer for the next one: this one is the reader's.
        defer {
            message = ByteBuffer()
            opcode = nil
            fragments = 0
        }
        return opcode == 1 ? .text(message) : .binary(message)
    }
}

extension UInt32 {
    /// The key for what comes behind so many bytes.
    fileprivate func rotated(by bytes: Int) -> UInt32 {
        let bits = UInt32(bytes & 3) * 8
        return bits == 0 ? self : self << bits | self >> (32 - bits)
    }
}
