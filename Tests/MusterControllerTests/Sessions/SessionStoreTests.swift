import MusterCrypto
import MusterWire
import Testing

@testable import MusterController

@Suite(.timeLimit(.minutes(1))) struct SessionStoreTests {
    static let start = Timestamp(milliseconds: 1_700_000_000_000)
    static let nodes = [NodeID(rawValue: "mi-0123456789abcdef0")!, NodeID(rawValue: "mi-0123456789abcdef1")!]

    let directory: TemporaryDirectory
    let database: SQLiteDatabase

    init() async throws {
        directory = try TemporaryDirectory()
        database = try SQLiteDatabase(path: directory.file("store.sqlite"))
        try await Migrations.run(on: database, now: 1)
    }

    static func id(_ number: Int, owner: String = "jane") -> SessionID {
        let digits = String(number, radix: 16)
        return SessionID(rawValue: "\(owner)-\(String(repeating: "0", count: 17 - digits.count))\(digits)")!
    }

    /// Number n starts n seconds after the first, on one node or the other.
    static func record(_ number: Int, owner: String = "jane", node: NodeID? = nil, seconds: Int64? = nil) -> SessionRecord {
        let id = id(number, owner: owner)
        let facts = SessionFacts(
            id: id, node: node ?? nodes[number % 2], ownerARN: "arn:aws:iam::000000000001:user/\(owner)", ownerName: owner,
            document: "SSM-SessionManagerRunShell", sessionType: "Standard_Stream", reason: "why \"not\"",
            started: start.adding(seconds: seconds ?? Int64(number)), properties: ["a": "b"])
        return SessionRecord(
            facts: facts, generation: 3,
            order: .init(document: "{\"schemaVersion\":\"1.0\"}", parameters: ["portNumber": .string("22")], runAsUser: "deploy"),
            idleMinutes: 20, maximumMinutes: number % 2 == 0 ? nil : 60,
            grant: SessionGrant(
                digest: [1, 2, 3], expiresAt: start.adding(seconds: 60), clientID: nil, holder: .init(SessionTokenTests.caller(owner))),
            client: nil, isOrdered: false,
            status: .connecting, details: "", endedAt: nil)
    }

    func insert(_ records: SessionRecord...) async throws {
        try await database.write { tx in for record in records { try SessionStore.insert(record, by: TestAccess.permit(in: tx), in: tx) } }
    }

    func read(_ id: SessionID) async throws -> SessionRecord? {
        try await database.read { tx in try SessionStore.session(id, in: tx) }
    }

    func list(isOver: Bool = false, _ change: (inout SessionStore.Selection) -> Void = { _ in }) async throws -> [SessionID] {
        var selection = SessionStore.Selection(isOver: isOver)
        change(&selection)
        let selected = selection
        return try await database.read { tx in try SessionStore.sessions(selected, after: nil, limit: 1000, in: tx).map(\.id) }
    }

    @Test func nobodyNewIsCalledSoThatAFormersSessionsAreHis() async throws {
        try await insert(Self.record(1, owner: "jane-b"), Self.record(2, owner: "bob"))
        try await database.write { tx in
            #expect(Set(try SessionStore.owners(in: tx)) == ["jane-b", "bob"])
            let changes = CallerChanges(now: Self.start, account: "000000000001", tx: tx)
            for name in ["jane", "bob-2"] { #expect(throws: APIError.self) { _ = try changes.createUser(name, tags: []) } }
            for name in ["bob", "janet"] { _ = try changes.createUser(name, tags: []) }
        }
    }

    @Test func aRowGivesBackWhatWasStored() async throws {
        try await insert(Self.record(1), Self.record(2))
        #expect(try await read(Self.id(1)) == Self.record(1))
        #expect(try await read(Self.id(2)) == Self.record(2))
        #expect(try await read(Self.id(3)) == nil)
        await #expect(throws: (any Error).self) { try await insert(Self.record(1)) }
    }

    @Test func whatHappensToItIsKept() async throws {
        let id = Self.id(1)
        try await insert(Self.record(1))
        let client = SessionClient(isNative: true, maximumPayload: 65_536, clientVersion: "2.0.1.0")
        let grant = SessionGrant(
            digest: [9, 8], expiresAt: Self.start.adding(seconds: 90), clientID: "a client",
            holder: .init(SessionTokenTests.caller("joe")), isUsed: true)
        try await database.write { tx in
            try SessionStore.setClient(client, at: Self.start, of: id, in: tx)
            try SessionStore.setGrant(grant, of: id, in: tx)
            try SessionStore.setStatus(.connected, at: RecordingFixture.start, of: id, in: tx)
            try SessionStore.setStatus(.terminating, details: "by jane", at: RecordingFixture.start, of: id, in: tx)
            // Without words it keeps those that are there.
            try SessionStore.setStatus(.disconnected, at: RecordingFixture.start, of: id, in: tx)
        }
        let found = try #require(try await read(id))
        #expect(found.client == client && found.isOrdered && found.grant == grant)
        #expect(found.status == .disconnected && found.details == "by jane" && found.endedAt == nil)
        #expect(found.shape.details == "Disconnected since \(RecordingFixture.start.iso8601)")
    }

    @Test func whatIsOverStaysOver() async throws {
        let id = Self.id(1)
        try await insert(Self.record(1))
        let end = Self.start.adding(seconds: 9)
        try await database.write { tx in
            try SessionStore.end(id, .failed, details: "no", at: end, in: tx)
            try SessionStore.end(id, .terminated, details: "yes", at: Self.start.adding(seconds: 99), in: tx)
            try SessionStore.setStatus(.connected, details: "yes", at: RecordingFixture.start, of: id, in: tx)
        }
        let found = try #require(try await read(id))
        #expect(found.status == .failed && found.details == "no" && found.endedAt == end)
        // Its token is worth nothing any more.
        #expect(found.grant.expiresAt == Timestamp(milliseconds: 0))
        #expect(found.shape.endDate == end && found.shape.details == "no")
    }

    @Test(arguments: SessionStatus.allCases) func aControllerThatStartsFindsWhatHasNotEnded(_ status: SessionStatus) async throws {
        let id = Self.id(7)
        try await insert(Self.record(7), Self.record(8))
        try await database.write { tx in
            try SessionStore.setStatus(status, details: "words", at: RecordingFixture.start, of: id, in: tx)
            try SessionStore.end(Self.id(8), .terminated, details: "", at: Self.start, in: tx)
        }
        try database.close()
        let again = try SQLiteDatabase(path: directory.file("store.sqlite"))
        defer { try? again.close() }
        let live = try await again.read { tx in try SessionStore.live(in: tx) }
        var expected = Self.record(7)
        (expected.status, expected.details, expected.statusAt) = (status, "words", RecordingFixture.start)
        #expect(live == (status.isOver ? [] : [expected]))
    }

    @Test func filters() async throws {
        try await insert(Self.record(1), Self.record(2), Self.record(3, owner: "joe"), Self.record(4))
        try await database.write { tx in
            try SessionStore.setStatus(.connected, at: RecordingFixture.start, of: Self.id(2), in: tx)
            try SessionStore.end(Self.id(4), .failed, details: "", at: Self.start, in: tx)
        }
        let (one, two, three, four) = (Self.id(1), Self.id(2), Self.id(3, owner: "joe"), Self.id(4))
        #expect(try await list() == [three, two, one])
        #expect(try await list(isOver: true) == [four])
        #expect(try await list { $0.after = Self.start.adding(seconds: 2) } == [three, two])
        #expect(try await list { $0.before = Self.start.adding(seconds: 2) } == [one])
        #expect(try await list { $0.target = Self.nodes[1].description } == [three, one])
        #expect(try await list { $0.owner = "arn:aws:iam::000000000001:user/joe" } == [three])
        #expect(try await list { $0.status = "Connected" } == [two])
        #expect(try await list { $0.session = one.rawValue } == [one])
        #expect(try await list { $0.session = four.rawValue } == [], "it is over")
        #expect(try await list { $0.accessType = "Standard" } == [three, two, one])
        #expect(try await list { $0.accessType = "JustInTime" } == [])
        // All of them together.
        #expect(
            try await list {
                ($0.after, $0.before) = (Self.start.adding(seconds: 1), Self.start.adding(seconds: 4))
                ($0.target, $0.status) = (Self.nodes[0].description, "Connected")
            } == [two])
        // Data, never a part of the statement.
        #expect(try await list { $0.target = "' OR 1=1 --" } == [])
    }

    /// Newest first, the id between equals; every size of page gives each once, also while rows come and go.
    @Test(arguments: [1, 2, 3, 7, 100]) func pages(size: Int) async throws {
        let records = (0..<20).map { Self.record($0, seconds: Int64($0 / 3)) }
        try await database.write { tx in
            for record in records.shuffled() { try SessionStore.insert(record, by: TestAccess.permit(in: tx), in: tx) }
        }
        let expected = records.sorted {
            ($1.facts.started.milliseconds, $0.id.rawValue) < ($0.facts.started.milliseconds, $1.id.rawValue)
        }.map(\.id)
        var position: SessionStore.Position?
        var found: [SessionID] = []
        for round in 0..<30 {
            let after = position
            let page = try await database.read { tx in
                try SessionStore.sessions(.init(isOver: false), after: after, limit: size, in: tx)
            }
            found += page.map(\.id)
            guard let last = page.last else { break }
            let text = SessionStore.Position(startedAt: last.facts.started.milliseconds, session: last.id.rawValue).text
            position = try #require(SessionStore.Position(text))
            // Newer ones do not shift what follows.
            try await insert(Self.record(100 + round, seconds: 1000))
        }
        #expect(found == expected)
    }

    @Test(arguments: ["", "1", "x jane-0123456789abcdef0", " "]) func aPositionThatIsNone(_ text: String) {
        #expect(SessionStore.Position(text) == nil)
    }

    @Test func onlyWhatEndedLongAgoIsRemoved() async throws {
        try await insert(Self.record(1), Self.record(2), Self.record(3), Self.record(4))
        try await database.write { tx in
            for number in 1...3 {
                try SessionStore.end(Self.id(number), .terminated, details: "", at: Self.start.adding(seconds: Int64(number)), in: tx)
            }
        }
        let before = Self.start.adding(seconds: 3)
        #expect(try await database.write { tx in try SessionStore.removeEnded(before: before, limit: 1, in: tx) } == 1)
        #expect(try await read(Self.id(1)) == nil)
        #expect(try await database.write { tx in try SessionStore.removeEnded(before: before, limit: 10, in: tx) } == 1)
        #expect(try await database.write { tx in try SessionStore.removeEnded(before: before, limit: 10, in: tx) } == 0)
        #expect(try await list(isOver: true) == [Self.id(3)])
        #expect(try await list() == [Self.id(4)])
    }

    @Test func aRowThatCannotBeReadIsNamed() async throws {
        try await insert(Self.record(1))
        for (column, value) in [("status", "Dreaming"), ("facts", "{"), ("token_digest", "zz")] {
            try await database.write { tx in
                try tx.execute("UPDATE sessions SET \(column) = $1", [.text(value)])
            }
            await #expect(throws: StoredValueError.self) { _ = try await read(Self.id(1)) }
        }
    }
}
