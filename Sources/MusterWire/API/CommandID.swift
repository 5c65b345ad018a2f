import MusterCrypto

/// A command: a lower-case UUID of 36 characters.
package struct CommandID: RawRepresentable, Sendable, Hashable, Comparable, Codable, CustomStringConvertible, LosslessStringConvertible {
    package let rawValue: String

    package init?(rawValue: String) {
        guard Pattern.isLowerUUID(rawValue) else { return nil }
        self.rawValue = rawValue
    }

    package init?(_ description: String) { self.init(rawValue: description) }

    private init(unchecked text: String) { self.rawValue = text }

    package static func random() -> CommandID { CommandID(unchecked: randomUUID()) }

    package var description: String { self.rawValue }

    package static func < (a: CommandID, b: CommandID) -> Bool { a.rawValue < b.rawValue }
}

/// A version 4 UUID (RFC 9562 §5.4) in lower case.
func randomUUID() -> String {
    var bytes = RandomBytes.make(16)
    bytes[6] = bytes[6] & 0x0f | 0x40
    bytes[8] = bytes[8] & 0x3f | 0x80
    let hex = [0..<4, 4..<6, 6..<8, 8..<10, 10..<16].map { Hex.encode(bytes[$0]) }
    return hex.joined(separator: "-")
}
