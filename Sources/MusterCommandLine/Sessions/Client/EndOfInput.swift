/// How a terminal at the other end is told that no more comes. [value]
///
/// A terminal knows no end of input but the character for it, and that counts only for who reads at the time: one that comes before a shell
/// has set its terminal up is thrown away, and one that a program reads does not end the shell behind it. So it is said again, more and more
/// rarely, until the session is over. A character that nobody needed does no harm: at the end of a line it is nothing else.
struct EndOfInput: Sendable {
    private static let endOfTransmission: UInt8 = 0x04
    private static let pauses = [200, 400, 800, 1_600, 3_200, 6_400, 12_800, 25_600]

    private let endsLine: Bool
    private var count = 0

    /// - Parameter endsLine: nothing is left of a line that was begun.
    init(endsLine: Bool) { self.endsLine = endsLine }

    /// What to send, and milliseconds to wait for the session's end.
    mutating func next() -> (bytes: [UInt8], pause: Int) {
        defer { count += 1 }
        let pause = Self.pauses[min(count, Self.pauses.count - 1)]
        if endsLine || count > 1 { return ([Self.endOfTransmission], pause) }
        // In the middle of a line it takes two, the first of which ends the line. A shell that edits its line takes neither.
        return (count == 0 ? [Self.endOfTransmission, Self.endOfTransmission] : [0x0D, Self.endOfTransmission], pause)
    }
}
