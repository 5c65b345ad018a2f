/// `~.` and its like in what is typed, right after a newline, as OpenSSH has them. Across any cut of the input. [value]
package struct EscapeScanner: Sendable, Equatable {
    package enum Event: Sendable, Equatable {
        case bytes([UInt8])
        /// `~.`
        case end
        /// `~^Z`
        case suspend
        /// `~?`
        case help
    }

    package static let help = """
        Escapes, after a newline:
          ~.   end the session
          ~^Z  suspend muster
          ~~   send one ~
          ~?   this list
        """

    private static let escape = UInt8(ascii: "~")

    private var isAtStart = true
    /// A `~` at the start of a line, not yet sent.
    private var isEscaping = false

    package init() {}

    package mutating func push(_ input: [UInt8]) -> [Event] {
        // Nearly all of what is typed, and all of what is pasted, has no escape in it.
        if !isEscaping, !input.contains(Self.escape) {
            if let last = input.last { isAtStart = last == 0x0D || last == 0x0A }
            return input.isEmpty ? [] : [.bytes(input)]
        }
        var events: [Event] = []
        var bytes: [UInt8] = []
        func flush() {
            if !bytes.isEmpty { events.append(.bytes(bytes)) }
            bytes = []
        }
        for byte in input {
            if isEscaping {
                isEscaping = false
                switch byte {
                case UInt8(ascii: "."):
                    flush()
                    // What follows was not meant for the session any more.
                    return events + [.end]
                case 0x1A:
                    flush()
                    events.append(.suspend)
                    isAtStart = true
                    continue
                case UInt8(ascii: "?"):
                    flush()
                    events.append(.help)
                    isAtStart = true
                    continue
                case Self.escape:
                    bytes.append(Self.escape)
                    isAtStart = false
                    continue
                default:
                    bytes.append(Self.escape)
                }
            } else if isAtStart, byte == Self.escape {
                isEscaping = true
                continue
            }
            bytes.append(byte)
            isAtStart = byte == 0x0D || byte == 0x0A
        }
        flush()
        return events
    }
}
