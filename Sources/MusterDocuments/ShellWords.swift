/// Splits a line into words as a POSIX shell does, and does nothing else that a shell would (XCU 2.2): quotes and backslashes are taken
/// away, variables, patterns and operators stay as they are.
package enum ShellWords {
    /// Nothing if a quote has no end.
    package static func split(_ line: String) -> [String]? {
        var words: [String] = []
        var word = String.UnicodeScalarView()
        var isWord = false
        var scalars = line.unicodeScalars.makeIterator()
        while let scalar = scalars.next() {
            switch scalar {
            case " ", "\t", "\n", "\r":
                if isWord { words.append(String(word)) }
                word = String.UnicodeScalarView()
                isWord = false
            case "'":
                isWord = true
                while true {
                    guard let inner = scalars.next() else { return nil }
                    if inner == "'" { break }
                    word.append(inner)
                }
            case "\"":
                isWord = true
                while true {
                    guard let inner = scalars.next() else { return nil }
                    if inner == "\"" { break }
                    guard inner == "\\" else {
                        word.append(inner)
                        continue
                    }
                    guard let escaped = scalars.next() else { return nil }
                    if escaped == "\n" { continue }
                    if !"$`\"\\".unicodeScalars.contains(escaped) { word.append(inner) }
                    word.append(escaped)
                }
            case "\\":
                guard let escaped = scalars.next() else { return nil }
                if escaped == "\n" { continue }
                isWord = true
                word.append(escaped)
            default:
                isWord = true
                word.append(scalar)
            }
        }
        if isWord { words.append(String(word)) }
        return words
    }
}
