import MusterWire

/// What somebody reads before they decide, or to know all of one thing: a name and its values, nothing left out. [value]
///
/// Lines wrap under each other instead of being cut, each value has a line of its own, and what could hide is written out
/// (`DisplayText.complete`).
package struct FactSheet: Sendable, Equatable {
    package private(set) var facts: [(name: String, values: [String])] = []

    package init() {}

    package static func == (left: FactSheet, right: FactSheet) -> Bool {
        left.facts.elementsEqual(right.facts) { $0.name == $1.name && $0.values == $1.values }
    }

    /// Facts without values are not there.
    package mutating func add(_ name: String, _ values: [String]) {
        if !values.isEmpty { facts.append((name, values)) }
    }

    package mutating func add(_ name: String, _ value: String) {
        if !value.isEmpty { facts.append((name, [value])) }
    }

    /// - Parameter width: the terminal's; nil wraps nothing.
    package func lines(width: Int? = nil) -> [String] {
        // Names may be of others too: parameters have them.
        let named = facts.map { (name: DisplayText.line($0.name), values: $0.values) }
        let margin = min(named.map { TextWidth.of($0.name) }.max() ?? 0, 24) + 2
        return named.flatMap { name, values -> [String] in
            var lines = TextWidth.of(name) + 2 > margin ? [name] : []
            for (number, value) in values.enumerated() {
                // Of several values the border of each is seen, whatever is in it.
                let mark = values.count > 1 ? "\(number + 1). " : ""
                let room = width.map { max(20, $0 - margin - TextWidth.of(mark)) }
                for (row, piece) in DisplayText.complete(value).flatMap({ FactSheet.wrapped($0, to: room) }).enumerated() {
                    let lead = lines.isEmpty ? name : ""
                    let indent = row == 0 ? mark : String(repeating: " ", count: mark.count)
                    lines.append(lead + String(repeating: " ", count: max(0, margin - TextWidth.of(lead))) + indent + piece)
                }
            }
            return lines
        }
    }

    /// A line that goes on is marked at its end, so that the wrap is not taken for a line break of the text.
    private static func wrapped(_ line: String, to room: Int?) -> [String] {
        guard let room, TextWidth.of(line) > room else { return [line] }
        var pieces: [String] = []
        var piece = String.UnicodeScalarView()
        var used = 0
        for scalar in line.unicodeScalars {
            let more = TextWidth.of(String(scalar))
            if used + more > room - 1 {
                pieces.append(String(piece) + "↩")
                (piece, used) = (.init(), 0)
            }
            piece.append(scalar)
            used += more
        }
        return pieces + [String(piece)]
    }
}
