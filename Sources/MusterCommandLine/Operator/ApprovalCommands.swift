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
