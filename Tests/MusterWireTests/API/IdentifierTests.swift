import Testing

@testable import MusterWire

@Suite struct IdentifierTests {
    @Test func nodeIDs() {
        for good in ["mi-0123456789abcdef0", "i-12345678", "i-0123456789abcdef0", "i-A_cdEFgh"] { #expect(NodeID(good)?.rawValue == good) }
        for bad in [
            "", "mi-", "mi-0123456789abcdef", "mi-0123456789abcdef01", "mi-0123456789ABCDEF0", "mi-0123456789abcdeg0", "i-1234567",
            "i-123456789",
            "i-1234567/", "i-1234567.", "i-1234567é", "mi-../../../../../etc", "mi-0123456789abcdef\n",
        ] { #expect(NodeID(bad) == nil) }
        #expect((0..<200).allSatisfy { _ in NodeID(NodeID.random().rawValue) != nil })
        #expect(NodeID.random() != NodeID.random())
    }

    @Test func uuids() {
        let id = CommandID.random()
        #expect(CommandID(id.rawValue) == id)
        #expect(id.rawValue.utf8.count == 36 && Array(id.rawValue)[14] == "4")
        #expect(ActivationID(ActivationID.random().rawValue) != nil)
        for bad in [
            "", id.rawValue.uppercased() + "A", "0F7C1C3E-7d33-4b0c-8a5e-9a1c0b8f8c11", "0f7c1c3e07d33-4b0c-8a5e-9a1c0b8f8c11",
            id.rawValue + "0",
        ] {
            #expect(CommandID(bad) == nil && ActivationID(bad) == nil)
        }
    }

    @Test func jobIDs() {
        let id = JobID(command: .random(), node: .random())
        #expect(JobID(id.description) == id)
        #expect(id.description == "aws.ssm.\(id.command.rawValue).\(id.node.rawValue)")
        for bad in ["", "aws.ssm", "aws.ssm.a.b", "aws.ssm.\(id.command)", "\(id).x", "aws.ssn.\(id.command).\(id.node)"] {
            #expect(JobID(bad) == nil)
        }
    }

    @Test func nodeIdentities() {
        let identity = NodeIdentity(node: NodeID("mi-0123456789abcdef0")!, generation: 12)
        #expect(identity.uri == "muster:node:mi-0123456789abcdef0:12")
        #expect(NodeIdentity(uri: identity.uri) == identity)
        for bad in [
            "", "muster:node:mi-0123456789abcdef0", "muster:node:mi-0123456789abcdef0:-1", "muster:node:mi-0123456789abcdef0:01",
            "muster:node:mi-0123456789abcdef0:+1", "muster:node:mi-0123456789abcdef0:1:", "muster:node:x:1",
            "muster:user:mi-0123456789abcdef0:1",
            "muster:node:mi-0123456789abcdef0:99999999999999999999",
        ] { #expect(NodeIdentity(uri: bad) == nil) }
    }

    @Test func idsAreCheckedWhenDecoded() throws {
        #expect(try JSONCoding.decode([NodeID].self, from: Array(#"["mi-0123456789abcdef0"]"#.utf8)) == [NodeID("mi-0123456789abcdef0")!])
        #expect(throws: (any Error).self) { try JSONCoding.decode([NodeID].self, from: Array(#"["../etc"]"#.utf8)) }
        #expect(String(decoding: try JSONCoding.encode([NodeID("i-12345678")!]), as: UTF8.self) == #"["i-12345678"]"#)
    }
}
