package import NIOCore

/// What a WebSocket frame is (RFC 6455 §5.2), of those that are sent here: no message of ours is sent in fragments.
package enum WebSocketFrameKind: UInt8, Sendable {
    case text = 1
    case binary = 2
    case close = 8
    case ping = 9
    case pong = 10
}

extension ByteBuffer {
    /// The most that `writeWebSocketHeader` writes.
    package static let longestWebSocketHeader = 14

    /// Of a final frame (RFC 6455 §5.2).
    ///
    /// - Parameters:
    ///   - length: of the payload.
    ///   - key: a client's mask, with which the payload that follows has to be changed.
    package mutating func writeWebSocketHeader(_ kind: WebSocketFrameKind, length: Int, key: UInt32?) {
        let mask: UInt8 = key == nil ? 0 : 0x80
        writeInteger(0x80 | kind.rawValue)
        switch length {
        case ..<126:
            writeInteger(mask | UInt8(length))
        case ..<65_536:
            writeInteger(mask | 126)
            writeInteger(UInt16(length))
        default:
            writeInteger(mask | 127)
            writeInteger(UInt64(length))
        }
        if let key { writeInteger(key) }
    }
}
