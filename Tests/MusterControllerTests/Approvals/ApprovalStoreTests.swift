import MusterWire
import Testing

@testable import MusterController

@Suite struct ApprovalStoreTests {
    private let now = Timestamp(milliseconds: 1_796_000_000_000)
    private let alice = Principal(user: "alice", userID: "AIDA1", accessKeyID: "K")
    private let dave = Principal(user: "dave", userID: "AIDA4", accessKeyID: "L")
    private let bob = ApprovalRequest.Approver(user: "bob", userID: "AIDA2", groups: [])
    private let carol = ApprovalRequest.Approver(user: "carol", userID: "AIDA3", groups: [])
    private let one = ApprovalRequirement(approvers: [.user("bob")], maximumMinutes: 30)
    private let two = ApprovalRequirement(approvers: [.user("bob"), .user("carol")], count: 2)

    private let directory: TemporaryDirectory
    private let database: SQLiteDatabase

    init() async throws {
        directory = try TemporaryDirectory()
        database = try SQLiteDatabase(path: directory.file("store.sqlite"))
        try await Migrations.run(on: database, now: 1)
    }

    private func later(_ seconds: Int64) -> Timestamp { now.adding(seconds: seconds) }

    private func need(
        _ nodes: [String] = ["n1", "n2"], action: String = ApprovalSubject.startSession, content: String = "c",
        _ requirements: [ApprovalRequirement]? = nil, of principal: Principal? = nil
    ) -> ApprovalNeed {
        ApprovalNeed(
            requirements: requirements ?? [one],
            subject: ApprovalSubject(action: action, nodes: nodes, document: "d", parameters: [:], content: [content]),
            reason: "INC-1", principal: principal ?? alice, account: "1")
    }

    /// Asked for, and written down.
    @discardableResult
    private func ask(_ need: ApprovalNeed, at time: Timestamp? = nil, id: String = ApprovalStore.makeID()) async throws -> ApprovalRequest {
        let (time, request) = (time ?? now, ApprovalRequest(id: id, need, now: time ?? now))
        try await database.write { tx in
            try ApprovalStore.insert(request, binding: need.subject.binding(need.principal), now: time, in: tx)
        }
        return request
    }

    private func change(
        _ id: String, at time: Timestamp, _ body: @escaping @Sendable (inout ApprovalRequest) throws -> Void
    ) async throws {
        try await database.write { tx in
            var request = try #require(try ApprovalStore.request(id, in: tx))
            try body(&request)
            try ApprovalStore.update(request, now: time, in: tx)
        }
    }

    private func grant(_ id: String, at time: Timestamp? = nil) async throws {
        let (bob, time) = (bob, time ?? now)
        try await change(id, at: time) { try $0.grant(by: bob, now: time) }
    }

    private func answer(_ need: ApprovalNeed, at time: Timestamp? = nil) async throws -> ApprovalRequest? {
        let time = time ?? now
        return try await database.read { tx in try ApprovalStore.answering(need, now: time, in: tx) }
    }

    private func open(of user: String = "AIDA1", at time: Timestamp? = nil) async throws -> Int {
        let time = time ?? now
        return try await database.read { tx in try ApprovalStore.openCount(of: user, now: time, in: tx) }
    }

    private func listed(onlyOpen: Bool, limit: Int = 200, at time: Timestamp? = nil) async throws -> [String] {
        let time = time ?? now
        return try await database.read { tx in try ApprovalStore.all(onlyOpen: onlyOpen, limit: limit, now: time, in: tx).map(\.id) }
    }

    private func status(_ id: String) async throws -> String? {
        try await database.read { tx in
            try tx.first("SELECT status FROM approvals WHERE request_id = $1", [.text(id)])?.text("status")
        }
    }

    // MARK: One request

    @Test func aRequestComesBackAsItWas() async throws {
        let request = try await ask(need())
        #expect(try await database.read { tx in try ApprovalStore.request(request.id, in: tx) } == request)
        #expect(try await database.read { tx in try ApprovalStore.request("oi-000000000000", in: tx) } == nil)
        try await grant(request.id, at: later(5))
        let granted = try #require(try await database.read { tx in try ApprovalStore.request(request.id, in: tx) })
        #expect(granted.state == .granted(at: later(5), until: later(5 + 1_800)) && granted.votes.map(\.user) == ["bob"])
        #expect(try await status(request.id) == "Approved")
    }

    @Test func aChangeThatIsTakenBackLeavesNothing() async throws {
        struct Failed: Error {}
        let need = need()
        let now = now
        await #expect(throws: Failed.self) {
            try await database.write { tx in
                try ApprovalStore.insert(
                    ApprovalRequest(id: "oi-000000000001", need, now: now), binding: need.subject.binding(need.principal), now: now, in: tx)
                throw Failed()
            }
        }
        #expect(try await answer(need) == nil)
        #expect(try await open() == 0)
    }

    @Test func anIDIsOneRequest() async throws {
        try await ask(need(), id: "oi-000000000001")
        await #expect(throws: (any Error).self) { try await ask(need(content: "other"), id: "oi-000000000001") }
        #expect(ApprovalStore.makeID().wholeMatch(of: /oi-[0-9a-f]{12}/) != nil)
    }

    // MARK: Which one answers

    @Test func theSameQuestionHasTheSameAnswer() async throws {
        let request = try await ask(need())
        #expect(try await answer(need())?.id == request.id)
        #expect(try await answer(need(["n2"]))?.id == request.id)
        for other in [
            need(["n3"]), need(["n1", "n3"]), need(content: "e"), need(action: "ssm:SendCommand"), need(of: dave),
            need(["n1"], [one, two]),
        ] {
            #expect(try await answer(other) == nil, "\(other.subject) \(other.principal.user)")
        }
        // The same name is not the same person, and in a role one is another.
        #expect(try await answer(need(of: Principal(user: "alice", userID: "AIDA9", accessKeyID: "K"))) == nil)
        let role = Principal(user: "alice", userID: "AIDA1", role: .init(group: "g", groupID: "AGPA1", session: "s"), accessKeyID: "K")
        #expect(try await answer(need(of: role)) == nil)
    }

    @Test func whatCanBeUsedComesFirstThenWhatWaitsThenWhatWasRefused() async throws {
        let carol = carol
        let time = now
        let both = ApprovalRequirement(approvers: [.user("bob"), .user("carol")])
        let asked = need(["n1"], [both])
        var ids: [String] = []
        for second in 0..<3 { ids.append(try await ask(asked, at: later(Int64(second))).id) }
        // The newest of those that are alike.
        #expect(try await answer(asked, at: later(3))?.id == ids[2])
        try await change(ids[2], at: later(3)) { try $0.refuse(by: carol, reason: "no", now: time.adding(seconds: 3)) }
        #expect(try await answer(asked, at: later(4))?.id == ids[1])
        try await grant(ids[0], at: later(4))
        #expect(try await answer(asked, at: later(5))?.id == ids[0])
        try await change(ids[0], at: later(5)) { try $0.revoke(by: "carol", now: time.adding(seconds: 5)) }
        #expect(try await answer(asked, at: later(6))?.id == ids[1])
        try await change(ids[1], at: later(6)) { try $0.revoke(by: "carol", now: time.adding(seconds: 6)) }
        // A refusal stands for a quarter of an hour; then the question is a new one.
        #expect(try await answer(asked, at: later(3 + ApprovalRequest.refusedSeconds - 1))?.id == ids[2])
        #expect(try await answer(asked, at: later(3 + ApprovalRequest.refusedSeconds)) == nil)
    }

    @Test func whatIsOverAnswersNothing() async throws {
        let request = try await ask(need())
        #expect(try await answer(need(), at: later(ApprovalRequest.pendingSeconds - 1))?.id == request.id)
        #expect(try await answer(need(), at: later(ApprovalRequest.pendingSeconds)) == nil)
        try await grant(request.id)
        #expect(try await answer(need(), at: later(1_799))?.isUsable(at: later(1_799)) == true)
        #expect(try await answer(need(), at: later(1_800)) == nil)
    }

    @Test func aCommandIsUsedUpAndASessionIsNot() async throws {
        let (command, session) = (need(action: "ssm:SendCommand"), need())
        let time = now
        for need in [command, session] {
            let id = try await ask(need).id
            try await grant(id)
            try await change(id, at: now) { request in
                let isUsed = request.use(now: time)
                #expect(isUsed)
            }
            #expect(try await status(id) == (need == command ? "UsedUp" : "Approved"))
        }
        #expect(try await answer(command, at: later(1)) == nil)
        #expect(try await answer(session, at: later(1))?.isUsable(at: later(1)) == true)
        // The next command is another request.
        let again = try await ask(command, at: later(2)).id
        #expect(try await answer(command, at: later(3))?.id == again)
    }

    // MARK: Many

    @Test func onlyWhatWaitsIsOpen() async throws {
        let bob = bob
        let time = now
        var ids: [String] = []
        for number in 0..<5 { ids.append(try await ask(need(content: "\(number)"), at: later(Int64(number))).id) }
        try await ask(need(of: dave), at: later(9))
        #expect(try await open() == 5)
        #expect(try await open(of: "AIDA4") == 1)
        try await grant(ids[0])
        try await change(ids[1], at: now) { try $0.refuse(by: bob, reason: "", now: time) }
        try await change(ids[2], at: now) { try $0.revoke(by: "bob", now: time) }
        #expect(try await open() == 2)
        // By the clock, before anybody has written it down.
        #expect(try await open(at: later(3 + ApprovalRequest.pendingSeconds)) == 1)
        #expect(try await open(at: later(4 + ApprovalRequest.pendingSeconds)) == 0)
    }

    @Test func theNewestComeFirst() async throws {
        let time = now
        var ids: [String] = []
        for number in 0..<4 { ids.append(try await ask(need(content: "\(number)"), at: later(Int64(number))).id) }
        try await grant(ids[1])
        try await change(ids[3], at: now) { try $0.revoke(by: "bob", now: time) }
        #expect(try await listed(onlyOpen: true, at: later(5)) == [ids[2], ids[1], ids[0]])
        #expect(try await listed(onlyOpen: false, at: later(5)) == ids.reversed())
        #expect(try await listed(onlyOpen: false, limit: 2, at: later(5)) == [ids[3], ids[2]])
        // The grant's half hour is over, the others' day is not.
        #expect(try await listed(onlyOpen: true, at: later(1_800)) == [ids[2], ids[0]])
    }

    // MARK: Expiry

    @Test func whatHasExpiredIsWrittenDownOnceWithItsEvent() async throws {
        let carol = carol
        let time = now
        let waiting = try await ask(need(content: "waits")).id
        let granted = try await ask(need(content: "granted")).id
        let partly = try await ask(need(content: "partly", [two])).id
        let refused = try await ask(need(content: "refused", [ApprovalRequirement(approvers: [.user("carol")])])).id
        try await grant(granted)
        try await grant(partly)
        try await change(refused, at: now) { try $0.refuse(by: carol, reason: "", now: time) }
        let chore = ApprovalRetention(database: database, days: 30)

        try await chore.clean(now: later(1_799))
        #expect(try await status(granted) == "Approved")
        try await chore.clean(now: later(1_800))
        #expect(try await status(granted) == "Expired")
        #expect(try await status(waiting) == "Pending")
        try await chore.clean(now: later(ApprovalRequest.pendingSeconds))
        #expect(try await status(waiting) == "Expired")
        #expect(try await status(partly) == "Expired")
        // A refusal stays one.
        #expect(try await status(refused) == "Rejected")
        try await chore.clean(now: later(ApprovalRequest.pendingSeconds + 60))
        let events = try await database.read { tx in try AuditLog.newest(10, in: tx) }
        #expect(events.map(\.operation) == ["ExpireApproval", "ExpireApproval", "ExpireApproval"])
        #expect(Set(events.map(\.resource)) == [waiting, granted, partly])
        // What the row says more is not lost: by which grant a session runs can still be told.
        let kept = try #require(try await database.read { tx in try ApprovalStore.request(granted, in: tx) })
        #expect(kept.state == .granted(at: now, until: later(1_800)) && kept.status(at: later(1_800)) == .expired)
    }

    @Test func moreThanOneSweepTakesAreExpiredToo() async throws {
        let (need, now) = (need(), now)
        try await database.write { tx in
            for number in 0..<1_100 {
                let request = ApprovalRequest(id: "oi-\(number)", need, now: now)
                try ApprovalStore.insert(request, binding: "b", now: now, in: tx)
            }
        }
        let chore = ApprovalRetention(database: database, days: 30)
        for _ in 0..<3 { try await chore.clean(now: later(ApprovalRequest.pendingSeconds)) }
        let left = try await database.read { tx in
            try tx.first("SELECT COUNT(*) AS number FROM approvals WHERE status <> 'Expired'")?.integer("number")
        }
        #expect(left == 0)
    }

    /// A session that may outlive its grant is looked at once a minute: by the grant, for as long as it lives.
    @Test func aGrantIsKeptForAsLongAsASessionLivesByIt() async throws {
        let set = try PolicySet(approving(#""RequireApproval":{"Approvers":["bob"],"EndSessions":false}"#))
        let subject = need().subject
        let (bob, time) = (bob, Timestamp.now())
        let session = SessionStoreTests.record(1)
        let id = try await database.write { tx in
            let denial = try #require(throws: AccessDenial.self) {
                try TestAccess.check(set, ApprovalSubject.startSession).authorize([.anything], for: subject, reason: "", in: tx)
            }
            let need = try #require(denial.need)
            var request = ApprovalRequest(id: ApprovalStore.makeID(), need, now: time)
            try request.grant(by: bob, now: time)
            try ApprovalStore.insert(request, binding: need.subject.binding(need.principal), now: time, in: tx)
            let permit = try TestAccess.check(set, ApprovalSubject.startSession).authorize([.anything], for: subject, reason: "", in: tx)
            #expect(permit.access.approval == request.id)
            try SessionStore.insert(session, by: permit, in: tx)
            return request.id
        }
        let chore = ApprovalRetention(database: database, days: 1)
        let later = time.adding(seconds: 40 * 86_400)
        try await chore.clean(now: later)
        #expect(try await listed(onlyOpen: false) == [id])
        let access = try #require(try await database.read { tx in try SessionStore.liveAccess(in: tx) }.first?.1)
        // Its end is past, and no reason to end.
        #expect(try await database.read { tx in try AccessCheck.approvalEnd(access, in: tx) } == nil)
        try await database.write { tx in
            try tx.execute("UPDATE sessions SET status = 'Terminated' WHERE session_id = $1", [.text(session.id.rawValue)])
        }
        try await chore.clean(now: later)
        #expect(try await listed(onlyOpen: false).isEmpty)
    }

    @Test func oldOnesAreRemoved() async throws {
        let time = now
        let waiting = try await ask(need(content: "waits")).id
        let revoked = try await ask(need(content: "revoked")).id
        try await change(revoked, at: now) { try $0.revoke(by: "bob", now: time) }
        let chore = ApprovalRetention(database: database, days: 1)
        try await chore.clean(now: later(86_400))
        #expect(try await Set(listed(onlyOpen: false)) == [waiting, revoked])
        // A revoked one is as old as its question, one that waited as old as its end.
        try await chore.clean(now: later(86_401))
        #expect(try await listed(onlyOpen: false) == [waiting])
        try await chore.clean(now: later(ApprovalRequest.pendingSeconds + 86_401))
        #expect(try await listed(onlyOpen: false).isEmpty)
    }
}
