import NIOCore
import NIOWebSocket

/// Puts the fragments of a WebSocket message together (RFC 6455 §5.4), within a limit. Pure.
struct MessageAssembler {
    enum Step: Equatable {
        case none
        case message(WebSocketConnection.Message)
        case fail(WebSocketErrorCode, String)
    }

    private let maxBytes: Int
    private var opcode: WebSocketOpcode?
    private var partial = ByteBuffer()

    init(maxBytes: Int) {
        self.maxBytes = maxBytes
    }

    /// A data frame: text, binary or continuation, already unmasked.
    mutating func frame(_ opcode: WebSocketOpcode, isFinal: Bool, data: ByteBuffer) -> Step {
        var data = data
        switch (opcode, self.opcode) {
        case (.continuation, nil):
            return .fail(.protocolError, "a continuation without a message")
        case (.continuation, .some):
            break
        case (_, .some):
            return .fail(.protocolError, "a new message inside another")
        case (_, nil):
            self.opcode = opcode
        }
        guard partial.readableBytes + data.readableBytes <= maxBytes else {
            return .fail(.messageTooLarge, "a message of more than \(maxBytes) bytes")
        }
        if isFinal, partial.readableBytes == 0 {
            return finish(data)
        }
        partial.writeBuffer(&data)
        guard isFinal else { return .none }
        // A new buffer instead of a cleared one: what a large message took is given back.
        let whole = partial
        partial = ByteBuffer()
        return finish(whole)
    }

    private mutating func finish(_ data: ByteBuffer) -> Step {
        defer { opcode = nil }
        guard opcode == .text else { return .message(.binary(data)) }
        guard let text = String(validating: data.readableBytesView, as: UTF8.self) else {
            return .fail(.dataInconsistentWithMessage, "a text that is not UTF-8")
        }
        return .message(.text(text))
    }
}
