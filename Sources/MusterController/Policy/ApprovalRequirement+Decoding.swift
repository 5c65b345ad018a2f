internal import MusterDocuments

extension ApprovalRequirement {
    /// `{"Approvers": ["alice", "group/leads"], "Count": 2, "Reason": true, "Ticket": "OPS-[0-9]+", "MaximumMinutes": 60,
    /// "EndSessions": true}`
    init(_ value: DocumentValue, at path: String) throws(PolicyError) {
        guard let members = value.object else { throw PolicyError(at: path, "Must be an object, and is \(value.kind).") }
        try refuseUnknownMembers(
            members, besides: ["Approvers", "Count", "Reason", "Ticket", "MaximumMinutes", "EndSessions"], at: path)
        let approvers = try Self.approvers(members["Approvers"], at: "\(path).Approvers")
        let count = try Self.number(members["Count"], in: Self.counts, at: "\(path).Count") ?? 1
        let hasGroup = approvers.contains { if case .group = $0 { true } else { false } }
        guard hasGroup || count <= approvers.count else {
            throw PolicyError(at: "\(path).Count", "\(count) have to approve, and only \(approvers.count) may.")
        }
        var ticket = Ticket.notNeeded
        switch members["Ticket"] {
        case nil, .bool(false): break
        case .bool(true): ticket = .any
        case .string(let pattern):
            do {
                _ = try Pattern(pattern)
            } catch {
                throw PolicyError(at: "\(path).Ticket", error.description)
            }
            ticket = .matching(pattern)
        case let other?: throw PolicyError(at: "\(path).Ticket", "Must be true, false or a pattern for the ticket, and is \(other.kind).")
        }
        self.init(
            approvers: approvers, count: count, needsReason: try Self.flag(members["Reason"], at: "\(path).Reason") ?? false,
            ticket: ticket,
            maximumMinutes: try Self.number(members["MaximumMinutes"], in: Self.minutes, at: "\(path).MaximumMinutes")
                ?? Self.defaultMinutes,
            endsSessions: try Self.flag(members["EndSessions"], at: "\(path).EndSessions") ?? true)
    }

    private static func approvers(_ value: DocumentValue?, at path: String) throws(PolicyError) -> [Approver] {
        guard let texts = value?.strings ?? value?.string.map({ [$0] }), (1...maximumApprovers).contains(texts.count) else {
            throw PolicyError(
                at: path, "Must be a list of 1 to \(maximumApprovers) approvers: \"alice\" is a user, \"group/leads\" a group.")
        }
        var approvers: [Approver] = []
        for text in texts {
            let isGroup = text.hasPrefix("group/")
            let name = String(isGroup ? text.dropFirst("group/".count) : Substring(text))
            // IAM's names, https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
            let allowed = name.utf8.allSatisfy {
                (0x30...0x39).contains($0) || (0x61...0x7A).contains($0 | 0x20) || Array("+=,.@-_".utf8).contains($0)
            }
            guard (1...128).contains(name.utf8.count), allowed else {
                throw PolicyError(at: path, "'\(text.prefix(140))' is no approver: \"alice\" is a user, \"group/leads\" a group.")
            }
            let approver: Approver = isGroup ? .group(name) : .user(name)
            guard !approvers.contains(approver) else { throw PolicyError(at: path, "\(approver) is named twice.") }
            approvers.append(approver)
        }
        return approvers
    }

    private static func number(_ value: DocumentValue?, in range: ClosedRange<Int>, at path: String) throws(PolicyError) -> Int? {
        guard let value else { return nil }
        guard let number = value.integer, range.contains(Int(clamping: number)) else {
            throw PolicyError(at: path, "Must be a whole number from \(range.lowerBound) to \(range.upperBound).")
        }
        return Int(number)
    }

    private static func flag(_ value: DocumentValue?, at path: String) throws(PolicyError) -> Bool? {
        guard let value else { return nil }
        guard let flag = value.bool else { throw PolicyError(at: path, "Must be true or false, and is \(value.kind).") }
        return flag
    }
}
