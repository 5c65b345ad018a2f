import MusterCrypto

/// A managed node: `mi-` and 17 lower-case hex digits, or an EC2 instance id (`i-` and 8 or 17 word characters).
/// What passes is safe in a path, a URL and a job id: it has no dot and no slash.
package struct NodeID: RawRepresentable, Sendable, Hashable, Comparable, Codable, CustomStringConvertible, LosslessStringConvertible {
    package let rawValue: String

    package init?(rawValue: String) {
        let bytes = rawValue.utf8
        if bytes.starts(with: "mi-".utf8) {
            guard bytes.count == 20, bytes.dropFirst(3).allSatisfy(\.isLowerHex) else { return nil }
        } else {
            guard bytes.starts(with: "i-".utf8), bytes.count == 10 || bytes.count == 19, bytes.dropFirst(2).allSatisfy(\.isWord) else {
                return nil
            }
        }
        self.rawValue = rawValue
    }

    package init?(_ description: String) { self.init(rawValue: description) }

    private init(unchecked text: String) { self.rawValue = text }

    package static func random() -> NodeID {
        NodeID(unchecked: "mi-" + Hex.encode(RandomBytes.make(9)).prefix(17))
    }

    package var description: String { self.rawValue }

    package static func < (a: NodeID, b: NodeID) -> Bool { a.rawValue < b.rawValue }
}
