import Testing

@testable import MusterWire

@Suite struct PageTokenTests {
    private let key = Array("0123456789abcdef0123456789abcdef".utf8)
    private let token: String

    init() { self.token = PageToken.seal("2026/é?:1", operation: "ListCommands", filters: [1, 2], key: self.key) }

    @Test func opensWhereItWasMade() {
        #expect(PageToken.open(token, operation: "ListCommands", filters: [1, 2], key: key) == "2026/é?:1")
        #expect(PageToken.open(PageToken.seal("", operation: "", filters: [], key: key), operation: "", filters: [], key: key) == "")
        #expect(token.utf8.allSatisfy { $0.isWord || $0 == UInt8(ascii: "-") })
    }

    @Test func opensNowhereElse() {
        #expect(PageToken.open(token, operation: "ListCommandInvocations", filters: [1, 2], key: key) == nil)
        #expect(PageToken.open(token, operation: "ListCommands", filters: [1], key: key) == nil)
        #expect(PageToken.open(token, operation: "ListCommands", filters: [1, 2], key: key + [1]) == nil)
        #expect(
            PageToken.open(PageToken.seal("c", operation: "ab", filters: [], key: key), operation: "a", filters: Array("b".utf8), key: key)
                == nil)
    }

    @Test func changedTokensAreRefused() {
        let characters = Array(token)
        for index in characters.indices {
            var changed = characters
            changed[index] = changed[index] == "A" ? "B" : "A"
            let opened = PageToken.open(String(changed), operation: "ListCommands", filters: [1, 2], key: key)
            // The last character may hold bits that decode to nothing.
            #expect(opened == nil || index == characters.indices.last)
            #expect(PageToken.open(String(characters.prefix(index)), operation: "ListCommands", filters: [1, 2], key: key) == nil)
        }
        for junk in ["", "=", "é", "a", String(repeating: "A", count: 1_000_000), "AAAA AAAA", "../"] {
            #expect(PageToken.open(junk, operation: "ListCommands", filters: [1, 2], key: key) == nil)
        }
    }
}
