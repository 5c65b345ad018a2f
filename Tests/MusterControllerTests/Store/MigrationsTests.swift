import MusterController
import Testing

@Suite struct MigrationsTests {
    @Test func twiceIsTheSameAsOnce() async throws {
        let directory = try TemporaryDirectory()
        let database = try SQLiteDatabase(path: directory.file("store.sqlite"))
        #expect(try await !Migrations.isCurrent(database))
        try await Migrations.run(on: database, now: 1)
        try await database.write { tx in try MetaStore.set(.storeEpoch, to: "kept", in: tx) }
        try await Migrations.run(on: database, now: 2)
        #expect(try await Migrations.isCurrent(database))
        #expect(try await database.read { tx in try MetaStore.value(.storeEpoch, in: tx) } == "kept")
        let times = try await database.read { tx in try tx.query("SELECT applied_at FROM migrations").map { try $0.integer("applied_at") } }
        #expect(Set(times) == [1])
    }

    @Test func manyAtOnceApplyEachStepOnce() async throws {
        let directory = try TemporaryDirectory()
        let database = try SQLiteDatabase(path: directory.file("store.sqlite"))
        try await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<8 { group.addTask { try await Migrations.run(on: database, now: 1) } }
            try await group.waitForAll()
        }
        #expect(try await Migrations.isCurrent(database))
    }

    @Test func aStoreOfANewerProgramIsLeftAlone() async throws {
        let directory = try TemporaryDirectory()
        let database = try SQLiteDatabase(path: directory.file("store.sqlite"))
        try await Migrations.run(on: database, now: 1)
        try await database.write { tx in
            try tx.execute("INSERT INTO migrations (version, name, applied_at) VALUES (9999, 'future', 1)")
        }
        await #expect(throws: SQLError.self) { try await Migrations.run(on: database, now: 2) }
    }

    /// The tags of one resource are found by their primary key. With an index that SQLite liked better it read those of all resources.
    @Test func tagsOfOneResourceAreFoundByIt() async throws {
        let directory = try TemporaryDirectory()
        let database = try SQLiteDatabase(path: directory.file("store.sqlite"))
        try await Migrations.run(on: database, now: 1)
        let plan = try await database.read { tx in
            try tx.query(
                "EXPLAIN QUERY PLAN SELECT tag_key, tag_value FROM tags WHERE resource_type = $1 AND resource_id = $2",
                [.text("ManagedInstance"), .text("mi-1")]
            ).map { try $0.text("detail") }
        }
        #expect(plan.count == 1 && plan[0].contains("resource_type=? AND resource_id=?"), "\(plan)")
    }
}
