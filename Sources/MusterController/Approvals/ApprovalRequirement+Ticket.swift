internal import MusterDocuments

extension ApprovalRequirement.Ticket {
    /// What issue trackers call their issues.
    private static let usual = "[A-Za-z][A-Za-z0-9_]*-[0-9]+|#[0-9]+"

    /// The ticket among the words of a reason: SSM's calls have no member of their own for it. Empty where none is needed, nil where it is
    /// missing.
    func named(in reason: String) -> String? {
        let text: String
        switch self {
        case .notNeeded: return ""
        case .any: text = Self.usual
        case .matching(let pattern): text = pattern
        }
        guard let pattern = try? Pattern(text) else { return nil }
        let separators: Set<Character> = [" ", ",", ";", ":", "(", ")", "[", "]", "\t", "\n"]
        return reason.split(whereSeparator: separators.contains).map { $0.last == "." ? String($0.dropLast()) : String($0) }
            .first { (try? pattern.matches($0)) == true }
    }
}
