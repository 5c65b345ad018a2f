package import MusterWire
package import NIOCore

/// Messages over a stream of bytes, for one thread.
package final class CopyConversation {
    private let stream: any CopyStream
    private var input = ByteBuffer()
    private var output = ByteBuffer()

    package init(_ stream: any CopyStream) { self.stream = stream }

    /// Waits. Throws when the other end is gone, or said that it failed.
    package func next() throws -> CopyMessage {
        while true {
            if let message = try CopyMessage.read(from: &input) {
                if case .failed(let words) = message { throw CopyFailure(words) }
                return message
            }
            try flush()
            guard var more = try stream.read() else { throw CopyFailure("The other side ended before everything was copied.") }
            if input.readableBytes == 0 { input = more } else { input.writeBuffer(&more) }
        }
    }

    /// The next message if it can be had without waiting for long.
    package func nextIfThere() throws -> CopyMessage? {
        if input.readableBytes == 0, !stream.hasInput { return nil }
        return try next()
    }

    /// Small ones are gathered until something is waited for, or there are enough.
    package func send(_ message: CopyMessage) throws {
        message.write(into: &output)
        if output.readableBytes >= CopyMessage.dataBytes / 2 { try flush() }
    }

    package func flush() throws {
        guard output.readableBytes > 0 else { return }
        let bytes = output
        output = ByteBuffer()
        try stream.write(bytes)
    }
}
