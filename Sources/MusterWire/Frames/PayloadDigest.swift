import MusterCrypto
package import NIOCore

/// The SHA-256 of a payload, without an allocation.
package struct PayloadDigest: Sendable, Hashable {
    let words: (UInt64, UInt64, UInt64, UInt64)

    /// What stands in a frame whose sender has not hashed it: no payload's digest.
    static let absent = PayloadDigest(words: (0, 0, 0, 0))

    init(words: (UInt64, UInt64, UInt64, UInt64)) { self.words = words }

    package init(hashing payload: ByteBuffer) {
        self = payload.withUnsafeReadableBytes { PayloadDigest(hashing: $0) }
    }

    package init(hashing bytes: UnsafeRawBufferPointer) {
        var words: (UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0)
        withUnsafeMutableBytes(of: &words) { SHA256.hash(bytes, into: $0) }
        self.words = (UInt64(bigEndian: words.0), UInt64(bigEndian: words.1), UInt64(bigEndian: words.2), UInt64(bigEndian: words.3))
    }

    /// The 32 bytes, as they stand in a frame.
    package init?(bytes: some Collection<UInt8>) {
        guard bytes.count == 32 else { return nil }
        var words: [UInt64] = [0, 0, 0, 0]
        for (index, byte) in bytes.enumerated() { words[index / 8] = words[index / 8] << 8 | UInt64(byte) }
        self.words = (words[0], words[1], words[2], words[3])
    }

    package var bytes: [UInt8] { self.prefix(32) }

    /// The first of the bytes.
    package func prefix(_ count: Int) -> [UInt8] {
        let words = (self.words.0.bigEndian, self.words.1.bigEndian, self.words.2.bigEndian, self.words.3.bigEndian)
        return withUnsafeBytes(of: words) { Array($0.prefix(count)) }
    }

    package static func == (a: PayloadDigest, b: PayloadDigest) -> Bool {
        a.words.0 == b.words.0 && a.words.1 == b.words.1 && a.words.2 == b.words.2 && a.words.3 == b.words.3
    }

    package func hash(into hasher: inout Hasher) { hasher.combine(self.words.0) }
}
