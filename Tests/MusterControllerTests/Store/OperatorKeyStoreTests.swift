import Foundation
import MusterController
import MusterCrypto
import MusterWire
import Testing

@Suite struct OperatorKeyStoreTests {
    private let now = Timestamp(milliseconds: 1_700_000_000_000)

    private func create(_ directory: TemporaryDirectory) async throws -> (SQLiteDatabase, OperatorKeyStore, Credentials) {
        let database = try SQLiteDatabase(path: directory.file("store.sqlite"))
        try await Migrations.run(on: database, now: 1)
        let store = OperatorKeyStore(database: database, cipher: try AuthenticatedCipher(key: [UInt8](repeating: 1, count: 32)))
        let time = now
        let credentials = try await database.write { tx in try FirstUser.create(now: time, cipher: store.cipher, in: tx) }
        return (database, store, credentials)
    }

    @Test func aKeyComesBackWithItsSecret() async throws {
        let directory = try TemporaryDirectory()
        let (database, store, credentials) = try await create(directory)
        let key = try #require(try await store.key(credentials.accessKeyID))
        #expect(key.credentials == credentials)
        #expect(key.userName == "administrator")
        #expect(credentials.accessKeyID.count == 20)
        #expect(credentials.secretAccessKey.count == 40)
        #expect(try await store.key("MUSTERNOBODY22222222") == nil)
        let audit = try await database.read { tx in try AuditLog.newest(10, in: tx) }
        #expect(audit.map(\.operation) == ["CreateAccessKey", "CreateUser"])
    }

    @Test func theDatabaseAloneSignsNothing() async throws {
        let directory = try TemporaryDirectory()
        let (database, _, credentials) = try await create(directory)
        for file in ["store.sqlite", "store.sqlite-wal"] {
            let bytes = try Data(contentsOf: URL(fileURLWithPath: directory.file(file)))
            #expect(bytes.range(of: Data(credentials.secretAccessKey.utf8)) == nil)
        }
        let thief = OperatorKeyStore(database: database, cipher: try AuthenticatedCipher(key: [UInt8](repeating: 2, count: 32)))
        await #expect(throws: CryptoError.self) { try await thief.key(credentials.accessKeyID) }
    }

    /// A sealed secret belongs to its key id: put under another one it does not open.
    @Test func aSecretCannotBeMovedToAnotherKey() async throws {
        let directory = try TemporaryDirectory()
        let (database, store, credentials) = try await create(directory)
        let id = credentials.accessKeyID
        try await database.write { tx in
            try tx.execute("UPDATE operator_keys SET access_key_id = 'MUSTERFORGED22222222' WHERE access_key_id = $1", [.text(id)])
        }
        await #expect(throws: CryptoError.self) { try await store.key("MUSTERFORGED22222222") }
    }

    @Test func anInactiveKeyIsAsUnknownAsNoKey() async throws {
        let directory = try TemporaryDirectory()
        let (database, store, credentials) = try await create(directory)
        try await database.write { tx in try tx.execute("UPDATE operator_keys SET status = 'Inactive'") }
        #expect(try await store.key(credentials.accessKeyID) == nil)
    }
}
