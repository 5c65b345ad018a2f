import MusterWire
import Testing

@testable import MusterCommandLine

@Suite struct StrangersWordsTests {
    private func node(_ number: Int, name: String? = nil, tag: String? = nil, reports: String? = nil) -> InstanceInformation {
        InstanceInformation(
            instanceID: NodeID("mi-0123456789abcdef\(number)")!, pingStatus: .online, name: name, computerName: reports,
            tags: tag.map { [Tag(key: "Name", value: $0)] })
    }

    private func approval(_ commands: [String]) -> Approval {
        Approval(
            id: "oi-0123456789ab", status: "Pending", requester: "alice", action: "ssm:SendCommand",
            document: "document/AWS-RunShellScript",
            nodes: ["arn:aws:ssm:us-east-1:000000000001:managed-instance/mi-0123456789abcdef0"], parameters: ["commands": commands],
            reason: "", requirements: [.init(approvers: ["bob"], count: 1, missing: 1)], grantedBy: [], minutes: 60, endsSessions: false,
            requestedAt: Timestamp(milliseconds: 0), endsAt: nil, words: "waits")
    }

    @Test func anApproverSeesTheWholeCommandOnANarrowTerminal() {
        let hidden = "; echo pwned > /tmp/pwned"
        let sheet = ApprovalCommands.sheet(
            approval(["systemctl is-active nginx" + String(repeating: " ", count: 300) + hidden, "echo \u{202e}evil\u{202c} ok\nrm x"]),
            names: [NodeID("mi-0123456789abcdef0")!: "web1"], now: Timestamp(milliseconds: 180_000))
        let lines = sheet.lines(width: 60)
        #expect(lines.allSatisfy { TextWidth.of($0) <= 60 && !$0.contains("…") })
        let text = lines.map { $0.hasPrefix(" ") ? String($0.dropFirst(23)) : $0 }.joined().split(separator: "↩").joined()
        #expect(text.contains("nginx\\u{20*300}" + hidden))
        #expect(text.contains("echo \\u{202e}evil\\u{202c} ok"))
        #expect(lines.contains { $0.hasSuffix("   rm x") })
        #expect(text.contains("mi-0123456789abcdef0 (web1)") && text.contains("3 min ago"))
    }

    @Test func theListOfApprovalsShowsAgeAndNames() {
        let table = ApprovalCommands.table(
            [approval(["x"])], names: [NodeID("mi-0123456789abcdef0")!: "web1"], now: Timestamp(milliseconds: 10_800_000))
        #expect(table.rows[0].contains("web1") && table.rows[0].contains("3 h 0 min"))
    }

    @Test func aNodeThatReportsAnothersNameBlocksNobody() throws {
        let nodes = NodeDirectory(nodes: [node(0, name: "agent-0"), node(1, reports: "agent-0")])
        #expect(try nodes.node(named: "agent-0", reported: .refused).instanceID.rawValue == "mi-0123456789abcdef0")
    }

    @Test func aReportedNameLeadsNoShellAndIsSaidElsewhere() async throws {
        let nodes = NodeDirectory(nodes: [node(0, reports: "db-primary.example.org"), node(1, reports: "twin"), node(2, reports: "twin")])
        #expect(throws: CommandLineError.self) { try nodes.node(named: "db-primary.example.org", reported: .refused) }
        try await confirmation { told in
            let found = try nodes.node(
                named: "db-primary.example.org", reported: .told { if $0.contains("mi-0123456789abcdef0") { told() } })
            #expect(found.instanceID.rawValue == "mi-0123456789abcdef0")
        }
        #expect(throws: CommandLineError.self) { try nodes.node(named: "twin", reported: .told { _ in }) }
    }

    @Test func resultsNameNodesByWhatOperatorsGave() {
        let nodes = NodeDirectory(nodes: [
            node(0, tag: "web1", reports: "x"), node(1, reports: "web1"), node(2, name: "n"), node(3, name: "n"),
        ])
        #expect(nodes.givenNames == [NodeID("mi-0123456789abcdef0")!: "web1"])
    }
}
