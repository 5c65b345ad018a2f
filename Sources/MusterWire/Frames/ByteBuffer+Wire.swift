import FoundationEssentials
import NIOCore

extension ByteBuffer {
    /// A UUID as frames carry it: bytes 8 to 15 first, then 0 to 7.
    mutating func readSwappedUUID() -> UUID? {
        guard let low = self.readInteger(as: UInt64.self), let high = self.readInteger(as: UInt64.self) else { return nil }
        func byte(_ word: UInt64, _ index: UInt64) -> UInt8 { UInt8(truncatingIfNeeded: word >> (56 - 8 * index)) }
        return UUID(
            uuid: (
                byte(high, 0), byte(high, 1), byte(high, 2), byte(high, 3), byte(high, 4), byte(high, 5), byte(high, 6), byte(high, 7),
                byte(low, 0), byte(low, 1), byte(low, 2), byte(low, 3), byte(low, 4), byte(low, 5), byte(low, 6), byte(low, 7)
            ))
    }

    mutating func writeSwappedUUID(_ value: UUID) {
        let u = value.uuid
        self.writeBytes([u.8, u.9, u.10, u.11, u.12, u.13, u.14, u.15, u.0, u.1, u.2, u.3, u.4, u.5, u.6, u.7])
    }
}
