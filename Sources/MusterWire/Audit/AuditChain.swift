import MusterCrypto

/// The digest that ties every record of the audit trail to all records before it. [value]
///
///     head(0) = SHA-256("muster audit 1" LF, trail, LF)
///     head(n) = SHA-256(head(n-1), record n, n as 8 bytes with the highest first)
///
/// A record is its text, byte for byte as it is stored, delivered and exported: nothing is written anew to be digested. The trail is 32
/// random digits, made with the store, so that the trail of one store is never taken for another's.
package struct AuditChain: Sendable, Equatable {
    /// No trail comes near it, JSON still has it exactly, and whatever a file says, counting on from there does not overflow.
    package static let highestSequence: Int64 = 1 << 53

    package let trail: String
    package private(set) var sequence: Int64
    package private(set) var head: [UInt8]

    package init(trail: String) {
        self.trail = trail
        sequence = 0
        head = Self.genesis(of: trail)
    }

    /// Goes on from there. Nil unless the digest is one, and the sequence.
    package init?(_ mark: AuditMark) {
        guard let head = Hex.decode(mark.digest), head.count == 32, (0...Self.highestSequence).contains(mark.sequence) else {
            return nil
        }
        (trail, sequence, self.head) = (mark.trail, mark.sequence, head)
    }

    package mutating func append(_ record: [UInt8]) {
        sequence += 1
        head = Self.head(after: head, record, sequence)
    }

    package var mark: AuditMark { AuditMark(trail: trail, sequence: sequence, digest: Hex.encode(head)) }

    package static func genesis(of trail: String) -> [UInt8] { SHA256.hash("muster audit 1\n\(trail)\n") }

    static func head(after head: [UInt8], _ record: [UInt8], _ sequence: Int64) -> [UInt8] {
        var digested: [UInt8] = []
        digested.reserveCapacity(head.count + record.count + 8)
        digested += head
        digested += record
        withUnsafeBytes(of: sequence.bigEndian) { digested.append(contentsOf: $0) }
        return SHA256.hash(digested)
    }
}

/// How far a trail has come. [value]
package struct AuditMark: Codable, Sendable, Hashable {
    package var trail: String
    /// Of the last record; 0 before the first.
    package var sequence: Int64
    /// The chain's head there, hexadecimal.
    package var digest: String

    package init(trail: String, sequence: Int64, digest: String) {
        (self.trail, self.sequence, self.digest) = (trail, sequence, digest)
    }

    package static func start(of trail: String) -> AuditMark { AuditChain(trail: trail).mark }
}
