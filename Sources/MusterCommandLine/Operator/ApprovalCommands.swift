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
        let names = approvals.isEmpty ? [:] : await names()
        try printer.data(approvals, Self.table(approvals, names: names, now: .now()))
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
                        _ = try await print(answer)
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

    /// Who may decide may not be allowed to list nodes: then ids have to do.
    private func names() async -> [NodeID: String] {
        ((try? await NodeDirectory.load(caller.api)) ?? NodeDirectory(nodes: [])).givenNames
    }

    static func table(_ approvals: [Approval], names: [NodeID: String], now: Timestamp) -> Table {
        var table = Table(
            ["REQUEST", "STATUS", "AGE", "BY", "ACTION", "DOCUMENT", "NODES", "NEEDS", "REASON"],
            yielding: ["REASON", "NEEDS", "DOCUMENT", "NODES", "ACTION"])
        for approval in approvals {
            let nodes = approval.nodes.count == 1 ? node(approval.nodes[0], names, withID: false) : "\(approval.nodes.count) nodes"
            table.add([
                approval.id, approval.status, Age.words(since: approval.requestedAt, now: now), approval.requester, approval.action,
                last(approval.document), nodes, needs(approval), approval.reason,
            ])
        }
        return table
    }

    package func show(_ id: String) async throws -> Int32 {
        try await print(try await caller.api.get(Approval.showPath + Self.checked(id)))
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
        try await print(try await caller.api.post(path + Self.checked(id), body: try JSONCoding.encode(decision)))
    }

    private func print(_ answer: [UInt8]) async throws -> Int32 {
        let approval = try JSONCoding.decode(Approval.self, from: answer)
        try printer.facts(approval, Self.sheet(approval, names: await names(), now: .now()))
        return 0
    }

    /// All that is agreed to: nothing of it cut, and nothing in it that could hide.
    static func sheet(_ approval: Approval, names: [NodeID: String], now: Timestamp) -> FactSheet {
        var sheet = FactSheet()
        sheet.add("request", approval.id)
        sheet.add("status", approval.status)
        sheet.add("asked", "\(approval.requestedAt.iso8601), \(Age.words(since: approval.requestedAt, now: now)) ago")
        sheet.add("by", approval.requester)
        sheet.add("action", approval.action)
        sheet.add("document", last(approval.document))
        sheet.add("nodes", approval.nodes.map { node($0, names, withID: true) })
        for (name, values) in (approval.parameters ?? [:]).sorted(by: { $0.key < $1.key }) {
            sheet.add("parameter " + name, values.isEmpty ? [""] : values)
        }
        sheet.add("reason", approval.reason)
        sheet.add("needs", approval.requirements.map { "\($0.count) of \($0.approvers.joined(separator: ", "))" })
        sheet.add("granted by", approval.grantedBy)
        sheet.add("for", "\(approval.minutes) minutes" + (approval.endsSessions ? "; its sessions end with it" : ""))
        sheet.add("so", approval.words)
        return sheet
    }

    private static func checked(_ id: String) throws -> String {
        // The rest is for the controller to say; what could lead elsewhere is not sent.
        guard id.hasPrefix("oi-"), id.utf8.count == 15, id.dropFirst(3).allSatisfy({ $0.isASCII && $0.isHexDigit }) else {
            throw CommandLineError("'\(id.prefix(40))' is no access request: oi- and twelve digits. `muster approvals` lists them.")
        }
        return id
    }

    private static func last(_ arn: String) -> String { arn.split(separator: "/", maxSplits: 1).last.map(String.init) ?? arn }

    private static func node(_ arn: String, _ names: [NodeID: String], withID: Bool) -> String {
        let id = last(arn)
        guard let name = NodeID(id).flatMap({ names[$0] }) else { return id }
        return withID ? "\(id) (\(name))" : name
    }

    private static func needs(_ approval: Approval) -> String {
        approval.requirements.filter { $0.missing > 0 }.map { "\($0.missing) of \($0.approvers.joined(separator: ", "))" }
            .joined(separator: " and ")
    }
}
