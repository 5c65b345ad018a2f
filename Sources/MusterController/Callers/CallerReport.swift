internal import MusterWire

/// Users, groups and policies as the local administrator sees them. [value]
enum CallerReport {
    static func users(_ changes: CallerChanges) throws -> String {
        var lines: [String] = []
        for user in try UserStore.all(in: changes.tx) {
            lines.append(user.name)
            let holder = PolicyStore.Holder.user(user.name)
            add("groups", try GroupStore.groups(of: user.name, in: changes.tx).map(\.name), to: &lines)
            add("policies", try policies(of: holder, changes), to: &lines)
            add("tags", try changes.tags(of: user).map { "\($0.key ?? "")=\($0.value ?? "")" }, to: &lines)
            for key in try OperatorKeyStore.keys(of: user.name, in: changes.tx) {
                let use = key.lastUsed.map { "used \($0.at.iso8601) for \($0.service) in \($0.region)" } ?? "never used"
                lines.append("    key       \(key.accessKeyID)  \(key.status)  \(use)")
            }
        }
        return lines.isEmpty ? "There are no users." : lines.joined(separator: "\n")
    }

    static func groups(_ changes: CallerChanges) throws -> String {
        var lines: [String] = []
        for group in try GroupStore.all(in: changes.tx) {
            lines.append(group.name)
            add("members", try GroupStore.members(of: group.name, in: changes.tx).map(\.name), to: &lines)
            add("policies", try policies(of: .group(group.name), changes), to: &lines)
        }
        return lines.isEmpty ? "There are no groups." : lines.joined(separator: "\n")
    }

    static func policies(_ changes: CallerChanges) throws -> String {
        try PolicyStore.all(in: changes.tx).map { policy in
            let holders = try PolicyStore.holders(of: policy.name, in: changes.tx).map(\.description)
            return "\(policy.name)  \(policy.versionID)  \(holders.isEmpty ? "nobody has it" : holders.joined(separator: ", "))"
        }.joined(separator: "\n")
    }

    private static func policies(of holder: PolicyStore.Holder, _ changes: CallerChanges) throws -> [String] {
        try PolicyStore.attached(to: holder, in: changes.tx)
            + PolicyStore.inline(of: holder, in: changes.tx).map { "\($0.name) (its own)" }
    }

    private static func add(_ title: String, _ names: [String], to lines: inout [String]) {
        guard !names.isEmpty else { return }
        lines.append("    " + title + String(repeating: " ", count: 10 - title.count) + names.joined(separator: ", "))
    }
}
