import MusterCrypto
import MusterWire

/// What `muster-controller ca` says, about what was done and what comes next. [value]
package struct AuthorityReport: Sendable, CustomStringConvertible {
    private let outcome: AuthorityAdministration.Outcome

    package init(_ outcome: AuthorityAdministration.Outcome) {
        self.outcome = outcome
    }

    package var description: String {
        var lines: [String] = []
        for record in outcome.records {
            let end = Timestamp(milliseconds: record.certificate.notAfter * 1000)
            lines.append("authority \(record.number)  \(record.state.rawValue)  \(AuthoritySet.pin(record.certificate))")
            var dates = ["prepared \(record.preparedAt.iso8601)"]
            if let time = record.switchedAt, record.number > 1 { dates.append("issuing since \(time.iso8601)") }
            if let time = record.retiredAt { dates.append("retired \(time.iso8601)") }
            dates.append("ends \(end.iso8601)")
            lines.append("    " + dates.joined(separator: ", "))
        }
        lines.append("bundle       \(outcome.bundles.joined(separator: ", "))")
        lines.append("")
        lines += next
        return lines.joined(separator: "\n")
    }

    private var next: [String] {
        let missing = outcome.roll.missing(outcome.members)
        let count = outcome.members.count
        switch outcome.roll.stage {
        case .settled(let issuing):
            return ["Authority \(issuing) issues, and no other is trusted. To replace it: muster-controller ca prepare"] + stale
        case .prepared(_, let next):
            if missing.isEmpty {
                return ["All \(count) nodes hold authority \(next). When every operator has the bundle: muster-controller ca switch"]
            }
            return ["\(count - missing.unaware.count) of \(count) nodes hold authority \(next); the others get it with their next renewal."]
                + Self.list("Not yet", missing.unaware)
        case .switched(let issuing, let former):
            if missing.isEmpty {
                let ready = "All \(count) nodes have a certificate of authority \(issuing)."
                return [ready, "To drop authority \(former): muster-controller ca retire"] + stale
            }
            return Self.list("These do not hold authority \(issuing) and are lost if authority \(former) is retired now", missing.unaware)
                + Self.list("These hold it and still have a certificate of authority \(former)", missing.unrenewed) + stale
        }
    }

    /// Join lines with the pin of an authority that goes, or has gone.
    private var stale: [String] {
        guard !outcome.activations.isEmpty else { return [] }
        let isOver = if case .settled = outcome.roll.stage { true } else { false }
        let now = isOver ? "do not work any more" : "work until it is retired"
        return ["Join lines from before the switch pin the former authority and \(now):"]
            + outcome.activations.map { "    activation \($0)" }
    }

    private static func list(_ title: String, _ members: [AuthorityRoll.Member]) -> [String] {
        guard !members.isEmpty else { return [] }
        return ["\(title) (\(members.count)):"] + members.map(line)
    }

    static func line(_ member: AuthorityRoll.Member) -> String {
        let seen = member.lastSeen.map { "last seen \($0.iso8601)" } ?? "never seen"
        let end = member.certificateEnd.map { ", certificate until \($0.iso8601)" } ?? ""
        let name = member.name.map { "  " + String($0.unicodeScalars.map { $0.value < 32 || $0.value == 127 ? "?" : Character($0) }) } ?? ""
        return "    \(member.node)\(name)  \(seen)\(end)"
    }

    /// What was done to nodes that were not ready.
    package static func warning(_ missing: AuthorityRoll.Missing, retired: Bool) -> String? {
        guard !missing.isEmpty else { return nil }
        var lines: [String] = []
        if retired {
            lines += list(
                "Warning: these nodes trust only the retired authority. They cannot come back by themselves; "
                    + "register them again with new lines and --force", missing.unaware)
            lines += list(
                "Their certificate was of the retired authority; they renew it by themselves when they are up", missing.unrenewed)
        } else {
            lines += list(
                "Warning: these nodes know the new authority only through the old one. They have to renew before that is retired",
                missing.unaware)
        }
        return lines.joined(separator: "\n")
    }
}

extension AuthorityRoll.Refusal: CustomStringConvertible {
    package var description: String {
        switch self {
        case .alreadyPrepared(let next):
            "Authority \(next) is prepared already. Nothing was changed. Go on with: muster-controller ca switch"
        case .overlapping(let former):
            "Authority \(former) is still trusted from the last roll. Nothing was changed. Finish that first: muster-controller ca retire"
        case .notPrepared:
            "No authority is prepared. Nothing was changed. Begin with: muster-controller ca prepare"
        case .nothingToRetire:
            "No former authority is trusted. Nothing was changed."
        case .notReady(let missing):
            (AuthorityReport.lines(missing)
                + [
                    "Nothing was changed. Wait for their renewal (muster-agent renews at half of its certificate's life, or on SIGHUP),",
                    "deregister those that are gone, or pass --force to go on without them.",
                ]).joined(separator: "\n")
        }
    }
}

extension AuthorityReport {
    fileprivate static func lines(_ missing: AuthorityRoll.Missing) -> [String] {
        list("These nodes have not stored the new authority", missing.unaware)
            + list("These nodes have not used a certificate of the new authority", missing.unrenewed)
    }
}
