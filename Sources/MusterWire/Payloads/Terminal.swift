package import NIOCore

/// Payload of type 3.
package struct TerminalSize: Codable, Sendable, Hashable {
    package var columns: UInt32
    package var rows: UInt32

    package init(columns: UInt32, rows: UInt32) {
        self.columns = columns
        self.rows = rows
    }

    enum CodingKeys: String, CodingKey {
        case columns = "cols"
        case rows = "rows"
    }
}

/// Payload of type 10: four bytes, big-endian.
package struct StreamFlag: RawRepresentable, Sendable, Hashable {
    package let rawValue: UInt32

    package init(rawValue: UInt32) { self.rawValue = rawValue }

    /// The client's connection is closed; the agent closes its own and waits for the next one.
    package static let disconnectToPort = StreamFlag(rawValue: 1)
    package static let terminateSession = StreamFlag(rawValue: 2)
    /// The agent could not reach the port. Of which connection it speaks is not said.
    package static let connectToPortError = StreamFlag(rawValue: 3)

    /// Ours, to a command on pipes: a signal for its process group, for its input may hold any byte.
    package static func signal(_ number: UInt8) -> StreamFlag { StreamFlag(rawValue: 0x4D55_0000 | UInt32(number)) }

    package var signal: UInt8? {
        rawValue & 0xFFFF_FF00 == 0x4D55_0000 ? UInt8(truncatingIfNeeded: rawValue) : nil
    }

    package init?(payload: ByteBuffer) {
        guard payload.readableBytes == 4, let value = payload.getInteger(at: payload.readerIndex, as: UInt32.self) else { return nil }
        self.init(rawValue: value)
    }

    package var payload: ByteBuffer { ByteBuffer(integer: self.rawValue) }
}

/// Payload of type 2, ours and to our client: why the connection failed that the next flag is about. UTF-8.
package enum SessionWords {
    package static let longest = 500

    package static func read(_ payload: ByteBuffer) -> String {
        String(String(decoding: payload.readableBytesView.prefix(4 * self.longest), as: UTF8.self).prefix(self.longest))
    }
}

/// Payload of type 12: text, `EXIT_CODE: 3`.
package struct ExitCode: Sendable, Hashable {
    private static let opening = "EXIT_CODE: "

    package var value: Int

    package init(_ value: Int) { self.value = value }

    package init?(payload: ByteBuffer) {
        guard payload.readableBytes <= 64 else { return nil }
        let text = String(buffer: payload)
        guard text.hasPrefix(Self.opening), let value = Int32(text.dropFirst(Self.opening.count)) else { return nil }
        self.value = Int(value)
    }

    package var payload: ByteBuffer { ByteBuffer(string: Self.opening + String(self.value)) }
}
