package import FoundationEssentials
import Synchronization

extension UUID {
    /// A new one, version 4 (RFC 9562 §5.4). Foundation's opens and reads a device for each, and the system's generator asks the kernel
    /// twice, which every key of a shell would wait for. It has to be another one than any before, and no secret.
    package static func frame() -> UUID {
        let number = FrameNumbers.next()
        let high = FrameNumbers.mixed(FrameNumbers.seed.high ^ number) & ~0xF000 | 0x4000
        let low = FrameNumbers.mixed(FrameNumbers.seed.low &+ number) & ~(0xC0 << 56) | 0x80 << 56
        func byte(_ word: UInt64, _ index: UInt64) -> UInt8 { UInt8(truncatingIfNeeded: word >> (56 - 8 * index)) }
        return UUID(
            uuid: (
                byte(high, 0), byte(high, 1), byte(high, 2), byte(high, 3), byte(high, 4), byte(high, 5), byte(high, 6), byte(high, 7),
                byte(low, 0), byte(low, 1), byte(low, 2), byte(low, 3), byte(low, 4), byte(low, 5), byte(low, 6), byte(low, 7)
            ))
    }
}

/// Numbers that no other process has, one after the other.
private enum FrameNumbers {
    static let seed = (high: UInt64.random(in: .min ... .max), low: UInt64.random(in: .min ... .max))
    private static let last = Atomic<UInt64>(0)

    static func next() -> UInt64 { last.add(1, ordering: .relaxed).newValue }

    /// The last step of SplitMix64: another number for each, and all bits of it change.
    static func mixed(_ number: UInt64) -> UInt64 {
        var mixed = number &* 0x9E37_79B9_7F4A_7C15
        mixed = (mixed ^ mixed >> 30) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ mixed >> 27) &* 0x94D0_49BB_1331_11EB
        return mixed ^ mixed >> 31
    }
}
