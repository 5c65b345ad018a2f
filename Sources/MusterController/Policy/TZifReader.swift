/// Reads a TZif file (RFC 9636): header and data with 4-byte times, then, from version 2 on, the same with 8-byte times and a footer.
struct TZifReader {
    struct Contents {
        var changes: [Int64] = []
        var offsets: [Int] = []
        var firstOffset = 0
        var footer: RecurringRule?
    }

    private var bytes: ArraySlice<UInt8>

    private static let maximumChanges = 10_000
    private static let maximumTypes = 256

    init(_ bytes: [UInt8]) {
        self.bytes = bytes[...]
    }

    mutating func read() -> Contents? {
        guard let first = header() else { return nil }
        if first.version == 0 { return data(first, timeBytes: 4) }
        guard take(first.length(timeBytes: 4)) != nil, let second = header(), var contents = data(second, timeBytes: 8) else { return nil }
        guard bytes.first == UInt8(ascii: "\n"), let end = bytes.dropFirst().firstIndex(of: UInt8(ascii: "\n")) else { return nil }
        let footer = String(decoding: bytes[(bytes.startIndex + 1)..<end], as: UTF8.self)
        if !footer.isEmpty {
            guard let rule = RecurringRule(footer) else { return nil }
            contents.footer = rule
        }
        return contents
    }

    private struct Header {
        let version: UInt8
        let universal: Int
        let standard: Int
        let leaps: Int
        let changes: Int
        let types: Int
        let characters: Int

        func length(timeBytes: Int) -> Int {
            changes * (timeBytes + 1) + types * 6 + characters + leaps * (timeBytes + 4) + standard + universal
        }
    }

    private mutating func header() -> Header? {
        guard take(4).map({ $0.elementsEqual("TZif".utf8) }) == true, let version = take(1)?.first, take(15) != nil else { return nil }
        var counts: [Int] = []
        for _ in 0..<6 {
            guard let count = integer(4), (0...Int64(Self.maximumChanges)).contains(count) else { return nil }
            counts.append(Int(count))
        }
        guard counts[4] <= Self.maximumTypes else { return nil }
        return Header(
            version: version, universal: counts[0], standard: counts[1], leaps: counts[2], changes: counts[3], types: counts[4],
            characters: counts[5])
    }

    private mutating func data(_ header: Header, timeBytes: Int) -> Contents? {
        // Leap seconds are counted in the files of "right/" only; nothing else here counts them.
        guard header.leaps == 0, header.types > 0 else { return nil }
        var contents = Contents()
        for _ in 0..<header.changes {
            guard let time = integer(timeBytes), contents.changes.last ?? .min < time || contents.changes.isEmpty else { return nil }
            contents.changes.append(time)
        }
        guard let indices = take(header.changes) else { return nil }
        var types: [Int] = []
        for _ in 0..<header.types {
            guard let offset = integer(4), take(2) != nil, offset.magnitude <= 26 * 3600 else { return nil }
            types.append(Int(offset))
        }
        for index in indices {
            guard Int(index) < types.count else { return nil }
            contents.offsets.append(types[Int(index)])
        }
        contents.firstOffset = types[0]
        guard take(header.characters + header.standard + header.universal) != nil else { return nil }
        return contents
    }

    private mutating func take(_ count: Int) -> ArraySlice<UInt8>? {
        guard bytes.count >= count else { return nil }
        let taken = bytes.prefix(count)
        bytes = bytes.dropFirst(count)
        return taken
    }

    /// Big-endian and signed.
    private mutating func integer(_ count: Int) -> Int64? {
        guard let taken = take(count) else { return nil }
        var value: Int64 = taken.first.map { $0 & 0x80 != 0 ? -1 : 0 } ?? 0
        for byte in taken { value = value << 8 | Int64(byte) }
        return value
    }
}
