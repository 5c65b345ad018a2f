/// The characters that one place of a pattern accepts.
struct ScalarSet: Sendable, Hashable {
    var ranges: [ClosedRange<UInt32>] = []
    var categories: [Category] = []
    var isNegated = false
    var ignoresCase = false

    /// A Unicode general category by its short name (`L`, `Lu`, `Nd` …), or its complement.
    struct Category: Sendable, Hashable {
        var name: String
        var isNegated: Bool
    }

    init(ranges: [ClosedRange<UInt32>] = [], isNegated: Bool = false) {
        self.ranges = ranges
        self.isNegated = isNegated
    }

    init(_ scalar: Unicode.Scalar) {
        ranges = [scalar.value...scalar.value]
    }

    func contains(_ scalar: Unicode.Scalar) -> Bool {
        holds(scalar) != isNegated
    }

    private func holds(_ scalar: Unicode.Scalar) -> Bool {
        if includes(scalar) { return true }
        guard ignoresCase else { return false }
        return [scalar.properties.lowercaseMapping, scalar.properties.uppercaseMapping].contains { mapping in
            guard let other = mapping.unicodeScalars.first, mapping.unicodeScalars.count == 1 else { return false }
            return other != scalar && includes(other)
        }
    }

    private func includes(_ scalar: Unicode.Scalar) -> Bool {
        if ranges.contains(where: { $0.contains(scalar.value) }) { return true }
        guard !categories.isEmpty else { return false }
        let category = scalar.properties.generalCategory.shortName
        return categories.contains { category.hasPrefix($0.name) != $0.isNegated }
    }

    static let all: ClosedRange<UInt32> = 0...0x10FFFF

    /// Everything that these ranges leave out.
    static func complement(of ranges: [ClosedRange<UInt32>]) -> [ClosedRange<UInt32>] {
        var result: [ClosedRange<UInt32>] = []
        var next: UInt32 = 0
        for range in ranges.sorted(by: { $0.lowerBound < $1.lowerBound }) {
            if range.lowerBound > next { result.append(next...(range.lowerBound - 1)) }
            next = max(next, range.upperBound + 1)
        }
        if next <= all.upperBound { result.append(next...all.upperBound) }
        return result
    }

    // ASCII only, as in RE2 and in Java without UNICODE_CHARACTER_CLASS.
    static let digitRanges: [ClosedRange<UInt32>] = [0x30...0x39]
    static let wordRanges: [ClosedRange<UInt32>] = [0x30...0x39, 0x41...0x5A, 0x5F...0x5F, 0x61...0x7A]
    static let spaceRanges: [ClosedRange<UInt32>] = [0x09...0x0D, 0x20...0x20]
    static let word = ScalarSet(ranges: wordRanges)
    /// Java's line terminators, which `.` does not match.
    static let anyButLineEnd = ScalarSet(
        ranges: [0x0A...0x0A, 0x0D...0x0D, 0x85...0x85, 0x2028...0x2029], isNegated: true)

    /// The POSIX classes, `[:alpha:]` and `\p{Alpha}`.
    static func posix(_ name: String) -> [ClosedRange<UInt32>]? {
        switch name.lowercased() {
        case "ascii": [0x00...0x7F]
        case "alpha": [0x41...0x5A, 0x61...0x7A]
        case "alnum": [0x30...0x39, 0x41...0x5A, 0x61...0x7A]
        case "digit": digitRanges
        case "lower": [0x61...0x7A]
        case "upper": [0x41...0x5A]
        case "xdigit": [0x30...0x39, 0x41...0x46, 0x61...0x66]
        case "punct": [0x21...0x2F, 0x3A...0x40, 0x5B...0x60, 0x7B...0x7E]
        case "graph": [0x21...0x7E]
        case "print": [0x20...0x7E]
        case "blank": [0x09...0x09, 0x20...0x20]
        case "space": spaceRanges
        case "cntrl": [0x00...0x1F, 0x7F...0x7F]
        case "word": wordRanges
        default: nil
        }
    }

    static let categoryNames: Set<String> = [
        "L", "Lu", "Ll", "Lt", "Lm", "Lo", "M", "Mn", "Mc", "Me", "N", "Nd", "Nl", "No", "P", "Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po",
        "S", "Sm", "Sc", "Sk", "So", "Z", "Zs", "Zl", "Zp", "C", "Cc", "Cf", "Cs", "Co", "Cn",
    ]
}

extension Unicode.GeneralCategory {
    var shortName: String {
        switch self {
        case .uppercaseLetter: "Lu"
        case .lowercaseLetter: "Ll"
        case .titlecaseLetter: "Lt"
        case .modifierLetter: "Lm"
        case .otherLetter: "Lo"
        case .nonspacingMark: "Mn"
        case .spacingMark: "Mc"
        case .enclosingMark: "Me"
        case .decimalNumber: "Nd"
        case .letterNumber: "Nl"
        case .otherNumber: "No"
        case .connectorPunctuation: "Pc"
        case .dashPunctuation: "Pd"
        case .openPunctuation: "Ps"
        case .closePunctuation: "Pe"
        case .initialPunctuation: "Pi"
        case .finalPunctuation: "Pf"
        case .otherPunctuation: "Po"
        case .mathSymbol: "Sm"
        case .currencySymbol: "Sc"
        case .modifierSymbol: "Sk"
        case .otherSymbol: "So"
        case .spaceSeparator: "Zs"
        case .lineSeparator: "Zl"
        case .paragraphSeparator: "Zp"
        case .control: "Cc"
        case .format: "Cf"
        case .surrogate: "Cs"
        case .privateUse: "Co"
        case .unassigned: "Cn"
        @unknown default: "Cn"
        }
    }
}
