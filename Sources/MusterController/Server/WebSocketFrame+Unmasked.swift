internal import MusterWire
internal import NIOCore
internal import NIOWebSocket

extension WebSocketFrame {
    /// What the client meant.
    var unmasked: ByteBuffer {
        guard let maskKey else { return data }
        return data.applyingWebSocketMask(maskKey.reduce(0) { $0 << 8 | UInt32($1) })
    }
}
