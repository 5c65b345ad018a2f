import Testing

@testable import MusterController

@Suite struct PolicySetTests {
    let shells = statement(
        #""Sid":"Shells","Effect":"Allow","Action":"ssm:Start*","Resource":"arn:aws:ssm:*:*:managed-instance/*""#,
        #""Condition":{"StringEquals":{"ssm:resourceTag/env":"staging"}}"#)
    let node = "arn:aws:ssm:r:000000000001:managed-instance/mi-1"
    let staging = ["ssm:resourceTag/env": ["staging"]]

    @Test func nothingIsAllowedUnlessItIsSaid() throws {
        #expect(PolicySet([]).decide("ssm:StartSession").outcome == .implicitDeny)
        let set = try PolicySet(shells)
        #expect(set.decide("ssm:StartSession", node, staging).isAllowed)
        #expect(set.decide("SSM:startsession", node, staging).isAllowed)
        #expect(set.decide("ssm:SendCommand", node, staging).outcome == .implicitDeny)
        #expect(set.decide("ssm:StartSession", "*", staging).outcome == .implicitDeny)
        #expect(
            set.decide("ssm:StartSession", node).reason == "because no identity-based policy allows the ssm:StartSession action")
    }

    @Test func theAdministratorMayDoEverything() {
        #expect(PolicySet.administrator.decide("muster:Anything", node).isAllowed)
    }

    @Test func aDenyWinsWhereverItStands() throws {
        let deny = statement(#""Sid":"NoShells","Effect":"Deny","Action":"ssm:StartSession","Resource":"*""#)
        for set in [try PolicySet(allow(), deny), try PolicySet(deny, allow()), try PolicySet(allow(), boundary: [allow(), deny])] {
            let decision = set.decide("ssm:StartSession", node)
            #expect(decision.outcome == .explicitDeny)
            #expect(decision.statement?.statement == "NoShells")
            #expect(set.decide("ssm:SendCommand", node).isAllowed == set.boundary.isEmpty)
        }
        #expect(
            try PolicySet(allow(), deny).decide("ssm:StartSession").reason
                == "with an explicit deny in an identity-based policy: policy p2 (user alice), statement NoShells")
    }

    @Test func exceptionsCoverTheRest() throws {
        let set = try PolicySet(
            statement(#""Effect":"Allow","NotAction":["ssm:Delete*","iam:*"],"NotResource":"arn:aws:ssm:*:*:document/Secret*""#))
        #expect(set.decide("ssm:SendCommand", node).isAllowed)
        #expect(!set.decide("ssm:DeleteDocument", node).isAllowed)
        #expect(!set.decide("ssm:SendCommand", "arn:aws:ssm:r:1:document/SecretOne").isAllowed)
    }

    @Test func oneServicesResourcesAreNoOtherServices() throws {
        let set = try PolicySet(statement(#""Effect":"Allow","Action":"*","Resource":"arn:aws:ssm:*:*:*""#))
        #expect(set.decide("ssm:ListCommands").isAllowed)
        for action in ["muster:ExportAuditTrail", "cloudtrail:LookupEvents", "iam:ListUsers", "muster:SimulatePolicy"] {
            #expect(!set.decide(action).isAllowed, "\(action)")
        }
        #expect(
            try !PolicySet(statement(#""Effect":"Allow","Action":"*","Resource":"arn:aws:iam:*""#)).decide("ssm:ListCommands").isAllowed)
        #expect(try PolicySet(statement(#""Effect":"Allow","Action":"*","Resource":"arn:aws:*""#)).decide("ssm:ListCommands").isAllowed)
    }

    @Test func everyBoundaryHasToAllowAsWell() throws {
        let set = try PolicySet(allow(), boundary: [shells, allow()])
        #expect(set.decide("ssm:StartSession", node, staging).isAllowed)
        let outside = set.decide("ssm:SendCommand", node, staging)
        #expect(outside.outcome == .implicitDeny)
        #expect(outside.reason == "because no session policy allows the ssm:SendCommand action")
        #expect(try !PolicySet(shells, boundary: [allow()]).decide("ssm:SendCommand").isAllowed)
    }

    // MARK: Approvals

    let withLeads = approving(#""Sid":"Asked","RequireApproval":{"Approvers":["group/leads"],"Count":2}"#)
    let withBob = approving(#""Sid":"Bob","RequireApproval":{"Approvers":["bob"]}"#)
    let bob = ApprovalRequirement(approvers: [.user("bob")])
    let leads = ApprovalRequirement(approvers: [.group("leads")], count: 2)

    @Test func approvalIsNeededWhereNothingAllowsWithout() throws {
        #expect(try PolicySet(withLeads).decide("ssm:StartSession", node).outcome == .approvalNeeded(leads))
        #expect(try PolicySet(withLeads, shells).decide("ssm:StartSession", node, staging).isAllowed)
        #expect(try PolicySet(withLeads, shells).decide("ssm:StartSession", node).outcome == .approvalNeeded(leads))
        let deny = statement(#""Effect":"Deny","Action":"*","Resource":"*""#)
        #expect(try PolicySet(withLeads, deny).decide("ssm:StartSession").outcome == .explicitDeny)
    }

    @Test func ofTwoWaysTheEasierIsAsked() throws {
        #expect(try PolicySet(withLeads, withBob).decide("ssm:SendCommand").outcome == .approvalNeeded(bob))
        #expect(try PolicySet(withBob, withLeads).decide("ssm:SendCommand").outcome == .approvalNeeded(bob))
    }

    @Test func aBoundaryGivesNothingOnApproval() throws {
        #expect(try PolicySet(allow(), boundary: [withBob]).decide("ssm:SendCommand").outcome == .implicitDeny)
        #expect(try PolicySet(withBob, boundary: [allow()]).decide("ssm:SendCommand").outcome == .approvalNeeded(bob))
    }

    @Test func oneCallOnSeveralResources() throws {
        let set = try PolicySet(
            statement(#""Effect":"Allow","Action":"*","Resource":"arn:aws:ssm:*:*:document/*""#),
            statement(
                #""Effect":"Allow","Action":"ssm:SendCommand","Resource":"arn:aws:ssm:*:*:managed-instance/*""#,
                #""RequireApproval":{"Approvers":["bob"]}"#))
        let document = AccessRequest(action: "ssm:SendCommand", resource: "arn:aws:ssm:r:1:document/x")
        let node = AccessRequest(action: "ssm:SendCommand", resource: self.node)
        let other = AccessRequest(action: "ssm:SendCommand", resource: "arn:aws:ssm:r:1:session/x")
        #expect(set.judge([document]) == .allowed)
        #expect(set.judge([document, node, node]) == .approvalNeeded([bob], set.decide(node)))
        #expect(set.judge([document, node, other]) == .denied(set.decide(other)))
        #expect(set.judge([]) == .allowed)
    }

    // MARK: Why

    @Test func theTraceSaysWhatBecameOfEachStatement() throws {
        let set = try PolicySet(shells, statement(#""Effect":"Allow","Action":"ssm:List*","Resource":"*""#))
        let decision = set.explain(
            AccessRequest(action: "ssm:StartSession", resource: node, keys: ConditionKeys(["ssm:resourceTag/env": ["prod"]])))
        #expect(decision.outcome == .implicitDeny)
        #expect(
            decision.trace.map(\.description) == [
                "policy p1 (user alice), statement Shells: Allow does not apply: action matches, resource matches, condition StringEquals "
                    + "ssm:resourceTag/env: is prod, wanted staging",
                "policy p2 (user alice), statement 1: Allow does not apply: action ssm:StartSession does not match",
            ])
        let allowed = set.explain(AccessRequest(action: "ssm:StartSession", resource: node, keys: ConditionKeys(staging)))
        #expect(allowed.reason == "allowed by policy p1 (user alice), statement Shells")
        #expect(
            allowed.trace[0].findings == [
                "action matches", "resource matches", "condition StringEquals ssm:resourceTag/env: is staging, holds",
            ])
    }

    // MARK: Properties

    /// Whatever is added to a set of policies, what was forbidden stays forbidden; and it does not matter what stands where.
    @Test func denialsStandAndOrderDoesNotMatter() throws {
        var random = SplitMix(seed: 0x4D75_7374_6572)
        for _ in 0..<300 {
            let texts = (0..<Int.random(in: 1...6, using: &random)).map { _ in anyStatement(&random) }
            let documents = try texts.map { try policy($0) }
            let request = anyRequest(&random)
            let decision = set(documents).decide(request)
            #expect(set(documents.shuffled(using: &random)).decide(request).outcome == decision.outcome)
            let joined = documents.shuffled(using: &random).flatMap(\.statements)
            #expect(set([PolicyDocument(statements: joined)]).decide(request).outcome == decision.outcome)
            #expect(set(documents).explain(request).outcome == decision.outcome)
            let more = try set(documents + [policy(allow())]).decide(request)
            #expect((more.outcome == .explicitDeny) == (decision.outcome == .explicitDeny))
            if decision.isAllowed { #expect(more.isAllowed) }
            let less = set(documents.filter { $0.statements[0].effect == .deny }).decide(request)
            #expect(!less.isAllowed)
        }
    }

    /// What a set has for one action decides it as the whole set does, with only those tags that it looks at.
    @Test func theSetForAnActionDecidesAlike() throws {
        var random = SplitMix(seed: 0x4D75_7374_6572)
        for _ in 0..<300 {
            let documents = try (0..<Int.random(in: 1...6, using: &random)).map { _ in try policy(anyStatement(&random)) }
            let bounds = try (0..<Int.random(in: 0...1, using: &random)).map { _ in try policy(anyStatement(&random)) }
            let whole = PolicySet(set(documents).policies, boundary: bounds)
            var request = anyRequest(&random)
            let decision = whole.decide(request)
            let narrow = whole.concerning(request.action)
            if !narrow.resourceTags.contains("env") { request.keys["ssm:resourceTag/env"] = nil }
            let again = narrow.decide(request)
            #expect(again.outcome == decision.outcome)
            #expect(again.statement == decision.statement)
            #expect(again.isOutsideBoundary == decision.isOutsideBoundary)
        }
    }

    @Test func tagsOfTheResourceThatAStatementLooksAt() throws {
        let keys = """
            {"StringEquals":{"SSM:resourcetag/Env":"a","aws:PrincipalTag/x":"${aws:ResourceTag/Owner}"},\
            "Null":{"aws:RequestTag/y":"true"}}
            """
        let set = try PolicySet(
            allow(#""Condition":\#(keys)"#),
            statement(#""Effect":"Deny","Action":"*","NotResource":"arn:aws:ssm:*:*:session/${ssm:resourceTag/Team}-*""#),
            boundary: [allow(#""Condition":{"ArnLike":{"aws:PrincipalArn":"arn:aws:iam::*:user/${aws:ResourceTag/name, 'x'}"}}"#)])
        #expect(set.resourceTags == ["env", "owner", "team", "name"])
    }

    private func set(_ documents: [PolicyDocument]) -> PolicySet {
        PolicySet(documents.enumerated().map { AttachedPolicy(name: "p\($0)", holder: "user x", document: $1) })
    }

    private func anyStatement(_ random: inout SplitMix) -> String {
        let effect = Bool.random(using: &random) ? "Allow" : "Deny"
        let action = ["*", "ssm:*", "ssm:StartSession", "ssm:S*", "iam:CreateUser"].randomElement(using: &random) ?? ""
        let resource =
            ["*", "arn:aws:ssm:*", "arn:aws:ssm:*:*:document/*", "arn:aws:ssm:*:*:managed-instance/mi-1"].randomElement(using: &random)
            ?? ""
        let condition =
            [
                "", #""Condition":{"StringEquals":{"ssm:resourceTag/env":"staging"}}"#,
                #""Condition":{"StringNotLike":{"aws:username":"a*"}}"#,
            ]
            .randomElement(using: &random) ?? ""
        let not = Int.random(in: 0..<5, using: &random) == 0 ? "Not" : ""
        let approval =
            effect == "Allow" && action == "ssm:StartSession" && not.isEmpty && Bool.random(using: &random)
            ? #""RequireApproval":{"Approvers":["bob"]}"# : ""
        return statement(
            #""Effect":"\#(effect)","\#(not)Action":"\#(action)","Resource":"\#(resource)""#, condition, approval)
    }

    private func anyRequest(_ random: inout SplitMix) -> AccessRequest {
        AccessRequest(
            action: ["ssm:StartSession", "ssm:SendCommand", "iam:CreateUser"].randomElement(using: &random) ?? "",
            resource: ["*", "arn:aws:ssm:r:1:document/x", node].randomElement(using: &random) ?? "",
            keys: ConditionKeys(
                ["ssm:resourceTag/env": [["staging", "prod"].randomElement(using: &random) ?? ""], "aws:username": ["alice"]]))
    }
}

/// Steele, Lea, Flood: "Fast splittable pseudorandom number generators" (2014).
private struct SplitMix: RandomNumberGenerator {
    var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}
