import Logging
import MusterCrypto
import MusterWire
import NIOConcurrencyHelpers

@testable import MusterController

/// A store with its authority and a keeper; the test sets the time.
final class AuditFixture: Sendable {
    let folder: TemporaryDirectory
    let directory: DataDirectory
    let database: SQLiteDatabase
    let authority: CertificateAuthority
    let time = NIOLockedValueBox(Timestamp(milliseconds: 1_700_000_000_000))
    let logger = Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() })

    init() async throws {
        folder = try TemporaryDirectory()
        directory = DataDirectory(folder.path)
        database = try SQLiteDatabase(path: folder.file("store.sqlite"))
        try await Migrations.run(on: database, now: 1)
        authority = try CertificateAuthority.create(commonName: "Test CA", notBefore: 0, notAfter: 4_000_000_000, key: .generate())
        let record = AuthorityRecord(
            number: 1, state: .issuing, certificate: authority.certificate, preparedAt: Timestamp(milliseconds: 1),
            switchedAt: Timestamp(milliseconds: 1))
        try await database.write { tx in
            try AuthorityStore.insert(record, in: tx)
            try AuditLog.adopt(account: "000000000001", region: "local", in: tx)
        }
    }

    var now: Timestamp { time.withLockedValue { $0 } }

    func advance(seconds: Int64) { time.withLockedValue { $0 = $0.adding(seconds: seconds) } }

    func keeper() -> AuditKeeper {
        AuditKeeper(
            database: database, authority: { [authority] in authority }, directory: directory,
            now: { [time] in time.withLockedValue { $0 } },
            logger: logger)
    }

    func append(_ count: Int, _ operation: String = "SendCommand") async throws {
        let now = now
        try await database.write { tx in
            for number in 0..<count {
                try AuditLog.append(AuditEvent(time: now, controllerDid: operation, resource: "r\(number)"), in: tx)
            }
        }
    }

    func execute(_ sql: String) async throws {
        try await database.write { tx in try tx.execute(sql) }
    }

    /// A row that says that it is a cut, as whoever writes into the database can make one.
    func insertCut(at mark: AuditMark, text: String? = nil) async throws {
        let stranger = try CertificateAuthority.create(commonName: "other", notBefore: 0, notAfter: 4_000_000_000, key: .generate())
        let cut = try AuditCheckpoint(AuditStatement(kind: .cut, mark: mark, time: now, number: 9), by: stranger)
        let text = try text ?? String(decoding: JSONCoding.encode(cut), as: UTF8.self)
        try await database.write { tx in
            try tx.execute(
                "INSERT INTO audit_checkpoints (number, kind, sequence, time_ms, checkpoint) VALUES (9, 'cut', $1, 0, $2)",
                [.integer(mark.sequence), .text(text)])
        }
    }

    func verify(_ checkpoints: [AuditCheckpoint] = []) async throws -> AuditStoreCheck.Outcome {
        try await AuditStoreCheck.run(database, checkpoints: checkpoints)
    }

    func operations() async throws -> [String] {
        try await database.read { tx in try AuditLog.newest(1_000, in: tx).map(\.operation) }
    }

    func head() async throws -> AuditMark { try await database.read { tx in try AuditLog.head(in: tx) } }
}
