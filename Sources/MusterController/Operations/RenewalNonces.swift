import MusterCrypto
package import MusterWire

/// The nonces that a node signs to renew an expired certificate. [value]
///
/// Anyone may ask for one, so nothing is kept for a nonce that was given out: it carries its own end and an HMAC over both
/// and the node. Kept are only those that were used with a valid signature, until they end. A restart of the controller
/// makes all of them void; the agent asks again.
package struct RenewalNonces: Sendable {
    package static let lifetimeSeconds: Int64 = 60

    private let key: [UInt8]
    private let capacity: Int
    private var used: [[UInt8]: Timestamp] = [:]

    package init(key: [UInt8] = RandomBytes.make(32), capacity: Int = 100_000) {
        self.key = key
        self.capacity = capacity
    }

    package func make(for node: NodeID, at now: Timestamp) -> String {
        let end = now.adding(seconds: Self.lifetimeSeconds)
        let content = Self.bytes(end.milliseconds) + RandomBytes.make(16)
        return Base64.encode(content + code(content, node))
    }

    /// Whether the nonce is one of ours for this node, has not ended and has not been used. It stays usable: call `use` once
    /// the signature over it has been found valid.
    package func isValid(_ text: String, for node: NodeID, at now: Timestamp) -> Bool {
        guard let bytes = Base64.decode(text), bytes.count == 56 else { return false }
        let content = Array(bytes.prefix(24))
        guard equalInConstantTime(Array(bytes.dropFirst(24)), code(content, node)) else { return false }
        return Self.end(of: content) > now && used[content] == nil
    }

    /// False when somebody was faster.
    package mutating func use(_ text: String, for node: NodeID, at now: Timestamp) -> Bool {
        guard isValid(text, for: node, at: now), let bytes = Base64.decode(text) else { return false }
        if used.count >= capacity { used = used.filter { $0.value > now } }
        guard used.count < capacity else { return false }
        let content = Array(bytes.prefix(24))
        used[content] = Self.end(of: content)
        return true
    }

    private func code(_ content: [UInt8], _ node: NodeID) -> [UInt8] {
        HMACSHA256.code(key: key, message: Array("muster-nonce\n\(node)\n".utf8) + content)
    }

    private static func bytes(_ number: Int64) -> [UInt8] {
        withUnsafeBytes(of: number.bigEndian) { Array($0) }
    }

    private static func end(of content: [UInt8]) -> Timestamp {
        Timestamp(milliseconds: content.prefix(8).reduce(0) { $0 << 8 | Int64($1) })
    }
}
