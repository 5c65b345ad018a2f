import Foundation
import MusterCrypto
import MusterWire
import NIOConcurrencyHelpers
import Testing

@testable import MusterController

@Suite(.timeLimit(.minutes(2))) struct AuditKeeperTests {
    @Test func aCheckpointIsKeptBesideTheStore() async throws {
        let fixture = try await AuditFixture()
        let keeper = fixture.keeper()
        try await keeper.begin()
        try await fixture.append(5)
        let checkpoint = try await keeper.checkpoint(.regular)
        #expect(checkpoint.isSigned(by: fixture.authority.certificate))
        #expect(try checkpoint.decoded().mark == (try await fixture.head()))
        // Nothing new is signed again; but for an export there is always one.
        #expect(try await keeper.checkpoint(.regular) == checkpoint)
        #expect(try await keeper.checkpoint(.request) == checkpoint)
        let kept = try JSONCoding.decode(AuditCheckpoint.self, from: Array(try fixture.directory.text(.auditCheckpoint).utf8))
        #expect(kept == checkpoint)
        #expect(try await fixture.verify([kept]).isProven)
        // Another run goes on from it and finds nothing.
        try await fixture.keeper().begin()
        #expect(try await fixture.operations().allSatisfy { $0 == "SendCommand" })
    }

    @Test(arguments: ["rolled back", "rolled back and went on", "rolled back and went on, with a cut", "replaced", "forged", "unreadable"])
    func aStoreThatWasPutBackIsNoticedAtStart(how: String) async throws {
        let fixture = try await AuditFixture()
        try await fixture.append(5)
        let copy = try await fixture.head()
        try await fixture.append(5)
        let keeper = fixture.keeper()
        try await keeper.begin()
        var other = fixture
        switch how {
        case "forged":
            let stranger = try await AuditFixture()
            try stranger.directory.write(
                String(decoding: try JSONCoding.encode(try await stranger.keeper().checkpoint(.start)), as: UTF8.self), to: .auditCheckpoint
            )
            try fixture.directory.write(try stranger.directory.text(.auditCheckpoint), to: .auditCheckpoint)
        case "unreadable":
            try fixture.directory.write("{", to: .auditCheckpoint)
        case "replaced":
            other = try await AuditFixture()
            try await other.append(20)
            let statement = try JSONCoding.decode(AuditCheckpoint.self, from: Array(try fixture.directory.text(.auditCheckpoint).utf8))
                .decoded()
            let resigned = try AuditCheckpoint(statement, by: other.authority)
            try other.directory.write(String(decoding: try JSONCoding.encode(resigned), as: UTF8.self), to: .auditCheckpoint)
        default:
            try await fixture.execute("DELETE FROM audit_events WHERE sequence > \(copy.sequence)")
            try await fixture.execute("DELETE FROM audit_checkpoints")
            try await fixture.execute("UPDATE audit_head SET sequence = \(copy.sequence), digest = '\(copy.digest)'")
            if how.contains("went on") { try await fixture.append(9, "Other") }
            if how.hasSuffix("cut") { try await fixture.insertCut(at: AuditMark(trail: copy.trail, sequence: 1_000, digest: copy.digest)) }
        }
        let before = try await other.head().sequence
        try await other.keeper().begin()
        let operations = try await other.operations()
        #expect(
            operations.first == AuditKeeper.rollback && operations.count(where: { $0 == AuditKeeper.rollback }) == 1,
            "\(operations.prefix(3))")
        // It goes on, and says so under its signature.
        #expect(try await other.head().sequence == before + 1)
        #expect(try await other.verify().isProven)
        try await other.keeper().begin()
        #expect(try await other.operations().count(where: { $0 == AuditKeeper.rollback }) == 1)
    }

    @Test func theLastNumberThatThereIsStopsNoController() async throws {
        let fixture = try await AuditFixture()
        let keeper = fixture.keeper()
        try await keeper.begin()
        try await fixture.database.write { tx in try tx.execute("UPDATE audit_checkpoints SET number = $1", [.integer(Int64.max)]) }
        try await fixture.append(1)
        let error = await #expect(throws: StoredValueError.self) { try await keeper.checkpoint(.regular) }
        #expect("\(try #require(error))".contains("audit_checkpoints"))
    }

    @Test func aTargetsCheckpointCountsAsWell() async throws {
        let fixture = try await AuditFixture()
        try await fixture.append(5)
        let checkpoint = try await fixture.keeper().checkpoint(.regular)
        let copy = AuditMark(trail: try checkpoint.decoded().mark.trail, sequence: 2, digest: "")
        try await fixture.execute("DELETE FROM audit_events WHERE sequence > \(copy.sequence)")
        try await fixture.execute("UPDATE audit_head SET sequence = 2, digest = (SELECT digest FROM audit_events WHERE sequence = 2)")
        fixture.directory.remove(.auditCheckpoint)
        try await fixture.keeper().begin([AuditKeeper.Outside(place: "folder", checkpoint: checkpoint)])
        #expect(try await fixture.operations().first == AuditKeeper.rollback)
    }

    @Test func whoWritesIntoARunningStoreIsNoticed() async throws {
        let changes = [
            "UPDATE audit_events SET record = REPLACE(record, 'r1', 'r2') WHERE sequence = 12",
            "DELETE FROM audit_events WHERE sequence = 12",
            "DELETE FROM audit_events WHERE sequence > 10",
            "UPDATE audit_head SET digest = REPLACE(digest, SUBSTR(digest, 1, 1), SUBSTR(digest, 2, 1) || '')",
        ]
        for change in changes.dropLast() {
            let fixture = try await AuditFixture()
            let keeper = fixture.keeper()
            try await keeper.begin()
            try await fixture.append(10)
            try await keeper.watch()
            try await fixture.append(5)
            #expect(try await !fixture.operations().contains(AuditKeeper.tampering))
            try await fixture.execute(change)
            try await keeper.watch()
            #expect(try await fixture.operations().first == AuditKeeper.tampering, "\(change)")
            // Said once.
            try await keeper.watch()
            #expect(try await fixture.operations().count(where: { $0 == AuditKeeper.tampering }) == 1)
        }
    }

    @Test(arguments: ["of somebody else", "far ahead", "a checkpoint that was renamed", "unreadable"])
    func aCutThatIsNotOursExcusesNothing(how: String) async throws {
        let fixture = try await AuditFixture()
        let keeper = fixture.keeper()
        try await keeper.begin()
        try await fixture.append(10)
        _ = try await keeper.checkpoint(.regular)
        var mark = try await fixture.head()
        try await keeper.watch()
        try await fixture.append(5)
        switch how {
        case "a checkpoint that was renamed":
            try await fixture.execute("UPDATE audit_checkpoints SET kind = 'cut' WHERE kind = 'regular'")
        case "far ahead":
            mark.sequence = 1_000_000
            try await fixture.insertCut(at: mark)
        default:
            try await fixture.insertCut(at: mark, text: how == "unreadable" ? "{" : nil)
        }
        // Nothing is removed behind it.
        let retention = AuditRetention(
            database: fixture.database, authority: { [authority = fixture.authority] in authority }, days: 5, targets: [])
        try await retention.clean(now: fixture.now)
        #expect(try await fixture.operations().count == 15)
        // It is told of once, and what is appended is watched as before.
        func told() async throws -> Int { try await fixture.operations().count { $0 == AuditKeeper.tampering } }
        try await keeper.watch()
        try await keeper.watch()
        #expect(try await told() == 1)
        try await fixture.append(5)
        try await fixture.execute("UPDATE audit_events SET record = REPLACE(record, 'r4', 'r5') WHERE sequence = 21")
        try await keeper.watch()
        #expect(try await told() == 2)
        // Whoever removes the records themselves is found by whoever verifies.
        try await fixture.execute("DELETE FROM audit_events WHERE sequence <= 10")
        #expect(try await fixture.verify().verdict.fault?.first == 1)
    }

    @Test func aCutOfTheAuthorityBeforeIsOurs() async throws {
        let fixture = try await AuditFixture()
        let next = try CertificateAuthority.create(commonName: "next", notBefore: 0, notAfter: 4_000_000_000, key: .generate())
        let issuing = NIOLockedValueBox(fixture.authority)
        let keeper = AuditKeeper(
            database: fixture.database, authority: { issuing.withLockedValue { $0 } }, directory: fixture.directory,
            now: { fixture.now }, logger: fixture.logger)
        try await keeper.begin()
        try await fixture.append(10)
        fixture.advance(seconds: 10 * 86_400)
        let retention = AuditRetention(
            database: fixture.database, authority: { issuing.withLockedValue { $0 } }, days: 5, targets: [])
        try await retention.clean(now: fixture.now)
        issuing.withLockedValue { $0 = next }
        try await keeper.watch()
        #expect(try await fixture.operations() == ["CutAuditTrail"])
        try await fixture.append(3)
        fixture.advance(seconds: 10 * 86_400)
        try await retention.clean(now: fixture.now)
        try await keeper.watch()
        #expect(try await fixture.operations() == ["CutAuditTrail"])
    }

    @Test func oldRecordsAreRemovedBehindASignedCut() async throws {
        let fixture = try await AuditFixture()
        let keeper = fixture.keeper()
        try await keeper.begin()
        try await fixture.append(1_200)
        try await keeper.watch()
        fixture.advance(seconds: 10 * 86_400)
        try await fixture.append(10)
        let outside = try await keeper.checkpoint(.regular)
        let retention = AuditRetention(
            database: fixture.database, authority: { [authority = fixture.authority] in authority }, days: 5, targets: ["somewhere"])
        // Nothing goes before it has been delivered.
        try await retention.clean(now: fixture.now)
        #expect(try await fixture.verify([outside]).verdict.start == 0)
        let delivered = try await fixture.database.read { tx in try AuditStore.mark(at: 1_100, in: tx) }
        let position = AuditStore.Position(mark: try #require(delivered), checkpoint: 0)
        try await fixture.database.write { tx in try AuditStore.set(position, of: "somewhere", in: tx) }
        try await retention.clean(now: fixture.now)
        var outcome = try await fixture.verify([outside])
        #expect(outcome.isProven && outcome.verdict.start == 1_100, "\(outcome.verdict.words)")
        #expect(try await fixture.operations().first == "CutAuditTrail")
        let free = AuditRetention(
            database: fixture.database, authority: { [authority = fixture.authority] in authority }, days: 5, targets: [])
        try await free.clean(now: fixture.now)
        try await free.clean(now: fixture.now)
        outcome = try await fixture.verify([outside])
        #expect(outcome.isProven && outcome.verdict.start == 1_200, "\(outcome.verdict.words)")
        // What is left is watched on, a restart finds nothing wrong, and a row that goes without a cut is missed.
        try await keeper.watch()
        try await fixture.keeper().begin()
        #expect(try await !fixture.operations().contains { $0 == AuditKeeper.tampering || $0 == AuditKeeper.rollback })
        try await fixture.execute("DELETE FROM audit_events WHERE sequence = 1201")
        #expect(try await fixture.verify([outside]).verdict.fault?.first == 1_201)
    }
}
