import MusterController
import MusterWire
import Testing

@Suite struct IdempotencyStoreTests {
    private struct Failed: Error {}
    private let now = Timestamp(milliseconds: 1_700_000_000_000)
    private let key = RetryKey(accessKeyID: "A", invocationID: "1", operation: "SendCommand", bodyDigest: "d")

    private func open(_ directory: TemporaryDirectory) async throws -> SQLiteDatabase {
        let database = try SQLiteDatabase(path: directory.file("store.sqlite"))
        try await Migrations.run(on: database, now: 1)
        return database
    }

    private func once(_ database: SQLiteDatabase, _ key: RetryKey?, _ answer: String, at time: Timestamp) async throws -> (String, Bool) {
        try await database.write { tx in
            let result = try IdempotencyStore.once(key, now: time, in: tx) { ["answer": answer] }
            return (result.output["answer"] ?? "", result.isRepeat)
        }
    }

    @Test func theSameCallGetsTheFirstAnswer() async throws {
        let directory = try TemporaryDirectory()
        let database = try await open(directory)
        #expect(try await once(database, key, "first", at: now) == ("first", false))
        #expect(try await once(database, key, "second", at: now.adding(seconds: 60)) == ("first", true))
    }

    @Test(arguments: [
        RetryKey(accessKeyID: "B", invocationID: "1", operation: "SendCommand", bodyDigest: "d"),
        RetryKey(accessKeyID: "A", invocationID: "2", operation: "SendCommand", bodyDigest: "d"),
        RetryKey(accessKeyID: "A", invocationID: "1", operation: "CreateActivation", bodyDigest: "d"),
        RetryKey(accessKeyID: "A", invocationID: "1", operation: "SendCommand", bodyDigest: "e"),
        nil,
    ])
    func anotherCallIsAnotherCall(_ other: RetryKey?) async throws {
        let directory = try TemporaryDirectory()
        let database = try await open(directory)
        _ = try await once(database, key, "first", at: now)
        #expect(try await once(database, other, "second", at: now) == ("second", false))
    }

    @Test func afterFifteenMinutesItIsANewCall() async throws {
        let directory = try TemporaryDirectory()
        let database = try await open(directory)
        _ = try await once(database, key, "first", at: now)
        #expect(try await once(database, key, "second", at: now.adding(seconds: 899)) == ("first", true))
        #expect(try await once(database, key, "third", at: now.adding(seconds: 900)) == ("third", false))
    }

    @Test func workThatFailedIsNotRemembered() async throws {
        let directory = try TemporaryDirectory()
        let database = try await open(directory)
        let (key, now) = (key, now)
        await #expect(throws: Failed.self) {
            try await database.write { tx in
                _ = try IdempotencyStore.once(key, now: now, in: tx) { ["answer": "lost"] }
                throw Failed()
            }
        }
        #expect(try await once(database, key, "second", at: now) == ("second", false))
    }

    /// An SDK that gave up waiting sends again while the first call is still at work.
    @Test func ofManyAtOnceOneDoesTheWork() async throws {
        let directory = try TemporaryDirectory()
        let database = try await open(directory)
        let (key, now) = (key, now)
        let answers = try await withThrowingTaskGroup(of: (String, Bool).self) { group in
            for number in 0..<20 {
                group.addTask { try await once(database, key, String(number), at: now) }
            }
            return try await group.reduce(into: [(String, Bool)]()) { $0.append($1) }
        }
        #expect(Set(answers.map(\.0)).count == 1)
        #expect(answers.count { !$0.1 } == 1)
    }
}
