import Dispatch
import MusterController
import Testing

@Suite struct SQLiteDatabaseTests {
    private struct Refused: Error, Equatable {}

    private func open(_ directory: TemporaryDirectory) async throws -> SQLiteDatabase {
        let database = try SQLiteDatabase(path: directory.file("store.sqlite"))
        try await database.write { tx in
            try tx.execute("CREATE TABLE IF NOT EXISTS things (id BIGINT PRIMARY KEY, name TEXT, bytes BLOB)")
        }
        return database
    }

    @Test func synchronousIsFullOnTheWritersConnection() async throws {
        let directory = try TemporaryDirectory()
        let database = try await open(directory)
        let found = try database.durability()
        #expect(found.synchronous == 2)
        #expect(found.journal == "wal")
    }

    @Test func placeholdersGoByNumberAndMayRepeat() async throws {
        let directory = try TemporaryDirectory()
        let database = try await open(directory)
        try await database.write { tx in
            try tx.execute("INSERT INTO things (name, id) VALUES ($2, $1)", [.integer(7), .text("seven")])
            #expect(tx.changes == 1)
        }
        let rows = try await database.read { tx in
            try tx.query("SELECT id, name FROM things WHERE name = $2 AND id = $1 AND $2 = $2", [.integer(7), .text("seven")])
        }
        #expect(try rows.map { try $0.integer("id") } == [7])
    }

    @Test func valuesComeBackAsTheyWere() async throws {
        let directory = try TemporaryDirectory()
        let database = try await open(directory)
        try await database.write { tx in
            try tx.execute(
                "INSERT INTO things (id, name, bytes) VALUES ($1, $2, $3)",
                [.integer(Int64.max), .text("a\u{0}b'é\u{1F980}"), .blob([0, 255])])
            try tx.execute("INSERT INTO things (id, name, bytes) VALUES ($1, $2, $3)", [.integer(1), .null, .null])
        }
        let rows = try await database.read { tx in try tx.query("SELECT id, name, bytes FROM things ORDER BY id DESC") }
        #expect(try rows[0].integer("id") == Int64.max)
        #expect(try rows[0].text("name") == "a\u{0}b'é\u{1F980}")
        #expect(try rows[0].blob("bytes") == [0, 255])
        #expect(try rows[1].optionalText("name") == nil)
        #expect(try rows[1].optionalBlob("bytes") == nil)
        #expect(throws: SQLError.self) { try rows[0].integer("name") }
        #expect(throws: SQLError.self) { try rows[0].text("nothing") }
    }

    /// Fifty writes gather behind one that holds the writer; they share a commit, and the one that fails takes back only itself.
    @Test func writesThatWaitShareOneCommit() async throws {
        let directory = try TemporaryDirectory()
        let database = try await open(directory)
        let holding = AsyncStream.makeStream(of: Void.self)
        let release = DispatchSemaphore(value: 0)
        let before = database.commits
        try await withThrowingTaskGroup(of: Bool.self) { group in
            group.addTask {
                try await database.write { _ in
                    holding.continuation.yield()
                    _ = release.wait(timeout: .now() + 10)
                    return true
                }
            }
            for await _ in holding.stream { break }
            for id in 0..<50 {
                group.addTask {
                    do {
                        return try await database.write { tx in
                            try tx.execute("INSERT INTO things (id, name) VALUES ($1, 'x')", [.integer(id)])
                            if id == 17 { throw Refused() }
                            return true
                        }
                    } catch is Refused {
                        return false
                    }
                }
            }
            while database.waiting < 50 { await Task.yield() }
            release.signal()
            let outcomes = try await group.reduce(into: [Bool]()) { $0.append($1) }
            #expect(outcomes.count { !$0 } == 1)
        }
        #expect(database.commits == before + 2)
        let ids = try await database.read { tx in try tx.query("SELECT id FROM things").map { try $0.integer("id") } }
        #expect(Set(ids) == Set((0..<50).map(Int64.init)).subtracting([17]))
    }

    @Test func aStatementThatFailsLeavesNothingOfItsWrite() async throws {
        let directory = try TemporaryDirectory()
        let database = try await open(directory)
        await #expect(throws: (any Error).self) {
            try await database.write { tx in
                try tx.execute("INSERT INTO things (id, name) VALUES (1, 'first')")
                try tx.execute("INSERT INTO things (id, name) VALUES (1, 'again')")
            }
        }
        #expect(try await database.read { tx in try tx.query("SELECT id FROM things").count } == 0)
    }

    @Test func aReaderSeesWhatWasCommittedAndAWriterCannotHideInOne() async throws {
        let directory = try TemporaryDirectory()
        let database = try await open(directory)
        try await database.write { tx in try tx.execute("INSERT INTO things (id, name) VALUES (1, 'x')") }
        #expect(try await database.read { tx in try tx.first("SELECT name FROM things")?.text("name") } == "x")
        await #expect(throws: (any Error).self) {
            try await database.read { tx in try tx.execute("DELETE FROM things") }
        }
    }

    @Test func whatWasCommittedIsThereAfterOpeningAgain() async throws {
        let directory = try TemporaryDirectory()
        let database = try await open(directory)
        try await database.write { tx in try tx.execute("INSERT INTO things (id, name) VALUES (1, 'x')") }
        try database.close()
        await #expect(throws: SQLError.self) { try await database.write { tx in try tx.execute("DELETE FROM things") } }
        let again = try await open(directory)
        #expect(try await again.read { tx in try tx.query("SELECT id FROM things").count } == 1)
        try again.verifyIntegrity()
    }

    @Test func somethingThatIsNoDatabaseIsRefusedInWords() throws {
        let directory = try TemporaryDirectory()
        try DataDirectory.write(String(repeating: "not a database ", count: 500), to: directory.file("store.sqlite"))
        #expect(throws: SQLError.self) { try SQLiteDatabase(path: directory.file("store.sqlite")) }
        #expect(throws: SQLError.self) { try SQLiteDatabase(path: directory.file("nowhere/store.sqlite")) }
    }
}
