import MusterCrypto

/// A session: its owner's name, a hyphen and 17 lower-case hex digits, at most 96 characters, as AWS forms them (policies match on the name).
/// What passes is safe as a file's name, in a URL and in a header: it has no slash, and cannot be `.` or `..`.
package struct SessionID: RawRepresentable, Sendable, Hashable, Comparable, Codable, CustomStringConvertible, LosslessStringConvertible {
    package static let maximumLength = 96
    private static let digits = 17

    package let rawValue: String

    package init?(rawValue: String) {
        let bytes = Array(rawValue.utf8)
        let name = bytes.dropLast(Self.digits + 1)
        guard bytes.count <= Self.maximumLength, !name.isEmpty, name.allSatisfy(Self.isNameByte),
            bytes[name.endIndex] == UInt8(ascii: "-"), bytes.suffix(Self.digits).allSatisfy(\.isLowerHex)
        else { return nil }
        self.rawValue = rawValue
    }

    package init?(_ description: String) { self.init(rawValue: description) }

    /// A new one. What cannot stand in an id is left out of the owner's name, and what is too long is cut.
    package static func random(owner: String) -> SessionID {
        let name = owner.utf8.filter(isNameByte).prefix(maximumLength - digits - 1)
        let digits = Hex.encode(RandomBytes.make(9)).prefix(digits)
        return SessionID(unchecked: (name.isEmpty ? "session" : String(decoding: name, as: UTF8.self)) + "-" + digits)
    }

    private init(unchecked text: String) { self.rawValue = text }

    package var description: String { self.rawValue }

    package static func < (a: SessionID, b: SessionID) -> Bool { a.rawValue < b.rawValue }

    /// What passes unchanged through URLs, file names and the stock agent; an IAM name may hold `+=,` as well.
    private static func isNameByte(_ byte: UInt8) -> Bool { byte.isWord || ".@-".utf8.contains(byte) }
}
