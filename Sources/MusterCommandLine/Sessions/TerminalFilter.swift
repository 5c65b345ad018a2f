/// Lets through what draws, and nothing that steers: a recording is what a stranger's programs wrote, and an operator's terminal would do
/// what it says. [value] Control sequences as in ECMA-48 and xterm's ctlseqs.
///
/// Out go all strings (titles, clipboard, hyperlinks, device control), every question that a terminal would answer as if it had been typed,
/// modes that change what keys and mouse send, and the 8-bit controls.
package struct TerminalFilter: Sendable {
    private enum State: Sendable {
        case text
        case escape
        case charset
        case control([UInt8])
        case string
        case stringEscape
    }

    /// Longer than any sequence that draws.
    private static let maximumSequence = 64
    private static let drawing = Set("@ABCDEFGHIJKLMPSTXZ`abdefgmrsu".utf8)
    /// DECCKM is not among them: it changes what the arrow keys send.
    private static let modes: Set<Int> = [3, 5, 6, 7, 12, 25, 45, 47, 69, 1047, 1048, 1049, 2026]

    private var state = State.text
    /// After 0xC2, which begins the 8-bit controls in UTF-8.
    private var follows0xC2 = false

    package init() {}

    package mutating func pass(_ bytes: some Sequence<UInt8>) -> [UInt8] {
        var out: [UInt8] = []
        for byte in bytes { take(byte, &out) }
        return out
    }

    private mutating func take(_ byte: UInt8, _ out: inout [UInt8]) {
        switch state {
        case .text: text(byte, &out)
        case .escape: escape(byte, &out)
        case .charset:
            state = .text
            if [0x30, 0x41, 0x42].contains(byte) { out += [0x1b, 0x28, byte] }
        case .control(let sequence): control(byte, sequence, &out)
        case .string:
            if byte == 0x07 || byte == 0x18 || byte == 0x1a { state = .text } else if byte == 0x1b { state = .stringEscape }
        case .stringEscape:
            state = byte == UInt8(ascii: "\\") ? .text : .string
        }
    }

    private mutating func text(_ byte: UInt8, _ out: inout [UInt8]) {
        if follows0xC2 {
            follows0xC2 = false
            if (0x80..<0xa0).contains(byte) { return }
            out.append(0xc2)
        }
        switch byte {
        case 0xc2: follows0xC2 = true
        case 0x1b: state = .escape
        case 0x08, 0x09, 0x0a, 0x0d, 0x0e, 0x0f: out.append(byte)
        case 0x00..<0x20, 0x7f: break
        default: out.append(byte)
        }
    }

    private mutating func escape(_ byte: UInt8, _ out: inout [UInt8]) {
        state = .text
        switch byte {
        case UInt8(ascii: "["): state = .control([])
        case UInt8(ascii: "]"), UInt8(ascii: "P"), UInt8(ascii: "X"), UInt8(ascii: "^"), UInt8(ascii: "_"): state = .string
        case UInt8(ascii: "("): state = .charset
        case UInt8(ascii: "7"), UInt8(ascii: "8"), UInt8(ascii: "D"), UInt8(ascii: "E"), UInt8(ascii: "H"), UInt8(ascii: "M"):
            out += [0x1b, byte]
        case 0x1b: state = .escape
        default: break
        }
    }

    private mutating func control(_ byte: UInt8, _ sequence: [UInt8], _ out: inout [UInt8]) {
        switch byte {
        case 0x20..<0x40 where sequence.count < Self.maximumSequence:
            state = .control(sequence + [byte])
        case 0x40..<0x7f:
            state = .text
            if Self.draws(byte, sequence) { out += [0x1b, 0x5b] + sequence + [byte] }
        case 0x1b:
            state = .escape
        default:
            state = .text
        }
    }

    private static func draws(_ final: UInt8, _ sequence: [UInt8]) -> Bool {
        let isPlain = sequence.allSatisfy { (0x30...0x3b).contains($0) }
        if final == UInt8(ascii: "h") || final == UInt8(ascii: "l") {
            if isPlain { return sequence == [UInt8(ascii: "4")] }
            guard sequence.first == UInt8(ascii: "?") else { return false }
            let numbers = sequence.dropFirst().split(separator: UInt8(ascii: ";")).map { Int(String(decoding: $0, as: UTF8.self)) }
            return !numbers.isEmpty && numbers.allSatisfy { $0.map(modes.contains) ?? false }
        }
        return isPlain && drawing.contains(final)
    }
}
