import MusterWire
import Testing

@testable import MusterController

@Suite struct ApprovalRequestTests {
    let now = Timestamp(milliseconds: 1_796_000_000_000)
    let alice = Principal(user: "alice", userID: "AIDA1", accessKeyID: "K")
    let bob = ApprovalRequest.Approver(user: "bob", userID: "AIDA2", groups: ["leads"])
    let carol = ApprovalRequest.Approver(user: "carol", userID: "AIDA3", groups: ["leads"])
    let dave = ApprovalRequest.Approver(user: "dave", userID: "AIDA4", groups: [])
    let two = ApprovalRequirement(approvers: [.group("leads"), .user("dave")], count: 2, maximumMinutes: 30)
    let one = ApprovalRequirement(approvers: [.user("bob")])

    private func subject(
        _ action: String = "ssm:StartSession", _ nodes: [String] = ["n1", "n2"], document: String = "d", content: [String] = ["c"]
    ) -> ApprovalSubject {
        ApprovalSubject(action: action, nodes: nodes, document: document, parameters: [:], content: content)
    }

    private func need(_ subject: ApprovalSubject, _ requirements: [ApprovalRequirement], reason: String = "") -> ApprovalNeed {
        ApprovalNeed(requirements: requirements, subject: subject, reason: reason, principal: alice, account: "1")
    }

    private func request(_ requirements: [ApprovalRequirement], action: String = "ssm:StartSession") -> ApprovalRequest {
        ApprovalRequest(id: "oi-000000000001", need(subject(action), requirements), now: now)
    }

    private func later(_ seconds: Int64) -> Timestamp { now.adding(seconds: seconds) }

    // MARK: Deciding

    @Test func twoOfSeveralHaveToAgree() throws {
        var request = request([two])
        #expect(request.status(at: now) == .pending)
        #expect(request.words(at: now).contains("waits for the approval of 2 more of group/leads, dave"))
        try request.grant(by: bob, now: later(1))
        #expect(request.status(at: later(1)) == .pending)
        #expect(request.missing == [1])
        try request.grant(by: dave, now: later(2))
        #expect(request.state == .granted(at: later(2), until: later(2 + 30 * 60)))
        #expect(request.votes.map(\.user) == ["bob", "dave"])
    }

    @Test func anApproverCountsOnce() throws {
        var request = request([two])
        try request.grant(by: bob, now: later(1))
        let once = request
        try request.grant(by: bob, now: later(2))
        #expect(request == once)
        // Another name for the same person is still the same person.
        try request.grant(by: .init(user: "robert", userID: bob.userID, groups: ["leads"]), now: later(3))
        #expect(request == once)
    }

    @Test func oneVoteMeetsEveryRequirementThatNamesIt() throws {
        var request = request([one, two])
        try request.grant(by: bob, now: now)
        #expect(request.missing == [0, 1])
        try request.grant(by: carol, now: now)
        #expect(request.isUsable(at: now))
    }

    @Test func nobodyDecidesAboutTheirOwn() {
        var request = request([ApprovalRequirement(approvers: [.user("alice"), .group("leads")])])
        let before = request
        for approver in [
            ApprovalRequest.Approver(user: "alice", userID: "AIDA1", groups: []), .init(user: "alice", userID: "AIDA9", groups: ["leads"]),
            .init(user: "other", userID: "AIDA1", groups: ["leads"]),
        ] {
            #expect(throws: ApprovalRequest.Refusal.own) { try request.grant(by: approver, now: now) }
            #expect(throws: ApprovalRequest.Refusal.own) { try request.refuse(by: approver, reason: "", now: now) }
        }
        #expect(request == before)
    }

    @Test func whoIsNotNamedDecidesNothing() {
        var request = request([one])
        #expect(throws: ApprovalRequest.Refusal.notAnApprover) { try request.grant(by: carol, now: now) }
        #expect(throws: ApprovalRequest.Refusal.notAnApprover) { try request.refuse(by: dave, reason: "", now: now) }
    }

    @Test func aRefusalIsTheEndAndStandsForAWhile() throws {
        var request = request([two])
        try request.grant(by: bob, now: now)
        try request.refuse(by: carol, reason: "not now", now: now)
        #expect(request.words(at: now) == "Access request oi-000000000001 was refused by carol: not now")
        #expect(throws: ApprovalRequest.Refusal.over("Rejected")) { try request.grant(by: dave, now: now) }
        try request.refuse(by: carol, reason: "twice", now: now)
        #expect(request.state == .refused(by: "carol", reason: "not now", until: later(ApprovalRequest.refusedSeconds)))
    }

    @Test func aGrantMayBeShorterThanThePolicyAllowsAndNotLonger() throws {
        var request = request([one])
        #expect(throws: ApprovalRequest.Refusal.tooLong(maximum: 60)) { try request.grant(by: bob, minutes: 61, now: now) }
        #expect(throws: ApprovalRequest.Refusal.tooLong(maximum: 60)) { try request.grant(by: bob, minutes: 0, now: now) }
        try request.grant(by: bob, minutes: 5, now: now)
        #expect(request.end == later(300))
    }

    // MARK: Time

    @Test func everyStateHasItsEnd() throws {
        var request = request([one])
        #expect(request.status(at: later(ApprovalRequest.pendingSeconds)) == .expired)
        #expect(throws: ApprovalRequest.Refusal.over("Expired")) { try request.grant(by: bob, now: later(ApprovalRequest.pendingSeconds)) }
        try request.grant(by: bob, now: now)
        #expect(request.isUsable(at: later(3_599)))
        #expect(!request.isUsable(at: later(3_600)))
        #expect(request.status(at: later(3_600)) == .expired)
    }

    @Test func aGrantCanBeTakenBack() throws {
        var request = request([one])
        try request.grant(by: bob, now: now)
        try request.revoke(by: "carol", now: later(1))
        #expect(!request.isUsable(at: later(2)))
        #expect(request.status(at: later(2)) == .revoked)
        try request.revoke(by: "dave", now: later(3))
        #expect(request.state == .revoked(by: "carol"))
    }

    // MARK: Using

    @Test func aSessionMayBeOpenedAgainAndACommandIsStartedOnce() throws {
        var session = request([one])
        var uses = [session.use(now: now)]
        try session.grant(by: bob, now: now)
        uses += [session.use(now: now), session.use(now: later(60)), session.use(now: later(3_600))]
        #expect(uses == [false, true, true, false])
        var command = request([one], action: "ssm:SendCommand")
        try command.grant(by: bob, now: now)
        uses = [command.use(now: now), command.use(now: now)]
        #expect(uses == [true, false])
        #expect(command.status(at: now) == .usedUp)
    }

    @Test func aGrantIsForExactlyWhatWasAsked() {
        let session = request([one])
        #expect(session.answers(need(subject(), [one])))
        #expect(session.answers(need(subject("ssm:StartSession", ["n2"]), [one])))
        #expect(!session.answers(need(subject("ssm:StartSession", ["n3"]), [one])))
        #expect(!session.answers(need(subject("ssm:StartSession", []), [one])))
        #expect(!session.answers(need(subject(document: "e"), [one])))
        #expect(!session.answers(need(subject(content: ["c", ""]), [one])))
        #expect(!session.answers(need(subject("ssm:SendCommand"), [one])))
        // What was agreed to was agreed to for its reason.
        let reasoned = ApprovalRequest(id: "oi-000000000002", need(subject(), [one], reason: "INC-7"), now: now)
        #expect(reasoned.answers(need(subject(), [one], reason: "INC-7")) && reasoned.answers(need(subject(), [one])))
        #expect(!reasoned.answers(need(subject(), [one], reason: "lunch")))
        // The policy demands more by now.
        #expect(!session.answers(need(subject(), [one, two])))
        let command = request([one], action: "ssm:SendCommand")
        #expect(command.answers(need(subject("ssm:SendCommand", ["n2", "n1"]), [one])))
        #expect(!command.answers(need(subject("ssm:SendCommand", ["n1"]), [one])))
        let other = Principal(user: "alice", userID: "AIDA8", accessKeyID: "K")
        #expect(!session.answers(ApprovalNeed(requirements: [one], subject: subject(), reason: "", principal: other, account: "1")))
    }

    @Test func partsAreNotMistakenForOneAnother() {
        #expect(subject(content: ["ab", "c"]).digest != subject(content: ["a", "bc"]).digest)
        let role = Principal(user: "alice", userID: "AIDA1", role: .init(group: "g", groupID: "AGPA1", session: "s"), accessKeyID: "K")
        #expect(subject().binding(alice) != subject().binding(role))
    }

    // MARK: Reasons and tickets

    @Test(
        arguments: [
            (ApprovalRequirement.Ticket.notNeeded, "", ""), (.any, "because", nil), (.any, "OPS-12: restart", "OPS-12"),
            (.any, "see #7.", "#7"),
            (.matching("INC-[0-9]+"), "restart (INC-42)", "INC-42"), (.matching("INC-[0-9]+"), "INC-42x", nil),
            (.matching("INC-[0-9]+"), "OPS-1", nil),
        ] as [(ApprovalRequirement.Ticket, String, String?)])
    func tickets(_ ticket: ApprovalRequirement.Ticket, reason: String, named: String?) {
        #expect(ticket.named(in: reason) == named)
    }

    @Test func nobodyIsAskedWithoutWhatIsNeeded() {
        let strict = ApprovalRequirement(approvers: [.user("bob")], needsReason: true, ticket: .matching("INC-[0-9]+"))
        #expect(need(subject(), [strict]).missing?.contains("reason") == true)
        #expect(need(subject(), [strict], reason: "please").missing?.contains("INC-[0-9]+") == true)
        #expect(need(subject(), [strict], reason: "INC-1").missing == nil)
        #expect(need(subject(), [one]).missing == nil)
    }

    @Test func recordsComeBackAsTheyWere() throws {
        var request = request([one, two])
        try request.grant(by: bob, now: now)
        #expect(try JSONCoding.decode(ApprovalRequest.self, from: JSONCoding.encode(request)) == request)
        try request.refuse(by: carol, reason: "no", now: now)
        #expect(try JSONCoding.decode(ApprovalRequest.self, from: JSONCoding.encode(request)) == request)
    }

    // MARK: Ends of sessions

    @Test func whoSitsAtASessionIsToldOnceAMinuteBefore() throws {
        let session = try #require(SessionID("alice-07a16060613c408b5"))
        var ends = SessionRevocation.Ends()
        let ending = [(session, later(300))]
        var told = ends.look(ending, now: now)
        #expect(told.isEmpty)
        #expect(!ends.isDue(later(239)))
        #expect(ends.isDue(later(240)))
        told = ends.look(ending, now: later(240))
        #expect(told.map(\.0) == [session])
        told = ends.look(ending, now: later(241))
        #expect(told.isEmpty)
        #expect(!ends.isDue(later(299)))
        #expect(ends.isDue(later(300)))
        told = ends.look([], now: later(300))
        #expect(told.isEmpty)
        #expect(!ends.isDue(later(9_999)))
    }
}
