/// A regular expression that a whole text has to match, in time proportional to the text whatever the pattern is.
///
/// The expression becomes a machine with a bounded number of states, and all of its states are followed at once (Thompson 1968;
/// https://swtch.com/~rsc/regexp/regexp1.html), so there is nothing to go back to and nothing to blow up. What RE2 and Java agree on
/// is understood: literals, classes, `\d \w \s`, Unicode categories, anchors, groups, alternatives and repetition. The rest (look-around,
/// back references, possessive repetition, class intersection) is refused, never ignored.
package struct Pattern: Sendable, Hashable {
    package let text: String
    private let program: [Instruction]
    private let sets: [ScalarSet]

    package static let maximumScalars = 4096
    package static let maximumRepetition = 1000
    static let maximumStates = 5000
    static let maximumNesting = 64
    /// States times characters that one match may look at; about half a second.
    static let maximumWork = 50_000_000

    package init(_ text: String) throws(PatternError) {
        var parser = PatternParser(text)
        let node = try parser.parse()
        var compiler = PatternCompiler()
        try compiler.compile(node)
        self.text = text
        program = compiler.program + [.match]
        sets = compiler.sets
    }

    /// Whether the whole of the text matches.
    package func matches(_ candidate: String) throws(PatternError) -> Bool {
        try matches([candidate])
    }

    /// Whether each text matches as a whole. The work is bounded over all of them together.
    package func matches(_ candidates: [String]) throws(PatternError) -> Bool {
        let characters = candidates.reduce(0) { $0 + $1.unicodeScalars.count + 1 }
        guard program.count * characters <= Self.maximumWork else {
            throw PatternError(
                "Too long to be checked against the allowed pattern \(text): there are \(characters) characters, and the pattern has "
                    + "\(program.count) states.")
        }
        return candidates.allSatisfy { matches(Array($0.unicodeScalars)) }
    }

    private func matches(_ scalars: [Unicode.Scalar]) -> Bool {
        var threads = Threads(count: program.count)
        follow(0, at: 0, in: scalars, into: &threads)
        for position in scalars.indices {
            if threads.list.isEmpty { return false }
            let current = threads.list
            threads.clear()
            for state in current {
                if case .set(let index) = program[state], sets[index].contains(scalars[position]) {
                    follow(state + 1, at: position + 1, in: scalars, into: &threads)
                }
            }
        }
        return threads.contains(program.count - 1)
    }

    /// Adds a state and all that are reached from it without reading a character.
    private func follow(_ start: Int, at position: Int, in scalars: [Unicode.Scalar], into threads: inout Threads) {
        var pending = [start]
        while let state = pending.popLast() {
            guard threads.insert(state) else { continue }
            switch program[state] {
            case .set, .match: threads.list.append(state)
            case .jump(let target): pending.append(target)
            case .split(let first, let second):
                pending.append(second)
                pending.append(first)
            case .assertion(let assertion):
                if assertion.holds(at: position, in: scalars) { pending.append(state + 1) }
            }
        }
    }

    enum Instruction: Sendable, Hashable {
        case set(Int)
        case split(Int, Int)
        case jump(Int)
        case assertion(Assertion)
        case match
    }

    private struct Threads {
        var list: [Int] = []
        private var generations: [Int]
        private var generation = 1

        init(count: Int) {
            generations = Array(repeating: 0, count: count)
        }

        mutating func clear() {
            list.removeAll(keepingCapacity: true)
            generation += 1
        }

        mutating func insert(_ state: Int) -> Bool {
            guard generations[state] != generation else { return false }
            generations[state] = generation
            return true
        }

        func contains(_ state: Int) -> Bool { generations[state] == generation }
    }
}

package struct PatternError: Error, Sendable, Hashable, CustomStringConvertible {
    package let description: String

    init(_ description: String) {
        self.description = description
    }
}

enum Assertion: Sendable, Hashable {
    case start
    case end
    case lineStart
    case lineEnd
    case wordBoundary
    case noWordBoundary

    func holds(at position: Int, in scalars: [Unicode.Scalar]) -> Bool {
        switch self {
        case .start: position == 0
        case .end: position == scalars.count
        case .lineStart: position == 0 || scalars[position - 1] == "\n"
        case .lineEnd: position == scalars.count || scalars[position] == "\n"
        case .wordBoundary: isBoundary(position, scalars)
        case .noWordBoundary: !isBoundary(position, scalars)
        }
    }

    private func isBoundary(_ position: Int, _ scalars: [Unicode.Scalar]) -> Bool {
        let before = position > 0 && ScalarSet.word.contains(scalars[position - 1])
        let after = position < scalars.count && ScalarSet.word.contains(scalars[position])
        return before != after
    }
}

indirect enum PatternNode {
    case empty
    case set(ScalarSet)
    case assertion(Assertion)
    case sequence([PatternNode])
    case choice([PatternNode])
    /// No maximum: any number.
    case repetition(PatternNode, minimum: Int, maximum: Int?)
}

private struct PatternCompiler {
    var program: [Pattern.Instruction] = []
    var sets: [ScalarSet] = []
    private var indices: [ScalarSet: Int] = [:]

    mutating func compile(_ node: PatternNode) throws(PatternError) {
        switch node {
        case .empty:
            // One state even for nothing, so that repeating nothing many times runs into the limit.
            try emit(.jump(program.count + 1))
        case .set(let set):
            let index = indices[set] ?? sets.count
            if index == sets.count {
                sets.append(set)
                indices[set] = index
            }
            try emit(.set(index))
        case .assertion(let assertion): try emit(.assertion(assertion))
        case .sequence(let nodes):
            if nodes.isEmpty { try compile(.empty) }
            for node in nodes { try compile(node) }
        case .choice(let nodes):
            var ends: [Int] = []
            for (index, node) in nodes.enumerated() {
                guard index < nodes.count - 1 else {
                    try compile(node)
                    break
                }
                let split = try emit(.match)
                try compile(node)
                ends.append(try emit(.match))
                program[split] = .split(split + 1, program.count)
            }
            for end in ends { program[end] = .jump(program.count) }
        case .repetition(let node, let minimum, let maximum):
            if maximum == 0 { return try compile(.empty) }
            for _ in 0..<minimum { try compile(node) }
            guard let maximum else {
                let split = try emit(.match)
                try compile(node)
                try emit(.jump(split))
                program[split] = .split(split + 1, program.count)
                return
            }
            var splits: [Int] = []
            for _ in minimum..<maximum {
                splits.append(try emit(.match))
                try compile(node)
            }
            for split in splits { program[split] = .split(split + 1, program.count) }
        }
    }

    @discardableResult
    private mutating func emit(_ instruction: Pattern.Instruction) throws(PatternError) -> Int {
        guard program.count < Pattern.maximumStates else {
            throw PatternError("The pattern is too large: written out in full it has more than \(Pattern.maximumStates) states.")
        }
        program.append(instruction)
        return program.count - 1
    }
}
