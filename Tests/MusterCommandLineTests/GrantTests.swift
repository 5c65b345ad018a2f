import MusterClient
import MusterWire
import Testing

@testable import MusterCommandLine

@Suite struct GrantTests {
    private func shell(_ targets: String..., hours: String? = nil) throws -> Grant {
        var grant = Grant(.shell)
        for target in targets { try grant.add(try TargetExpression.parse(target)) }
        grant.hours = hours
        return grant
    }

    @Test func whatIsWrittenIsReadBack() throws {
        var full = try shell("tag:role=web,api", "tag-key=owned", hours: "Mon-Fri 09:00-18:00 Europe/Berlin")
        full.needsReason = true
        full.runAs = "deploy"
        full.extras = [.exec, .forward]
        var named = Grant(.shell)
        named.nodes = ["mi-0123456789abcdef0"]
        var odd = Grant(.run)
        try odd.add(Target(key: "tag:a \"b\"/ü", values: ["${aws:username}", "*", "\\"]))
        for grant in [full, named, odd, try shell("tag:role=web")] {
            #expect(Grant(policy: grant.policy) == grant)
            #expect(grant.policy.utf8.count < 6_144)
        }
    }

    /// In an ARN they would stand for every node.
    @Test(arguments: [
        "InstanceIds=*", "InstanceIds=mi-0*", "InstanceIds=mi-0123456789abcdef?", "InstanceIds=mi-0123456789abcdef0,*", "x=web1",
    ])
    func wildcardsNameNoNodes(target: String) throws {
        #expect(throws: CommandLineError.self) { try shell(target) }
    }

    @Test func aPolicyForEveryNodeIsNoGrant() {
        #expect(Grant(policy: Grant(.run).policy) == nil)
        var wild = Grant(.shell)
        wild.nodes = ["mi-0*"]
        #expect(Grant(policy: wild.policy) == nil)
    }

    @Test func aPolicyThatWasChangedIsNoGrant() throws {
        let policy = try shell("tag:role=web").policy
        #expect(Grant(policy: policy.replacing("web", with: "db"))?.on == "tag:role=db")
        #expect(Grant(policy: policy.replacing("\"ssm:TerminateSession\"", with: "\"ssm:*\"")) == nil)
        #expect(Grant(policy: policy.replacing("StringEquals", with: "StringLike")) == nil)
        #expect(Grant(policy: "{}") == nil && Grant(policy: "no JSON") == nil)
    }

    /// What a tag's value holds must not become a variable or a pattern.
    @Test func valuesAreNoVariables() throws {
        var grant = Grant(.shell)
        try grant.add(Target(key: "tag:role", values: ["${aws:username}"]))
        #expect(grant.policy.contains("\"ssm:resourceTag/role\": \"${$}{aws:username}\""))
        #expect(!grant.policy.contains("\"${aws:username}\""))
    }

    @Test func theSameNodesHaveTheSameName() throws {
        #expect(try shell("tag:role=web").name == "grant-shell-role-web")
        #expect(try shell("tag:b=2", "tag:a=1").name == "grant-shell-a-1-b-2")
        #expect(try shell("tag:role=web", hours: "daily 09:00-10:00 UTC").name == "grant-shell-role-web")
        // a=b-c and a-b=c would read the same.
        let names = [
            try shell("tag:a=b-c").name, try shell("tag:a-b=c").name, try shell("tag:a=b,c").name, try shell("tag-key=a").name,
            try shell("InstanceIds=mi-0123456789abcdef0").name,
        ]
        #expect(Set(names).count == names.count)
        #expect(names.allSatisfy { $0.hasPrefix("grant-shell-") && $0.utf8.count <= 128 })
    }

    @Test func aTagIsNamedOnce() throws {
        #expect(throws: CommandLineError.self) { try shell("tag:role=web", "tag:Role=db") }
        #expect(throws: CommandLineError.self) { try shell("tag-key=a,b") }
    }

    /// The documents of one grant must not count on the nodes of another that the same user has.
    @Test func theDocumentIsAConditionOfTheNodes() throws {
        var grant = try shell("tag:role=web")
        grant.extras = [.forward]
        #expect(grant.policy.components(of: "\"ssm:DocumentName\"") == 2)
        grant.runAs = "deploy"
        // Connections have no user.
        #expect(grant.policy.components(of: "\"muster:RunAsUser\"") == 1)
    }

    @Test func turningRunAsOnKeepsAllElse() throws {
        let former: [String: JSONValue] = [
            "schemaVersion": .string("1.0"),
            "inputs": .object(["runAsEnabled": .bool(false), "runAsDefaultUser": .string("ops"), "idleSessionTimeout": .string("5")]),
        ]
        let preference = RunAsPreference(content: former)
        #expect(!preference.isOn && preference.defaultUser == "ops")
        let new = RunAsPreference(content: preference.turnedOn)
        #expect(new.isOn && new.defaultUser == "ops")
        guard case .object(let inputs) = preference.turnedOn["inputs"] else { throw CommandLineError("no inputs") }
        #expect(inputs["idleSessionTimeout"] == .string("5") && preference.turnedOn["schemaVersion"] == .string("1.0"))
    }

    @Test func holdersAreUsersOrGroups() throws {
        #expect(try Holder("alice") == .user("alice") && Holder("group/support") == .group("support"))
        for text in ["", "group/", "a/b", "a b", "group/a/b"] { #expect(throws: CommandLineError.self) { try Holder(text) } }
    }
}

extension String {
    fileprivate func components(of part: String) -> Int { split(separator: part, omittingEmptySubsequences: false).count - 1 }
}
