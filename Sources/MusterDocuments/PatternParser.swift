/// Reads a regular expression; see `Pattern` for what it may hold.
struct PatternParser {
    private let text: [Unicode.Scalar]
    private var position = 0

    private struct Flags {
        var ignoresCase = false
        var dotMatchesLineEnd = false
        var linesHaveAnchors = false
    }

    init(_ text: String) {
        self.text = Array(text.unicodeScalars)
    }

    mutating func parse() throws(PatternError) -> PatternNode {
        guard text.count <= Pattern.maximumScalars else {
            throw PatternError("A pattern may have \(Pattern.maximumScalars) characters; this one has \(text.count).")
        }
        let node = try alternatives(Flags(), depth: 0)
        guard position == text.count else { throw refusal("')' without a '('") }
        return node
    }

    private mutating func alternatives(_ outer: Flags, depth: Int) throws(PatternError) -> PatternNode {
        guard depth <= Pattern.maximumNesting else { throw refusal("groups nested more than \(Pattern.maximumNesting) deep") }
        var flags = outer
        var choices: [PatternNode] = []
        var sequence: [PatternNode] = []
        while let scalar = peek, scalar != ")" {
            if scalar == "|" {
                position += 1
                choices.append(.sequence(sequence))
                sequence = []
            } else if let node = try atom(&flags, depth: depth) {
                sequence.append(try repeated(node))
            }
        }
        choices.append(.sequence(sequence))
        return choices.count == 1 ? choices[0] : .choice(choices)
    }

    /// nil: a setting of flags, which matches nothing itself.
    private mutating func atom(_ flags: inout Flags, depth: Int) throws(PatternError) -> PatternNode? {
        let scalar = text[position]
        switch scalar {
        case "(":
            position += 1
            guard let inner = try groupFlags(&flags) else { return nil }
            let node = try alternatives(inner, depth: depth + 1)
            guard take(")") else { throw refusal("'(' without a ')'") }
            return node
        case "[":
            position += 1
            var set = try characterClass()
            set.ignoresCase = flags.ignoresCase
            return .set(set)
        case ".":
            position += 1
            return .set(flags.dotMatchesLineEnd ? ScalarSet(ranges: [ScalarSet.all]) : .anyButLineEnd)
        case "^":
            position += 1
            return .assertion(flags.linesHaveAnchors ? .lineStart : .start)
        case "$":
            position += 1
            return .assertion(flags.linesHaveAnchors ? .lineEnd : .end)
        case "*", "+", "?": throw refusal("'\(scalar)' with nothing before it to repeat")
        case "{": throw refusal("'{' with nothing before it to repeat; a brace as such is written \\{")
        case "\\":
            switch following {
            case "b": return simple(.assertion(.wordBoundary))
            case "B": return simple(.assertion(.noWordBoundary))
            case "A": return simple(.assertion(.start))
            case "z": return simple(.assertion(.end))
            default:
                var set = try escape()
                set.ignoresCase = flags.ignoresCase
                return .set(set)
            }
        default:
            position += 1
            var set = ScalarSet(scalar)
            set.ignoresCase = flags.ignoresCase
            return .set(set)
        }
    }

    private mutating func simple(_ node: PatternNode) -> PatternNode {
        position += 2
        return node
    }

    /// What follows a `(`: the flags within the group. nil: it was `(?i)` or so, and closed already.
    private mutating func groupFlags(_ flags: inout Flags) throws(PatternError) -> Flags? {
        guard take("?") else { return flags }
        if take(":") { return flags }
        if take("=") || take("!") { throw refusal("look-ahead") }
        if take(">") { throw refusal("an atomic group") }
        if take("P") {
            guard take("<") else { throw refusal("a reference to a group") }
            try groupName()
            return flags
        }
        if take("<") {
            if peek == "=" || peek == "!" { throw refusal("look-behind") }
            try groupName()
            return flags
        }
        var changed = flags
        var value = true
        while let scalar = peek {
            position += 1
            switch scalar {
            case "-" where value: value = false
            case "i": changed.ignoresCase = value
            case "s": changed.dotMatchesLineEnd = value
            case "m": changed.linesHaveAnchors = value
            case ":": return changed
            case ")":
                flags = changed
                return nil
            default: throw refusal("the flag '\(scalar)'")
            }
        }
        throw refusal("'(' without a ')'")
    }

    private mutating func groupName() throws(PatternError) {
        let start = position
        while let scalar = peek, ScalarSet.word.contains(scalar) { position += 1 }
        guard position > start, take(">") else { throw refusal("a group's name that is not made of letters, digits and '_'") }
    }

    private mutating func repeated(_ node: PatternNode) throws(PatternError) -> PatternNode {
        var result: PatternNode
        switch peek {
        case "*":
            position += 1
            result = .repetition(node, minimum: 0, maximum: nil)
        case "+":
            position += 1
            result = .repetition(node, minimum: 1, maximum: nil)
        case "?":
            position += 1
            result = .repetition(node, minimum: 0, maximum: 1)
        case "{":
            position += 1
            let minimum = try count()
            var maximum: Int? = minimum
            if take(",") { maximum = peek == "}" ? nil : try count() }
            guard take("}") else { throw refusal("a repetition without its '}'; a brace as such is written \\{") }
            if let maximum, maximum < minimum { throw refusal("a repetition whose maximum is below its minimum") }
            result = .repetition(node, minimum: minimum, maximum: maximum)
        default: return node
        }
        // Which of several matches is preferred makes no difference to whether there is one.
        if take("?") { return result }
        if peek == "+" { throw refusal("possessive repetition") }
        if peek == "*" || peek == "{" { throw refusal("a repetition of a repetition") }
        return result
    }

    private mutating func count() throws(PatternError) -> Int {
        var value = 0
        let start = position
        while let scalar = peek, ("0"..."9").contains(scalar) {
            value = value * 10 + Int(scalar.value - 0x30)
            guard value <= Pattern.maximumRepetition else { throw refusal("a repetition of more than \(Pattern.maximumRepetition)") }
            position += 1
        }
        guard position > start else { throw refusal("a repetition without a number; a brace as such is written \\{") }
        return value
    }

    // MARK: Classes and escapes

    private mutating func characterClass() throws(PatternError) -> ScalarSet {
        var set = ScalarSet()
        set.isNegated = take("^")
        var isFirst = true
        while let scalar = peek {
            if scalar == "]" {
                guard !isFirst else { throw refusal("an empty class; a bracket as such is written \\]") }
                position += 1
                return set
            }
            isFirst = false
            if scalar == "[" {
                try posixClass(into: &set)
                continue
            }
            if scalar == "&", following == "&" { throw refusal("an intersection of classes") }
            let element = try classElement()
            guard let lower = element.only else {
                if peek == "-", following != "]" { throw refusal("a range that starts with a class") }
                set.ranges += element.ranges
                set.categories += element.categories
                continue
            }
            guard peek == "-", let end = following, end != "]" else {
                set.ranges.append(lower...lower)
                continue
            }
            position += 1
            if end == "[" { throw refusal("'[' within a class; written as such it is \\[") }
            guard let upper = try classElement().only else { throw refusal("a range that ends with a class") }
            guard lower <= upper else { throw refusal("a range that ends before it starts") }
            set.ranges.append(lower...upper)
        }
        throw refusal("'[' without a ']'")
    }

    private mutating func classElement() throws(PatternError) -> ScalarSet {
        if peek == "\\" { return try escape() }
        guard let scalar = peek else { throw refusal("'[' without a ']'") }
        position += 1
        return ScalarSet(scalar)
    }

    private mutating func posixClass(into set: inout ScalarSet) throws(PatternError) {
        guard following == ":" else { throw refusal("'[' within a class; written as such it is \\[") }
        position += 2
        let isNegated = take("^")
        var name = ""
        while let scalar = peek, scalar != ":" {
            name.unicodeScalars.append(scalar)
            position += 1
        }
        guard take(":"), take("]"), name == name.lowercased(), let ranges = ScalarSet.posix(name) else {
            throw refusal("an unknown class in '[: :]'")
        }
        set.ranges += isNegated ? ScalarSet.complement(of: ranges) : ranges
    }

    private mutating func escape() throws(PatternError) -> ScalarSet {
        position += 1
        guard let scalar = peek else { throw refusal("'\\' at the end") }
        position += 1
        switch scalar {
        case "d": return ScalarSet(ranges: ScalarSet.digitRanges)
        case "D": return ScalarSet(ranges: ScalarSet.complement(of: ScalarSet.digitRanges))
        case "w": return ScalarSet(ranges: ScalarSet.wordRanges)
        case "W": return ScalarSet(ranges: ScalarSet.complement(of: ScalarSet.wordRanges))
        case "s": return ScalarSet(ranges: ScalarSet.spaceRanges)
        case "S": return ScalarSet(ranges: ScalarSet.complement(of: ScalarSet.spaceRanges))
        case "t": return ScalarSet("\t")
        case "n": return ScalarSet("\n")
        case "r": return ScalarSet("\r")
        case "f": return ScalarSet("\u{0C}")
        case "a": return ScalarSet("\u{07}")
        case "x": return ScalarSet(try hexadecimal(digits: 2, bracesAllowed: true))
        case "u": return ScalarSet(try hexadecimal(digits: 4, bracesAllowed: false))
        case "p": return try category(isNegated: false)
        case "P": return try category(isNegated: true)
        case "1"..."9", "k": throw refusal("a back reference")
        default:
            let isLetterOrDigit = scalar.isASCII && UInt8(truncatingIfNeeded: scalar.value).isLetterOrDigit
            guard !isLetterOrDigit else { throw refusal("the escape '\\\(scalar)'") }
            return ScalarSet(scalar)
        }
    }

    private mutating func hexadecimal(digits: Int, bracesAllowed: Bool) throws(PatternError) -> Unicode.Scalar {
        let hasBraces = bracesAllowed && take("{")
        var value: UInt32 = 0
        var count = 0
        while let scalar = peek, count < (hasBraces ? 6 : digits), scalar.isASCII, let digit = Character(scalar).hexDigitValue {
            value = value << 4 | UInt32(digit)
            count += 1
            position += 1
        }
        guard hasBraces ? count > 0 && take("}") : count == digits, let scalar = Unicode.Scalar(value) else {
            throw refusal("a character code that is none")
        }
        return scalar
    }

    private mutating func category(isNegated: Bool) throws(PatternError) -> ScalarSet {
        var name = ""
        if take("{") {
            while let scalar = peek, scalar != "}" {
                name.unicodeScalars.append(scalar)
                position += 1
            }
            guard take("}") else { throw refusal("\\p{ without its '}'") }
        } else if let scalar = peek {
            name.unicodeScalars.append(scalar)
            position += 1
        }
        // Java also writes \p{IsL}.
        let short = name.hasPrefix("Is") ? String(name.dropFirst(2)) : name
        if ScalarSet.categoryNames.contains(short) {
            var set = ScalarSet()
            set.categories = [ScalarSet.Category(name: short, isNegated: isNegated)]
            return set
        }
        guard let first = name.first, first.isUppercase, let ranges = ScalarSet.posix(name) else {
            throw refusal("the character property '\(name.prefix(40))'")
        }
        return ScalarSet(ranges: isNegated ? ScalarSet.complement(of: ranges) : ranges)
    }

    // MARK: Reading

    private var peek: Unicode.Scalar? { position < text.count ? text[position] : nil }
    private var following: Unicode.Scalar? { position + 1 < text.count ? text[position + 1] : nil }

    private mutating func take(_ scalar: Unicode.Scalar) -> Bool {
        guard peek == scalar else { return false }
        position += 1
        return true
    }

    private func refusal(_ what: String) -> PatternError {
        PatternError("The pattern is not served: it holds \(what), near character \(min(position + 1, text.count)).")
    }
}

extension ScalarSet {
    /// The one character of a set of one.
    fileprivate var only: UInt32? {
        guard ranges.count == 1, categories.isEmpty, ranges[0].count == 1 else { return nil }
        return ranges[0].lowerBound
    }
}
