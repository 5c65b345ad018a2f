/// Something that reads what strangers send. It may refuse it in any way it likes, and must neither trap, hang nor take back what it said.
struct FuzzTarget: Sendable {
    let name: String
    var maximumLength = 4096
    let run: @Sendable ([UInt8]) throws -> Void

    static let all = [
        frames, documents, signatures, certificates, upgrades, webSockets, streams, recordings, configurations, policies,
    ]
}

/// What was promised of every input and does not hold for this one.
struct Finding: Error, CustomStringConvertible {
    let description: String

    static func unless(_ holds: Bool, _ promise: @autoclosure () -> String) throws {
        if !holds { throw Finding(description: promise()) }
    }
}

/// Takes an input apart, so that a part of it can say what is done with the rest.
struct FuzzInput {
    private var rest: ArraySlice<UInt8>

    init(_ bytes: some Sequence<UInt8>) { rest = Array(bytes)[...] }

    var isEmpty: Bool { rest.isEmpty }

    mutating func byte() -> UInt8 { rest.popFirst() ?? 0 }

    mutating func word() -> Int { Int(byte()) << 8 | Int(byte()) }

    mutating func bytes(_ count: Int) -> [UInt8] {
        defer { rest = rest.dropFirst(count) }
        return Array(rest.prefix(count))
    }

    /// Up to this byte, which is taken and left out; all that is left without it.
    mutating func part(until end: UInt8 = 0) -> [UInt8] {
        let part = Array(rest.prefix { $0 != end })
        rest = rest.dropFirst(part.count + 1)
        return part
    }

    mutating func all() -> [UInt8] {
        defer { rest = [] }
        return Array(rest)
    }
}

func text(_ bytes: some Collection<UInt8>) -> String { String(decoding: bytes, as: UTF8.self) }
