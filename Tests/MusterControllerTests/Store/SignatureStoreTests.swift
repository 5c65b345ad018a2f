import MusterController
import MusterWire
import Testing

@Suite struct SignatureStoreTests {
    private let now = Timestamp(milliseconds: 1_700_000_000_000)

    private func use(_ database: SQLiteDatabase, _ signature: String = "s", of key: String = "A", at time: Timestamp) async throws -> Bool {
        try await database.write { tx in try SignatureStore.use(signature, of: key, for: "SendCommand", now: time, in: tx) }
    }

    @Test func aSignatureCountsOnceBesideItsOwnSecond() async throws {
        let directory = try TemporaryDirectory()
        let database = try SQLiteDatabase(path: directory.file("store.sqlite"))
        try await Migrations.run(on: database, now: 1)
        #expect(try await use(database, at: now))
        // Twice the same call within the second that its time is cut to.
        #expect(try await use(database, at: now.adding(milliseconds: 1900)))
        #expect(try await !use(database, at: now.adding(milliseconds: 2001)))
        #expect(try await !use(database, at: now.adding(seconds: 600)))
        // A clock that was set back makes nothing young again.
        #expect(try await !use(database, at: now.adding(seconds: -3600)))
        #expect(try await use(database, "t", at: now.adding(seconds: 5)))
        #expect(try await use(database, of: "B", at: now.adding(seconds: 5)))
    }

    @Test func itIsKnownAfterARestartAndForgottenWhenNobodyWouldTakeIt() async throws {
        let directory = try TemporaryDirectory()
        let path = directory.file("store.sqlite")
        let first = try SQLiteDatabase(path: path)
        try await Migrations.run(on: first, now: 1)
        #expect(try await use(first, at: now))
        try first.close()
        let second = try SQLiteDatabase(path: path)
        #expect(try await !use(second, at: now.adding(seconds: 300)))
        #expect(try await use(second, "t", at: now.adding(seconds: 601)))
        let left = try await second.read { tx in try tx.query("SELECT invocation_id FROM idempotent_answers").count }
        #expect(left == 1)
    }
}
