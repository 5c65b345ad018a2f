import MusterClient
import MusterWire

/// `muster approvals`. Each returns the exit status.
package struct ApprovalCommands: Sendable {
    let caller: Operator
    let printer: Printer

    package init(caller: Operator, printer: Printer) {
        self.caller = caller
        self.printer = printer
    }

    package func list(all: Bool) async throws -> Int32 {
        let answer = try await caller.api.get(Approval.listPath, query: all ? "all=true" : "")
        let approvals = try JSONCoding.decode(ApprovalList.self, from: answer).approvals
        var table = Table(["REQUEST", "STATUS", "BY", "ACTION", "DOCUMENT", "NODES", "NEEDS", "REASON"])
        for approval in approvals {
            table.add([
                approval.id, approval.status, approval.requester, approval.action, Self.last(approval.document), Self.nodes(approval),
                Self.needs(approval), approval.reason,
            ])
        }
        try printer.data(approvals, table)
        return 0
    }

    private static let pending = "Pending"
    /// A command's grant is used up once the command is accepted.
    private static let granted = ["Approved", "UsedUp"]
    /// What a wait ends with when it has lasted as long as it was to.
    private static let timedOut: Int32 = 124
    private static let pause = Duration.seconds(2)
    private static let patience = Duration.seconds(300)

    /// Until something waits for approval, which is then listed; or until a request is decided, which is shown.
    ///
    /// - Returns: 0 once something waits, or the request is granted; 1 if it was refused or has ended otherwise; 124 after `timeout`.
    package func wait(for id: String?, timeout: Int?) async throws -> Int32 {
        let path = try id.map { Approval.showPath + (try Self.checked($0)) } ?? Approval.listPath
        let end = timeout.map { ContinuousClock.now.advanced(by: .seconds($0)) }
        var silence: ContinuousClock.Instant?
        while true {
            do {
                let answer = try await caller.api.get(path)
                silence = nil
                if id == nil {
                    if try JSONCoding.decode(ApprovalList.self, from: answer).approvals.contains(where: { $0.status == Self.pending }) {
                        return try await list(all: false)
                    }
                } else {
                    let approval = try JSONCoding.decode(Approval.self, from: answer)
                    if approval.status != Self.pending {
                        _ = try print(answer)
                        return Self.granted.contains(approval.status) ? 0 : 1
                    }
                }
            } catch let error as ClientError where [.unreachable, .closed, .timedOut].contains(error.kind) {
                // A controller that is restarted comes back.
                let since = silence ?? .now
                if silence == nil { printer.note("\(error) Waiting for the controller to come back.") }
                silence = since
                guard since.duration(to: .now) < Self.patience else { throw error }
            }
            guard end.map({ ContinuousClock.now < $0 }) ?? true else {
                printer.note(id.map { "Nobody has decided about \($0) yet." } ?? "Nothing waits for approval.")
                return Self.timedOut
            }
            try await Task.sleep(for: Self.pause)
        }
    }

    package func show(_ id: String) async throws -> Int32 {
        try print(try await caller.api.get(Approval.showPath + Self.checked(id)))
    }

    package func grant(_ id: String, minutes: Int?) async throws -> Int32 {
        try await decide(Approval.grantPath, id, ApprovalDecision(minutes: minutes))
    }

    package func refuse(_ id: String, reason: String) async throws -> Int32 {
        try await decide(Approval.refusePath, id, ApprovalDecision(reason: reason))
    }

    package func revoke(_ id: String) async throws -> Int32 {
        try await decide(Approval.revokePath, id, ApprovalDecision())
    }

    private func decide(_ path: String, _ id: String, _ decision: ApprovalDecision) async throws -> Int32 {
        try print(try await caller.api.post(path + Self.checked(id), body: try JSONCoding.encode(decision)))
    }

    private func print(_ answer: [UInt8]) throws -> Int32 {
        let approval = try JSONCoding.decode(Approval.self, from: answer)
        var table = Table(["", ""])
        table.add(["request", approval.id])
        table.add(["status", approval.status])
        table.add(["by", approval.requester])
        table.add(["action", approval.action])
        table.add(["document", Self.last(approval.document)])
        table.add(["nodes", approval.nodes.map(Self.last).joined(separator: ", ")])
        for (name, values) in (approval.parameters ?? [:]).sorted(by: { $0.key < $1.key }) {
            table.add([name, values.joined(separator: "\n")])
        }
        table.add(["reason", approval.reason])
        for requirement in approval.requirements {
            table.add(["needs", "\(requirement.count) of \(requirement.approvers.joined(separator: ", "))"])
        }
        table.add(["granted by", approval.grantedBy.joined(separator: ", ")])
        table.add(["for", "\(approval.minutes) minutes" + (approval.endsSessions ? "; its sessions end with it" : "")])
        table.add(["", approval.words])
        try printer.data(approval, table)
        return 0
    }

    private static func checked(_ id: String) throws -> String {
        // The rest is for the controller to say; what could lead elsewhere is not sent.
        guard id.hasPrefix("oi-"), id.utf8.count == 15, id.dropFirst(3).allSatisfy({ $0.isASCII && $0.isHexDigit }) else {
            throw CommandLineError("'\(id.prefix(40))' is no access request: oi- and twelve digits. `muster approvals` lists them.")
        }
        return id
    }

    private static func last(_ arn: String) -> String { arn.split(separator: "/", maxSplits: 1).last.map(String.init) ?? arn }

    private static func nodes(_ approval: Approval) -> String {
        approval.nodes.count == 1 ? last(approval.nodes[0]) : "\(approval.nodes.count) nodes"
    }

    private static func needs(_ approval: Approval) -> String {
        approval.requirements.filter { $0.missing > 0 }.map { "\($0.missing) of \($0.approvers.joined(separator: ", "))" }
            .joined(separator: " and ")
    }
}
