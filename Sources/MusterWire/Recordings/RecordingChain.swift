import MusterCrypto

/// The digest that ties every line of a recording to all lines before it. [value]
///
///     head(0) = SHA-256("muster recording 1" LF, session, LF)
///     head(n) = SHA-256(head(n-1), line n with its line feed, place n)
///
/// Line 1 is the header. `<session>.chain` has one line for each of the recording's: head(n) in hexadecimal, a space, place(n). So the
/// recording itself stays a plain asciicast, and the first line that does not fit can be named. A place says which frame a line came
/// from: that is what a controller that was restarted goes on with.
package struct RecordingChain: Sendable, Equatable {
    package private(set) var head: [UInt8]
    package private(set) var lines: Int64 = 0
    /// Bytes of the recording.
    package private(set) var length: Int64 = 0

    package init(_ session: SessionID) {
        head = SHA256.hash("muster recording 1\n\(session)\n")
    }

    /// - Parameter line: with its line feed.
    /// - Returns: the line of the chain's file, with its line feed.
    package mutating func append(_ line: [UInt8], _ place: RecordingPlace) -> [UInt8] {
        var link: [UInt8] = []
        append(line[...], place, to: &link)
        return link
    }

    /// The same for a line among others, and to the chain's lines before it.
    package mutating func append(_ line: ArraySlice<UInt8>, _ place: RecordingPlace, to links: inout [UInt8]) {
        var text: [UInt8] = []
        place.write(to: &text)
        head = Self.head(after: head, line, text)
        lines += 1
        length += Int64(line.count)
        links.reserveCapacity(links.count + 2 * head.count + text.count + 2)
        Hex.append(head, to: &links)
        links.append(0x20)
        links += text
        links.append(0x0a)
    }

    static func head(after head: [UInt8], _ line: ArraySlice<UInt8>, _ place: [UInt8]) -> [UInt8] {
        var digested: [UInt8] = []
        digested.reserveCapacity(head.count + line.count + place.count)
        digested += head
        digested += line
        digested += place
        return SHA256.hash(digested)
    }

    package var mark: RecordingMark { RecordingMark(length: length, lines: lines, head: Hex.encode(head)) }
}

/// How far a recording has come. [value]
package struct RecordingMark: Codable, Sendable, Equatable {
    package var length: Int64
    package var lines: Int64
    /// Hexadecimal.
    package var head: String

    package init(length: Int64, lines: Int64, head: String) {
        self.length = length
        self.lines = lines
        self.head = head
    }
}

/// Where a line of a recording comes from. [value]
package enum RecordingPlace: Sendable, Equatable, CustomStringConvertible {
    /// From no frame: the header, a marker.
    case none
    /// From a frame that has more lines.
    case goesOn
    /// The last line of an agent's (`a`) or a client's (`c`) frame, with the first 16 bytes of the SHA-256 of its payload, and its kind. The
    /// kind is nil where an earlier release wrote the line.
    case agent(Int64, digest: [UInt8], kind: FrameKind?)
    case client(Int64, digest: [UInt8], kind: FrameKind?)

    package static let digestBytes = 16

    package var description: String {
        var text: [UInt8] = []
        write(to: &text)
        return String(decoding: text, as: UTF8.self)
    }

    func write(to text: inout [UInt8]) {
        switch self {
        case .none: text.append(UInt8(ascii: "-"))
        case .goesOn: text.append(UInt8(ascii: "+"))
        case .agent(let number, let digest, let kind): Self.write(UInt8(ascii: "a"), number, digest, kind, to: &text)
        case .client(let number, let digest, let kind): Self.write(UInt8(ascii: "c"), number, digest, kind, to: &text)
        }
    }

    private static func write(_ side: UInt8, _ number: Int64, _ digest: [UInt8], _ kind: FrameKind?, to text: inout [UInt8]) {
        text.reserveCapacity(RecordingLink.maximumLength)
        text.append(side)
        text.append(decimal: number)
        text.append(UInt8(ascii: ":"))
        Hex.append(digest, to: &text)
        guard let kind else { return }
        text.append(UInt8(ascii: ":"))
        text.append(decimal: kind.payloadType.rawValue)
        text.append(UInt8(ascii: ":"))
        text.append(decimal: kind.flags)
    }

    package init?(_ text: Substring) {
        switch text {
        case "-": self = .none
        case "+": self = .goesOn
        default:
            let parts = text.dropFirst().split(separator: ":", omittingEmptySubsequences: false)
            guard parts.count == 2 || parts.count == 4, let number = Int64(parts[0]), number >= 0, number < .max,
                String(number) == parts[0], let digest = Hex.decode(String(parts[1])), digest.count == Self.digestBytes
            else { return nil }
            var kind: FrameKind?
            if parts.count == 4 {
                guard let read = Self.kind(parts[2], parts[3]) else { return nil }
                kind = read
            }
            switch text.first {
            case "a": self = .agent(number, digest: digest, kind: kind)
            case "c": self = .client(number, digest: digest, kind: kind)
            default: return nil
            }
        }
    }

    /// In the one way in which they are written.
    private static func kind(_ type: Substring, _ flags: Substring) -> FrameKind? {
        guard let type = UInt32(type).flatMap({ String($0) == type ? $0 : nil }),
            let flags = UInt64(flags).flatMap({ String($0) == flags ? $0 : nil })
        else { return nil }
        return FrameKind(payloadType: PayloadType(rawValue: type), flags: flags)
    }
}

extension [UInt8] {
    /// The digits of a number, as in `String(number)`.
    mutating func append(decimal number: some BinaryInteger) {
        guard number > 9 else {
            if number >= 0 { append(UInt8(ascii: "0") + UInt8(number)) } else { append(contentsOf: String(number).utf8) }
            return
        }
        append(decimal: number / 10)
        append(UInt8(ascii: "0") + UInt8(number % 10))
    }
}

/// One line of the chain's file.
package struct RecordingLink: Sendable, Equatable {
    /// No link is longer: 64 digits, a space, a side, 19 digits, a colon, 32 digits, a colon, 10 digits, a colon, 20 digits.
    package static let maximumLength = 192

    package let head: [UInt8]
    package let place: RecordingPlace

    /// - Parameter line: without its line feed.
    package init?(_ line: some Collection<UInt8>) {
        guard line.count <= Self.maximumLength else { return nil }
        let parts = String(decoding: line, as: UTF8.self).split(separator: " ", omittingEmptySubsequences: false)
        guard parts.count == 2, let head = Hex.decode(String(parts[0])), head.count == 32, let place = RecordingPlace(parts[1]) else {
            return nil
        }
        (self.head, self.place) = (head, place)
    }
}
