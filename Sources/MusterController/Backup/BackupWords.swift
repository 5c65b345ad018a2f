import MusterWire

/// What the two commands say.
extension Backup.Outcome: CustomStringConvertible {
    package var description: String {
        var words = """
            The backup is in \(path): \(manifest.files.count) file(s), \(bytes) bytes, as of \(manifest.createdAt.iso8601).
            It holds the keys of the controller, in \(path)/keys. Keep it as you keep root's keys.
            """
        if !manifest.without.isEmpty { words += "\nLeft out: \(manifest.without.map(\.rawValue).joined(separator: ", "))." }
        return words + "\nNot in it: the configuration file, and certificates that it names elsewhere. Keep them with it."
    }
}

extension Restore.Outcome: CustomStringConvertible {
    private static let mostShown = 200

    package var description: String {
        var lines = ["The controller of \(manifest.createdAt.iso8601) is restored in \(directory). Its store begins a new epoch, \(epoch)."]
        if let replaced { lines.append("What was there before is in \(replaced). Remove it when you need it no more: it holds keys.") }
        if !manifest.without.isEmpty { lines.append("Not in the backup: \(manifest.without.map(\.rawValue).joined(separator: ", ")).") }
        lines += list(
            "Command(s) that were open in the backup ended with their outcome unknown. They are not sent again; look at the hosts",
            ended.commands.map(\.description))
        lines += list(
            "Activation(s) ended, because nobody knows how often they were used since the backup. Make new ones with muster enroll",
            ended.activations.map(\.description))
        if ended.sessions > 0 { lines.append("\(ended.sessions) session(s) that were open in the backup ended.") }
        if ended.approvals > 0 { lines.append("\(ended.approvals) access request(s) ended; ask again.") }
        guard let source = lost.source else {
            lines.append(
                """
                LOST: everything that was done from \(manifest.createdAt.iso8601) on. Nothing here tells what it was: keys, users, policies and \
                nodes that were taken away since the backup are valid again. Take them away once more, by an audit trail that is kept elsewhere.
                """)
            return lines.joined(separator: "\n")
        }
        lines.append("\(lost.records) record(s) of the audit trail are newer than the backup; read from \(source).")
        lines += list(
            "LOST: these took a right away after the backup, and do so no more. Do them again",
            lost.revocations.map { "\($0.time)  \($0.operation)  \($0.resource)  by \($0.by)" })
        lines += list(
            "LOST: these nodes were registered after the backup. Register them again, with --force",
            lost.enrolments.map { "\($0.time)  \($0.resource)" })
        return lines.joined(separator: "\n")
    }

    private func list(_ title: String, _ items: [String]) -> [String] {
        guard !items.isEmpty else { return [] }
        let more = items.count > Self.mostShown ? ["  … and \(items.count - Self.mostShown) more"] : []
        return ["\(title):"] + items.prefix(Self.mostShown).map { "  \($0)" } + more
    }
}
