import MusterWire
import Testing

@testable import MusterController

@Suite struct AccessCheckTests {
    private let node = CallerFixture.node

    private func tag(_ fixture: CallerFixture, _ value: String) async throws {
        let node = node
        try await fixture.database.write { tx in
            try TagStore.set(["env": value], of: node.description, type: TagStore.managedInstance, in: tx)
        }
    }

    @Test func everyTargetHasToBeAllowed() async throws {
        let fixture = try await CallerFixture()
        let staging = CallerFixture.policy(
            "Allow", "ssm:StartSession", condition: #"{"StringEqualsIfExists":{"ssm:resourceTag/env":"staging"}}"#)
        let bob = try await fixture.user("bob", staging)
        let context = fixture.context(bob, "ssm:StartSession")
        let targets: [AccessTarget] = [.document("SSM-SessionManagerRunShell", context), .node(node, context)]
        try await tag(fixture, "staging")
        try await context.access.authorize(targets)
        #expect(context.access.wasAsked)
        try await tag(fixture, "prod")
        let denial = await #expect(throws: AccessDenial.self) { try await context.access.authorize(targets) }
        #expect(denial?.decision.request.resource == "arn:aws:ssm:x:000000000001:managed-instance/\(node)")
        #expect(
            denial?.apiError.message.hasPrefix(
                "User: arn:aws:iam::000000000001:user/bob is not authorized to perform: ssm:StartSession on resource: arn:aws:ssm:") == true
        )
    }

    /// Of many nodes the tags are read at once, and only those that the policies look at, however their keys are written.
    @Test(arguments: [100, 1_100]) func oneOfManyNodesDenies(count: Int) async throws {
        let fixture = try await CallerFixture()
        let bob = try await fixture.user("bob", CallerFixture.policy("Allow", "ssm:*"))
        _ = try await fixture.change { changes in
            try changes.put(
                "production",
                document: CallerFixture.policy("Deny", "ssm:SendCommand", condition: #"{"StringEquals":{"ssm:resourceTag/env":"prod"}}"#),
                on: .user("bob"))
        }
        let nodes = (0..<count).map { _ in NodeID.random() }
        try await fixture.database.write { tx in
            for node in nodes {
                try TagStore.set(
                    ["Env": "staging", "role": "prod"], of: node.rawValue, type: TagStore.managedInstance, in: tx)
            }
        }
        let send = fixture.context(bob, "ssm:SendCommand")
        let targets = nodes.map { AccessTarget.node($0, send) }
        try await send.access.authorize(targets)
        try await fixture.database.write { tx in
            try TagStore.set(["eNV": "prod"], of: nodes[70].rawValue, type: TagStore.managedInstance, in: tx)
        }
        let denial = await #expect(throws: AccessDenial.self) { try await send.access.authorize(targets) }
        #expect(denial?.decision.request.resource == targets[70].resource)
        let shell = fixture.context(bob, "ssm:StartSession")
        try await shell.access.authorize(nodes.map { AccessTarget.node($0, shell) })
    }

    @Test func tagsOfDocumentsAndUsersCountAsNodesDo() async throws {
        let fixture = try await CallerFixture()
        let bob = try await fixture.user("bob", CallerFixture.policy("Allow", "*"))
        _ = try await fixture.change { changes in
            _ = try changes.createUser("eve", tags: [Tag(key: "locked", value: "true")])
            try changes.put(
                "locks",
                document: CallerFixture.policy(
                    "Deny", "*", condition: #"{"StringEquals":{"aws:ResourceTag/locked":"true"}}"#, sid: "Locked"), on: .user("bob"))
            try TagStore.set(["locked": "true"], of: "Ours", type: DocumentStore.tagType, in: changes.tx)
        }
        let update = fixture.context(bob, "ssm:UpdateDocument")
        await #expect(throws: AccessDenial.self) { try await update.access.authorize([.document("Ours", update)]) }
        try await update.access.authorize([.document("Other", update)])
        let keys = fixture.context(bob, "iam:CreateAccessKey")
        await #expect(throws: AccessDenial.self) { try await keys.access.authorize([.caller(.user("eve"), keys)]) }
        try await keys.access.authorize([.caller(.user("bob"), keys)])
    }

    @Test func twinsOfATagsKeyHideNothing() {
        let keys = RequestTags.keys([Tag(key: "Team", value: "admin"), Tag(key: "team", value: "dev")])
        #expect(Set(keys["aws:RequestTag/team"] ?? []) == ["admin", "dev"])
    }

    @Test func aDenySaysWhichStatementDecided() async throws {
        let fixture = try await CallerFixture()
        let bob = try await fixture.user("bob", CallerFixture.policy("Allow", "ssm:*"))
        _ = try await fixture.change { changes in
            _ = try changes.createGroup("ops")
            try changes.add("bob", to: "ops")
            try changes.put("hours", document: CallerFixture.policy("Deny", "ssm:Send*", sid: "NotNow"), on: .group("ops"))
        }
        let context = fixture.context(bob, "ssm:SendCommand")
        let denial = await #expect(throws: AccessDenial.self) { try await context.access.authorize([.anything]) }
        #expect(denial?.details["statement"] == "policy hours (group ops), statement NotNow")
    }

    @Test func whatNoPolicyCouldAllowIsRefusedAtOnce() async throws {
        let fixture = try await CallerFixture()
        let bob = try await fixture.user("bob", CallerFixture.policy("Allow", "ssm:StartSession", resource: "arn:aws:ssm:*:*:document/A"))
        await #expect(throws: AccessDenial.self) { try await fixture.context(bob, "ssm:SendCommand").access.begin() }
        try await fixture.context(bob, "ssm:StartSession").access.begin()
        await #expect(throws: AccessDenial.self) { try await fixture.context(bob, "ssm:StartSession").access.authorize([.anything]) }
        // Nobody's check refuses everything.
        await #expect(throws: APIError.self) { try await AccessCheck().begin() }
    }

    @Test func aRoleHasTheGroupsRightsAndNoOthers() async throws {
        let fixture = try await CallerFixture()
        let bob = try await fixture.user("bob", CallerFixture.policy("Allow", "ssm:List*"))
        let group = try await fixture.change { changes in
            let group = try changes.createGroup("ops")
            try changes.add("bob", to: "ops")
            try changes.put("p", document: CallerFixture.policy("Allow", "ssm:Describe*"), on: .group("ops"))
            return group
        }
        func role(_ boundary: [String] = [], id: String? = nil) -> Principal {
            Principal(
                user: "bob", userID: bob.userID, role: .init(group: "ops", groupID: id ?? group.id, session: "s"),
                accessKeyID: bob.accessKeyID, issuedAt: fixture.now, boundary: boundary)
        }
        func may(_ principal: Principal, _ action: String) async throws -> Bool {
            try await fixture.revocation(fixture.access(principal, action)) == nil
        }
        #expect(try await may(bob, "ssm:ListCommands"))
        #expect(try await may(bob, "ssm:DescribeSessions"))
        #expect(try await !may(role(), "ssm:ListCommands"))
        #expect(try await may(role(), "ssm:DescribeSessions"))
        let boundary = [CallerFixture.policy("Allow", "ssm:List*")]
        #expect(try await !may(role(boundary), "ssm:DescribeSessions"))
        #expect(try await !may(role(boundary), "ssm:ListCommands"))
        #expect(try await !may(role(id: "AGPAFORMER"), "ssm:DescribeSessions"))
        // A text that is no policy any more forbids everything.
        #expect(try await !may(role(["{}"]), "ssm:DescribeSessions"))
        _ = try await fixture.change { try $0.remove("bob", from: "ops") }
        #expect(try await !may(role(), "ssm:DescribeSessions"))
        #expect(try await !may(bob, "ssm:DescribeSessions"))
    }

    /// What a session keeps is decided again with the hour, the tags and the policies of that moment.
    @Test func whatWasAllowedIsDecidedAgain() async throws {
        let fixture = try await CallerFixture()
        let until = fixture.now.adding(seconds: 3_600)
        let bob = try await fixture.user(
            "bob",
            CallerFixture.policy(
                "Allow", "ssm:StartSession",
                condition:
                    #"{"DateLessThan":{"aws:CurrentTime":"\#(until.iso8601)"},"StringEquals":{"ssm:resourceTag/env":"staging","muster:Reason":"why"}}"#
            ))
        try await tag(fixture, "staging")
        let context = fixture.context(bob, "ssm:StartSession")
        let (node, keys) = (node, ConditionKeys(["muster:Reason": ["why"]]))
        let permit = try await fixture.database.write { tx in
            try context.access.authorize([.node(node, context, keys: keys)], in: tx)
        }
        // As a row holds it.
        let access = try JSONCoding.decode(GrantedAccess.self, from: JSONCoding.encode(permit.access))
        #expect(access == permit.access)
        #expect(try await fixture.revocation(access) == nil)
        #expect(try await fixture.revocation(access, at: until) != nil)
        try await tag(fixture, "prod")
        #expect(try await fixture.revocation(access)?.words.contains("no longer allowed") == true)
        try await tag(fixture, "staging")
        _ = try await fixture.change { try $0.setKey(bob.accessKeyID, of: nil, isActive: false) }
        #expect(try await fixture.revocation(access) == .keyGone)
    }

    @Test func documentsAreTheirNamesHoweverTheyAreWritten() async throws {
        let fixture = try await CallerFixture()
        let context = fixture.context(try await fixture.user("bob"), "ssm:StartSession")
        let plain = AccessTarget.document("AWS-StartSSHSession", context)
        #expect(plain.resource == "arn:aws:ssm:x:000000000001:document/AWS-StartSSHSession")
        for other in ["arn:aws:ssm:us-east-1::document/AWS-StartSSHSession", "arn:aws:ssm:x:000000000001:document/AWS-StartSSHSession"] {
            #expect(AccessTarget.document(other, context) == plain)
        }
        #expect(AccessTarget.node(named: "*", context) == .anything && AccessTarget.node(named: nil, context) == .anything)
    }

    /// Membership is all that a role asks for, so what forbids something to its user has to hold in it.
    @Test func aDenyIsNotEscapedWithAssumeRole() async throws {
        let fixture = try await CallerFixture()
        let carl = try await fixture.user("carl", CallerFixture.policy("Allow", "ssm:GetDocument"))
        let role = try await fixture.change { changes in
            let support = try changes.createGroup("support")
            try changes.put("all", document: CallerFixture.policy("Allow", "ssm:*"), on: .group("support"))
            try changes.add("carl", to: "support")
            return Principal.Role(group: "support", groupID: support.id, session: "s")
        }
        let narrow = CallerFixture.policy("Allow", "ssm:SendCommand", "ssm:GetDocument")
        let inRole = Principal(user: "carl", userID: carl.userID, role: role, accessKeyID: carl.accessKeyID, issuedAt: fixture.now)
        let bounded = Principal(
            user: "carl", userID: carl.userID, role: role, accessKeyID: carl.accessKeyID, issuedAt: fixture.now, boundary: [narrow])
        func isAllowed(_ principal: Principal) async throws -> Bool {
            try await fixture.revocation(fixture.access(principal, "ssm:SendCommand")) == nil
        }
        #expect(try await isAllowed(inRole))
        #expect(try await isAllowed(bounded))

        for holder in [PolicyStore.Holder.group("contractors"), .user("carl")] {
            _ = try await fixture.change { changes in
                if case .group(let name) = holder {
                    _ = try changes.createGroup(name)
                    try changes.put("more", document: CallerFixture.policy("Allow", "muster:*"), on: holder)
                    try changes.add("carl", to: name)
                }
                try changes.put("no-commands", document: CallerFixture.policy("Deny", "ssm:SendCommand", sid: "No"), on: holder)
            }
            for principal in [inRole, bounded] {
                let revocation = try await fixture.revocation(fixture.access(principal, "ssm:SendCommand"))
                #expect(revocation?.words.contains("policy no-commands (\(holder.description)), statement No") == true)
                #expect(try await fixture.revocation(fixture.access(principal, "ssm:GetDocument")) == nil)
            }
            // Allowed is only what the role's own group allows.
            #expect(try await fixture.revocation(fixture.access(inRole, "muster:GetRecording")) != nil)
            _ = try await fixture.change { try $0.deleteInline("no-commands", of: holder) }
            #expect(try await isAllowed(inRole))
        }
    }

    /// There is one fleet: the same node is reached whatever region a call is signed for.
    @Test func aDenyThatNamesARegionIsNotEscapedBySigningForAnother() async throws {
        let fixture = try await CallerFixture()
        let bob = try await fixture.user("bob", CallerFixture.policy("Allow", "ssm:*"))
        let node = node
        _ = try await fixture.change { changes in
            try changes.put(
                "locked",
                document: CallerFixture.policy(
                    "Deny", "ssm:StartSession", resource: "arn:aws:ssm:x:\(CallerFixture.account):managed-instance/\(node)"),
                on: .user("bob"))
            try changes.put(
                "abroad",
                document: CallerFixture.policy(
                    "Deny", "ssm:SendCommand", condition: #"{"StringNotEquals":{"aws:RequestedRegion":"x"}}"#), on: .user("bob"))
        }
        for region in ["x", "eu-west-9", "us-east-1"] {
            let shell = fixture.context(bob, "ssm:StartSession", signedFor: region)
            let denial = await #expect(throws: AccessDenial.self) { try await shell.access.authorize([.node(node, shell)]) }
            #expect(denial?.decision.request.resource == "arn:aws:ssm:x:\(CallerFixture.account):managed-instance/\(node)")
            // What the caller has signed for is a key of conditions, and no more.
            let command = fixture.context(bob, "ssm:SendCommand", signedFor: region)
            let isDenied = (try? await command.access.authorize([.node(node, command)])) == nil
            #expect(isDenied == (region != "x"))
        }
        // Sessions that an older version began have the caller's region in their targets.
        let old = AccessTarget("arn:aws:ssm:eu-west-9:\(CallerFixture.account):managed-instance/\(node)", node: node)
        #expect(try await fixture.revocation(fixture.access(bob, "ssm:StartSession", [old]))?.words.contains("explicit deny") == true)
        #expect(AccessTarget("arn:aws:iam::1:user/a").moved(to: "x").resource == "arn:aws:iam::1:user/a")
    }

    @Test func aDenialNamesTheHourAndTheMissingReason() async throws {
        let fixture = try await CallerFixture()
        try await tag(fixture, "staging")
        let hours = CallerFixture.policy(
            "Allow", "ssm:StartSession",
            condition:
                #"{"StringEquals":{"ssm:resourceTag/env":"staging"},"Null":{"muster:Reason":"false"},"muster:TimeWindow":{"aws:CurrentTime":"Mon-Fri 02:00-02:01 UTC"}}"#
        )
        let bob = try await fixture.user("bob", hours)
        func words(_ keys: ConditionKeys = ConditionKeys()) async -> String {
            let context = fixture.context(bob, "ssm:StartSession")
            let denial = await #expect(throws: AccessDenial.self) {
                try await context.access.authorize([.node(CallerFixture.node, context, keys: keys)])
            }
            return denial?.apiError.message ?? ""
        }
        let late = "it is outside of the hours Mon-Fri 02:00-02:01 UTC"
        #expect(await words().contains(late))
        #expect(await words().contains("no reason was given"))
        let reason = ConditionKeys(["muster:Reason": ["OPS-1"]])
        #expect(await words(reason).contains(late))
        #expect(await !words(reason).contains("no reason"))
        // Nothing is said of a node that is another's: it would tell what tags it has.
        try await tag(fixture, "prod")
        #expect(await !words().contains("hours"))
        try await tag(fixture, "staging")
        _ = try await fixture.change { changes in
            try changes.put(
                "night",
                document: CallerFixture.policy(
                    "Deny", "*", condition: #"{"muster:NotTimeWindow":{"aws:CurrentTime":"daily 02:00-02:01 UTC"}}"#, sid: "Night"),
                on: .user("bob"))
        }
        #expect(await words(reason).contains("statement Night (it is outside of the hours daily 02:00-02:01 UTC)"))
    }
}
