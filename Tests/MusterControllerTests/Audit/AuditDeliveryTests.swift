import Foundation
import Glibc
import MusterCrypto
import MusterWire
import NIOConcurrencyHelpers
import Testing

@testable import MusterController

@Suite(.timeLimit(.minutes(2))) struct AuditDeliveryTests {
    /// Keeps what it gets, unless it is away.
    private final class Target: AuditTarget {
        struct Away: Error {}
        let name = "test"
        let pause = Duration.seconds(1)
        let lines = NIOLockedValueBox<[AuditLine]>([])
        let isAway = NIOLockedValueBox(false)
        /// It took the lines and died before it said so.
        let losesAnswers = NIOLockedValueBox(false)

        /// What it kept from before.
        let latest = NIOLockedValueBox<AuditCheckpoint?>(nil)
        /// What it says when it is asked for that.
        let refusal = NIOLockedValueBox<(any Error)?>(nil)

        func reached() async throws -> AuditMark? { nil }
        func latestCheckpoint() async throws -> AuditCheckpoint? {
            if isAway.withLockedValue({ $0 }) { throw Away() }
            if let refusal = refusal.withLockedValue({ $0 }) { throw refusal }
            return latest.withLockedValue { $0 }
        }
        func deliver(_ lines: [AuditLine], after position: AuditDelivery.Position) async throws {
            if isAway.withLockedValue({ $0 }) { throw Away() }
            self.lines.withLockedValue { $0 += lines }
            if losesAnswers.withLockedValue({ $0 }) { throw Away() }
        }
        var sequences: [Int64] {
            lines.withLockedValue { $0.compactMap { if case .record(let record) = $0 { record.sequence } else { nil } } }
        }
    }

    private func delivery(_ target: any AuditTarget, _ fixture: AuditFixture) -> AuditDelivery {
        AuditDelivery(target: target, database: fixture.database, metrics: Metrics(), logger: fixture.logger)
    }

    private func verdict(of folder: String, _ fixture: AuditFixture) throws -> AuditVerifier.Verdict {
        var verifier = AuditVerifier(authorities: [fixture.authority.certificate])
        for name in try FileManager.default.contentsOfDirectory(atPath: folder).filter({ $0.hasSuffix(".jsonl") }).sorted() {
            let bytes = try Data(contentsOf: URL(filePath: folder + "/" + name))
            for line in Array(bytes).split(separator: 0x0a) { verifier.take(Array(line)) }
        }
        return verifier.end()
    }

    @Test func aTargetThatWasAwayMissesNothing() async throws {
        let (fixture, target) = (try await AuditFixture(), Target())
        let delivery = delivery(target, fixture)
        try await fixture.append(1_500)
        try await delivery.round()
        #expect(target.sequences == Array(1...1_500))
        target.isAway.withLockedValue { $0 = true }
        try await fixture.append(20)
        await #expect(throws: Target.Away.self) { try await delivery.round() }
        target.isAway.withLockedValue { $0 = false }
        // Also by another run of the controller.
        try await self.delivery(target, fixture).round()
        #expect(target.sequences == Array(1...1_520))
        target.losesAnswers.withLockedValue { $0 = true }
        try await fixture.append(1)
        await #expect(throws: Target.Away.self) { try await delivery.round() }
        target.losesAnswers.withLockedValue { $0 = false }
        try await delivery.round()
        #expect(target.sequences.suffix(2) == [1_521, 1_521])
        _ = try await fixture.keeper().checkpoint(.regular)
        try await delivery.round()
        #expect(target.lines.withLockedValue { if case .checkpoint = $0.last { true } else { false } })
        let count = target.lines.withLockedValue(\.count)
        try await delivery.round()
        #expect(target.lines.withLockedValue(\.count) == count)
    }

    /// Its checkpoint is read before it is replaced, however late.
    @Test func aTargetThatWasAwayAtStartTellsThatTheStoreWasPutBack() async throws {
        let (fixture, target) = (try await AuditFixture(), Target())
        try await fixture.append(9)
        let checkpoint = try await fixture.keeper().checkpoint(.regular)
        target.latest.withLockedValue { $0 = checkpoint }
        try await fixture.execute("DELETE FROM audit_events WHERE sequence > 4")
        try await fixture.execute("DELETE FROM audit_checkpoints")
        try await fixture.execute("UPDATE audit_head SET sequence = 4, digest = (SELECT digest FROM audit_events WHERE sequence = 4)")
        fixture.directory.remove(.auditCheckpoint)
        let keeper = fixture.keeper()
        try await keeper.begin()
        let delivery = AuditDelivery(target: target, database: fixture.database, metrics: Metrics(), logger: fixture.logger) {
            try await keeper.hold(against: AuditKeeper.Outside(place: target.name, checkpoint: $0))
        }
        target.isAway.withLockedValue { $0 = true }
        await #expect(throws: Target.Away.self) { try await delivery.round() }
        #expect(try await !fixture.operations().contains(AuditKeeper.rollback))
        target.isAway.withLockedValue { $0 = false }
        // Meanwhile it has gone on, further than it was.
        try await fixture.append(20)
        try await delivery.round()
        #expect(try await fixture.operations().first == AuditKeeper.rollback)
        #expect(target.sequences == Array(1...25))
        // Once.
        try await delivery.round()
        #expect(try await fixture.operations().count { $0 == AuditKeeper.rollback } == 1)
    }

    @Test(arguments: [403, 503]) func aBucketThatIsNotReadFromGetsItsRecordsUnlessItIsAway(status: Int) async throws {
        let (fixture, target) = (try await AuditFixture(), Target())
        try await fixture.append(2)
        let asked = NIOLockedValueBox(0)
        let delivery = AuditDelivery(target: target, database: fixture.database, metrics: Metrics(), logger: fixture.logger) { _ in
            asked.withLockedValue { $0 += 1 }
        }
        target.refusal.withLockedValue { $0 = ObjectUpload.Failure(description: "no", status: status) }
        if status == 403 {
            try await delivery.round()
        } else {
            await #expect(throws: ObjectUpload.Failure.self) { try await delivery.round() }
            #expect(target.sequences.isEmpty)
            target.refusal.withLockedValue { $0 = nil }
            try await delivery.round()
        }
        #expect(target.sequences == [1, 2])
        // What it keeps from now on is this store's.
        let checkpoint = try await fixture.keeper().checkpoint(.regular)
        target.latest.withLockedValue { $0 = checkpoint }
        target.refusal.withLockedValue { $0 = nil }
        try await delivery.round()
        #expect(asked.withLockedValue { $0 } == 0)
    }

    @Test func aFolderHoldsWhatVerifies() async throws {
        let fixture = try await AuditFixture()
        let keeper = fixture.keeper()
        try await keeper.begin()
        let path = fixture.folder.file("delivered")
        let time: @Sendable () -> Timestamp = { [time = fixture.time] in time.withLockedValue { $0 } }
        let folder = AuditFolder(path: path, now: time)
        try await fixture.append(10)
        try await delivery(folder, fixture).round()
        fixture.advance(seconds: 3_600)
        try await fixture.append(10)
        let checkpoint = try await keeper.checkpoint(.regular)
        try await delivery(folder, fixture).round()
        let names = try FileManager.default.contentsOfDirectory(atPath: path).sorted()
        #expect(names == ["audit-2023-11-14T22.jsonl", "audit-2023-11-14T23.jsonl", "audit.checkpoint"])
        #expect(try await folder.latestCheckpoint() == checkpoint)
        var found = try verdict(of: path, fixture)
        #expect(found.isProven && found.provenThrough == 20, "\(found.words)")

        // A crash left half a line, and the store had not heard of the last whole ones.
        let newest = path + "/audit-2023-11-14T23.jsonl"
        try await fixture.append(3)
        try await delivery(folder, fixture).round()
        let early = try await fixture.database.read { tx in try AuditStore.mark(at: 21, in: tx) }
        let position = AuditStore.Position(mark: try #require(early), checkpoint: 0)
        try await fixture.database.write { tx in try AuditStore.set(position, of: folder.name, in: tx) }
        let handle = try FileHandle(forWritingTo: URL(filePath: newest))
        try handle.seekToEnd()
        try handle.write(contentsOf: Data(#"{"record":{"eventV"#.utf8))
        try handle.close()
        let again = AuditFolder(path: path, now: time)
        try await fixture.append(2)
        try await delivery(again, fixture).round()
        found = try verdict(of: path, fixture)
        #expect(found.fault == nil && found.last == 25, "\(found.words)")

        // What somebody took out of the folder is missed.
        try FileManager.default.removeItem(atPath: path + "/audit-2023-11-14T22.jsonl")
        #expect(try !verdict(of: path, fixture).isProven)
        var status = stat()
        #expect(stat(newest, &status) == 0 && status.st_mode & 0o777 == 0o600)
    }

    @Test func aFolderThatIsAwayOrFullCostsNothing() async throws {
        let fixture = try await AuditFixture()
        let path = fixture.folder.file("delivered")
        try await fixture.append(5)
        try "x".write(toFile: path, atomically: true, encoding: .utf8)
        let folder = AuditFolder(path: path, now: { Timestamp(milliseconds: 1_700_000_000_000) })
        await #expect(throws: (any Error).self) { try await delivery(folder, fixture).round() }
        try FileManager.default.removeItem(atPath: path)
        try await delivery(folder, fixture).round()
        #expect(try verdict(of: path, fixture).last == 5)
    }

    @Test func anAddressOfSyslogIsOneOfThree() {
        #expect(AuditSyslog.Address("unix:/dev/log")?.place == "/dev/log")
        #expect(AuditSyslog.Address("tcp:log.example.com:6514")?.port == "6514")
        #expect(AuditSyslog.Address("udp:192.0.2.1")?.port == "514")
        #expect(AuditSyslog.Address("tcp:[2001:db8::1]:601")?.place == "2001:db8::1")
        for bad in ["", "unix:", "unix:relative", "tcp:", "tcp:host:0", "tcp:host:x", "http:host", "tcp:ho st:1", "/dev/log"] {
            #expect(AuditSyslog.Address(bad) == nil, "\(bad)")
        }
    }
}
