/// Words as one line that falls apart into the same words by the rules of POSIX (XCU 2.2). [value]
package enum ShellWords {
    package static func join(_ words: [String]) -> String { words.map(quoted).joined(separator: " ") }

    package static func quoted(_ word: String) -> String {
        if !word.isEmpty, word.utf8.allSatisfy(isPlain) { return word }
        // Between single quotes nothing has a meaning but the quote itself.
        return "'" + word.replacing("'", with: #"'\''"#) + "'"
    }

    private static func isPlain(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "0")...UInt8(ascii: "9"): true
        default: "%+,-./:=@_".utf8.contains(byte)
        }
    }
}
