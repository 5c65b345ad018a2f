/// An activation: a lower-case UUID of 36 characters.
package struct ActivationID: RawRepresentable, Sendable, Hashable, Comparable, Codable, CustomStringConvertible, LosslessStringConvertible {
    package let rawValue: String

    package init?(rawValue: String) {
        guard Pattern.isLowerUUID(rawValue) else { return nil }
        self.rawValue = rawValue
    }

    package init?(_ description: String) { self.init(rawValue: description) }

    private init(unchecked text: String) { self.rawValue = text }

    package static func random() -> ActivationID { ActivationID(unchecked: randomUUID()) }

    package var description: String { self.rawValue }

    package static func < (a: ActivationID, b: ActivationID) -> Bool { a.rawValue < b.rawValue }
}
