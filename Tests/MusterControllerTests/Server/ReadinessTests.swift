import Logging
import MusterWire
import Testing

@testable import MusterController

@Suite struct ReadinessTests {
    @Test func aStoreThatTakesNoChangesIsNotReady() async throws {
        let directory = try TemporaryDirectory()
        let database = try SQLiteDatabase(path: directory.file("x.sqlite"))
        try await Migrations.run(on: database, now: 0)
        let readiness = Readiness(database: database, logger: Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() }))
        let now = Timestamp(milliseconds: 1_000_000)
        #expect(await readiness.refusal(now) == nil)
        try await database.write { tx in try tx.execute("ALTER TABLE meta RENAME TO elsewhere") }
        // Known for a moment, so that nobody makes the disk work by asking.
        #expect(await readiness.refusal(now) == nil)
        #expect(await readiness.refusal(now.adding(seconds: 3))?.contains("refused") == true)
        // Readable all the same, which is why reading proves nothing.
        _ = try await database.read { tx in try tx.query("SELECT version FROM migrations") }
        try await database.write { tx in try tx.execute("ALTER TABLE elsewhere RENAME TO meta") }
        #expect(await readiness.refusal(now.adding(seconds: 6)) == nil)
        try database.close()
    }
}
