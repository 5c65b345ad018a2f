import MusterWire
import Testing

@testable import MusterCommandLine

@Suite struct NodeCompletionTests {
    private func node(_ id: String, name: String? = nil, computer: String? = nil) throws -> InstanceInformation {
        let tags = name.map { [Tag(key: "role", value: "x"), Tag(key: "Name", value: $0)] }
        return InstanceInformation(instanceID: try #require(NodeID(id)), pingStatus: .online, computerName: computer, tags: tags)
    }

    @Test func idsAndNamesThatOperatorsGaveOnceEach() throws {
        let nodes = [
            try node("mi-0123456789abcdef0", name: "web-1", computer: "web-1"),
            try node("mi-0123456789abcdef1", computer: "db.example.org"),
        ]
        #expect(
            NodeCompletion.words(for: nodes, prefix: "") == ["mi-0123456789abcdef0", "mi-0123456789abcdef1", "web-1"])
        #expect(NodeCompletion.words(for: nodes, prefix: "w") == ["web-1"])
        #expect(NodeCompletion.words(for: nodes, prefix: "x") == [])
    }

    @Test func whatNamesSeveralNodesIsNotOffered() throws {
        let nodes = [try node("mi-0123456789abcdef0", name: "same"), try node("mi-0123456789abcdef1", name: "same")]
        #expect(NodeCompletion.words(for: nodes, prefix: "") == ["mi-0123456789abcdef0", "mi-0123456789abcdef1"])
    }

    @Test(arguments: ["a b", "$(id)", "a;b", "a:b", "a'b", "\u{1B}[2J", "ä"])
    func hostileNamesAreNotOffered(_ name: String) throws {
        #expect(NodeCompletion.words(for: [try node("mi-0123456789abcdef0", name: name)], prefix: "") == ["mi-0123456789abcdef0"])
    }

    @Test func theProfileOfTheLineCounts() {
        #expect(NodeCompletion.profile(in: ["muster", "run", "--profile", "lab", "--node", ""]) == "lab")
        #expect(NodeCompletion.profile(in: ["muster", "run", "--profile=lab", "--node", ""]) == "lab")
        #expect(NodeCompletion.profile(in: ["muster", "run", "--profile"]) == nil)
        #expect(NodeCompletion.profile(in: []) == nil)
    }
}
