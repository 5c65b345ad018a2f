/// Collects what is wrong with an input and words it as SSM does (observed replies of the service, API version 2014-11-06):
///
///     2 validation errors detected: Value null at 'documentName' failed to satisfy constraint: Member must not be null; Value …
package struct Validation {
    /// A hostile body can hold a hundred thousand wrong members: all are counted, this many are told.
    private static let shown = 50
    /// A value longer than this is cut in messages.
    private static let shownScalars = 1024

    private var texts: [String] = []
    private var count = 0

    package init() {}

    package func failure() -> APIError? {
        guard self.count > 0 else { return nil }
        let head = self.count == 1 ? "1 validation error detected" : "\(self.count) validation errors detected"
        return .validation("\(head): \(self.texts.joined(separator: "; "))")
    }

    /// One broken constraint, in the words after "failed to satisfy constraint: ".
    package mutating func fail(_ path: String, _ value: (any JavaText)?, _ constraint: String) {
        self.add("Value \(Self.quoted(value)) at '\(path)'", constraint)
    }

    package mutating func required(_ path: String, _ value: Any?) {
        if value == nil { self.fail(path, nil, "Member must not be null") }
    }

    /// - Parameter secret: the value is left out of the message.
    package mutating func string(_ path: String, _ value: String?, _ constraints: TextConstraint..., secret: Bool = false) {
        self.string(path, value, constraints, secret: secret)
    }

    package mutating func string(_ path: String, _ value: String?, _ constraints: [TextConstraint], secret: Bool = false) {
        guard let value else {
            if constraints.contains(where: \.isRequired) { self.required(path, nil) }
            return
        }
        for constraint in constraints {
            for text in constraint.violations(of: value) {
                self.add(secret ? "Value at '\(path)'" : "Value \(Self.quoted(value)) at '\(path)'", text)
            }
        }
    }

    package mutating func integer(_ path: String, _ value: Int?, _ range: ClosedRange<Int>) {
        guard let value else { return }
        if value > range.upperBound { self.fail(path, value, "Member must have value less than or equal to \(range.upperBound)") }
        if value < range.lowerBound { self.fail(path, value, "Member must have value greater than or equal to \(range.lowerBound)") }
    }

    /// A list of strings: what is wrong inside is reported at the list, with all the constraints of its members.
    package mutating func strings(_ path: String, _ list: [String]?, count: ClosedRange<Int>? = nil, each: TextConstraint...) {
        guard let list, self.counted(path, list, count) else { return }
        let told = each.flatMap(\.texts)
        guard !told.isEmpty, list.contains(where: { value in each.contains { !$0.violations(of: value).isEmpty } }) else { return }
        self.fail(path, list, "Member must satisfy constraint: [\(told.joined(separator: ", "))]")
    }

    /// A list of structures: `check` gets each with its path, `targets.1.member`.
    package mutating func structures<Element: JavaText>(
        _ path: String, _ list: [Element]?, count: ClosedRange<Int>? = nil, check: (inout Validation, Element, String) -> Void
    ) {
        guard let list, self.counted(path, list, count) else { return }
        for (index, element) in list.enumerated() { check(&self, element, "\(path).\(index + 1).member") }
    }

    /// False when the list is too long: its members are then not looked at.
    private mutating func counted(_ path: String, _ list: [some JavaText], _ count: ClosedRange<Int>?) -> Bool {
        guard let count else { return true }
        if list.count < count.lowerBound { self.fail(path, list, "Member must have length greater than or equal to \(count.lowerBound)") }
        if list.count > count.upperBound { self.fail(path, list, "Member must have length less than or equal to \(count.upperBound)") }
        return list.count <= count.upperBound
    }

    private mutating func add(_ subject: String, _ constraint: String) {
        self.count += 1
        if self.texts.count < Self.shown { self.texts.append("\(subject) failed to satisfy constraint: \(constraint)") }
    }

    private static func quoted(_ value: (any JavaText)?) -> String {
        guard let value else { return "null" }
        let text = value.javaText
        guard text.utf8.count > Self.shownScalars else { return "'\(text)'" }
        var cut = String.UnicodeScalarView()
        cut.append(contentsOf: text.unicodeScalars.prefix(Self.shownScalars))
        return "'\(String(cut))...'"
    }
}

/// What the model asks of a string. Lengths count Unicode scalars.
package enum TextConstraint: Sendable {
    case required
    case minimum(Int)
    case maximum(Int)
    case length(ClosedRange<Int>)
    case pattern(Pattern)
    case oneOf([String])

    var isRequired: Bool {
        if case .required = self { true } else { false }
    }

    func violations(of value: String) -> [String] {
        switch self {
        case .required: return []
        case .minimum(let least): return value.unicodeScalars.count < least ? self.texts : []
        case .maximum(let most): return value.unicodeScalars.count > most ? self.texts : []
        case .length(let range):
            let length = value.unicodeScalars.count
            return TextConstraint.maximum(range.upperBound).violations(length) + TextConstraint.minimum(range.lowerBound).violations(length)
        case .pattern(let pattern): return pattern.matches(value) ? [] : self.texts
        case .oneOf(let values): return values.contains(value) ? [] : self.texts
        }
    }

    private func violations(_ length: Int) -> [String] {
        switch self {
        case .minimum(let least): length < least ? self.texts : []
        case .maximum(let most): length > most ? self.texts : []
        default: []
        }
    }

    var texts: [String] {
        switch self {
        case .required: []
        case .minimum(let least): ["Member must have length greater than or equal to \(least)"]
        case .maximum(let most): ["Member must have length less than or equal to \(most)"]
        case .length(let range): TextConstraint.maximum(range.upperBound).texts + TextConstraint.minimum(range.lowerBound).texts
        case .pattern(let pattern): ["Member must satisfy regular expression pattern: \(pattern.text)"]
        case .oneOf(let values): ["Member must satisfy enum value set: [\(values.joined(separator: ", "))]"]
        }
    }
}

/// How a value prints in the service's messages: Java's toString.
package protocol JavaText {
    var javaText: String { get }
}

extension String: JavaText {
    package var javaText: String { self }
}

extension Int: JavaText {
    package var javaText: String { String(self) }
}

extension Array: JavaText where Element: JavaText {
    package var javaText: String { "[\(self.lazy.prefix(1000).map(\.javaText).joined(separator: ", "))]" }
}

/// `Target(key=tag:a, values=[1])`: members that are absent are left out.
func javaStructure(_ name: String, _ members: [(String, (any JavaText)?)]) -> String {
    "\(name)(\(members.compactMap { name, value in value.map { "\(name)=\($0.javaText)" } }.joined(separator: ", ")))"
}
