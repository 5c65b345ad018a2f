import FoundationEssentials
import MusterDocuments
import Testing

@testable import MusterController

/// controller-config/policies: each example with requests and what has to be decided about them.
@Suite struct ExamplePolicyTests {
    static let folder = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "../../../controller-config/policies")
    static let suffix = ".cases.json"
    static let names = ((try? FileManager.default.contentsOfDirectory(atPath: folder.path)) ?? [])
        .filter { $0.hasSuffix(".json") && !$0.hasSuffix(suffix) }.map { String($0.dropLast(".json".count)) }.sorted()

    @Test func thereAreExamples() { #expect(Self.names.count >= 7) }

    @Test(arguments: names)
    func decidesItsCases(name: String) throws {
        // As a controller takes it: no action that does not exist.
        let document = try PolicyDocument(json: contents("\(name).json"), actions: PolicyActions.all)
        let set = PolicySet([AttachedPolicy(name: name, holder: "", document: document)])
        let cases = try #require(DocumentValue(json: contents(name + Self.suffix)).array)
        #expect(cases.count >= 3)
        for value in cases {
            let title = Comment(rawValue: "\(name): \(value["case"]?.string ?? "?")")
            let members = Set((value.object ?? [:]).keys)
            #expect(members.isSubset(of: ["case", "action", "resource", "keys", "expect", "statement"]), title)
            let keys = try (value["keys"]?.object ?? [:]).mapValues { try #require($0.strings ?? $0.string.map { [$0] }) }
            let decision = set.decide(
                AccessRequest(
                    action: try #require(value["action"]?.string), resource: value["resource"]?.string ?? "*", keys: ConditionKeys(keys)))
            #expect(word(decision.outcome) == value["expect"]?.string, title)
            if let statement = value["statement"]?.string { #expect(decision.statement?.statement == statement, title) }
        }
    }

    private func contents(_ name: String) throws -> [UInt8] { Array(try Data(contentsOf: Self.folder.appending(path: name))) }

    private func word(_ outcome: PolicyDecision.Outcome) -> String {
        switch outcome {
        case .allowed: "allowed"
        case .explicitDeny: "explicitDeny"
        case .implicitDeny: "implicitDeny"
        case .approvalNeeded: "approvalNeeded"
        }
    }
}
