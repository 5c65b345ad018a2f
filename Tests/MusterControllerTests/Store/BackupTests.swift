import Foundation
import Glibc
import Logging
import MusterCrypto
import MusterWire
import Testing

@testable import MusterController

@Suite(.timeLimit(.minutes(2))) struct BackupTests {
    private struct Setting: Sendable {
        let directory: TemporaryDirectory
        let configuration: ControllerConfiguration

        init() async throws {
            directory = try TemporaryDirectory()
            var configuration = ControllerConfiguration()
            configuration.dataDirectory = directory.file("data")
            configuration.names = ["localhost"]
            configuration.listeners = [.init(address: "127.0.0.1", port: 0)]
            self.configuration = configuration
            _ = try await ControllerSetup(configuration: configuration, names: [], profileDirectory: nil).run()
            let database = try SQLiteDatabase(path: path("data/controller.sqlite"))
            try await Authorities.enter(from: DataDirectory(path("data")), database, now: .now())
            try database.close()
        }

        func path(_ name: String) -> String { directory.file(name) }

        func open<T: Sendable>(_ body: @escaping @Sendable (any SQLTransaction) throws -> T) async throws -> T {
            let database = try SQLiteDatabase(path: path("data/controller.sqlite"))
            defer { try? database.close() }
            return try await database.write(body)
        }

        func backUp(_ name: String = "backup", without: [BackupPart] = []) async throws -> Backup.Outcome {
            try await Backup(configuration: configuration, path: path(name), without: without).run()
        }

        func restore(_ name: String = "backup", replaces: Bool = true) async throws -> Restore.Outcome? {
            try await Restore(configuration: configuration, path: path(name), replaces: replaces).run()
        }
    }

    private static func mode(_ path: String) -> mode_t {
        var status = stat()
        return stat(path, &status) == 0 ? status.st_mode & 0o777 : 0
    }

    @Test func aBackupHasKeysApartAndAManifestOfEverything() async throws {
        let setting = try await Setting()
        try PrivateOutput.write("out", to: setting.path("data/output/a/b"))
        let outcome = try await setting.backUp()
        let names = Set(outcome.manifest.files.map(\.path))
        #expect(
            names.isSuperset(of: [
                "store/controller.sqlite", "store/ca.pem", "keys/ca-key.pem", "keys/operator-keys.key", "output/a/b",
                "keys/profile/credentials",
            ]))
        for entry in outcome.manifest.files {
            let bytes = [UInt8](try Data(contentsOf: URL(fileURLWithPath: outcome.path + "/" + entry.path)))
            #expect(Int64(bytes.count) == entry.length && Hex.encode(SHA256.hash(bytes)) == entry.sha256)
            #expect(Self.mode(outcome.path + "/" + entry.path) == 0o600)
        }
        for folder in ["", "/keys", "/store", "/output", "/output/a"] { #expect(Self.mode(outcome.path + folder) == 0o700) }
        let read = try JSONCoding.decode(
            BackupManifest.self, from: Array(try DataDirectory.text(at: outcome.path + "/manifest.json").utf8))
        #expect(read == outcome.manifest)
        #expect(try await setting.backUp("small", without: [.outputs]).manifest.files.allSatisfy { !$0.path.hasPrefix("output/") })
        await #expect(throws: ControllerError.self) { try await setting.backUp() }
    }

    @Test func aRestoreBeginsANewEpochThatTheAuthoritySigns() async throws {
        let setting = try await Setting()
        let former = try await setting.open { tx in try StoreIdentity(in: tx).epoch }
        _ = try await setting.backUp()
        let outcome = try #require(try await setting.restore())
        let store = try await setting.open { tx in try StoreIdentity(in: tx) }
        #expect(store.epoch == outcome.epoch && store.epoch != former)
        let authority = try Certificate(pem: try DataDirectory.text(at: setting.path("data/ca.pem")))
        let known = try StoreEpoch(name: former).following(store.epoch, store.restoration, trusted: [authority])
        #expect(known.name == store.epoch)
        #expect(FileManager.default.fileExists(atPath: try #require(outcome.replaced) + "/controller.sqlite"))
        // Of the same backup again: younger than the first, whatever the clock says.
        _ = try await setting.restore()
        let second = try await setting.open { tx in try StoreIdentity(in: tx) }
        #expect(try known.following(second.epoch, second.restoration, trusted: [authority]).name == second.epoch)
    }

    @Test func commandsThatWereOpenInTheBackupEndAndAreNotDispatchedAgain() async throws {
        let setting = try await Setting()
        let (command, node) = (CommandID.random(), NodeID.random())
        try await setting.open { tx in
            try tx.execute(
                """
                INSERT INTO commands (command_id, document_name, document_version, document, parameters, comment, instance_ids, targets,
                    timeout_seconds, execution_timeout_seconds, max_concurrency, max_errors, status, status_details, target_count,
                    requested_at, start_by, expires_at)
                VALUES ($1, 'AWS-RunShellScript', '', '{}', '{}', '', '[]', '[]', 3600, 3600, '50', '0', 'InProgress', 'InProgress', 1,
                    0, 9000000000000, 9000000000000)
                """, [.text(command.description)])
            try tx.execute(
                """
                INSERT INTO invocations (command_id, node_id, position, generation, status, status_details, requested_at)
                VALUES ($1, $2, 0, 1, 'Pending', 'Pending', 0)
                """, [.text(command.description), .text(node.description)])
            try tx.execute("UPDATE invocations SET is_stray = 1")
        }
        _ = try await setting.backUp()
        let outcome = try #require(try await setting.restore())
        #expect(outcome.ended.commands == [command])
        let (open, invocation) = try await setting.open { tx in
            (try CommandStore.openCommands(expired: .now(), in: tx), try CommandStore.invocation(command, node, in: tx))
        }
        #expect(open.isEmpty)
        #expect(invocation?.state == .failed && invocation?.isStray == false)
        #expect(invocation?.trace.hasPrefix("Outcome unknown: the controller was restored") == true)
    }

    @Test func activationsThatCouldBeUsedOnceMoreEnd() async throws {
        let setting = try await Setting()
        try await setting.open { tx in
            try tx.execute(
                """
                INSERT INTO activations (activation_id, code_digest, iam_role, registration_limit, expires_at, created_at)
                VALUES ('11111111-1111-1111-1111-111111111111', '', '', 2, 9000000000000, 0)
                """)
        }
        _ = try await setting.backUp()
        let outcome = try #require(try await setting.restore())
        #expect(outcome.ended.activations.map(\.description) == ["11111111-1111-1111-1111-111111111111"])
        #expect(try await setting.open { tx in try tx.first("SELECT deleted FROM activations")?.integer("deleted") } == 1)
    }

    @Test func revocationsThatAreNewerThanTheBackupAreListed() async throws {
        let setting = try await Setting()
        let administration = CallerAdministration(configuration: setting.configuration)
        _ = try await administration.run(.createUser("mallory", tags: [], groups: []))
        _ = try await setting.backUp()
        _ = try await administration.run(.deleteUser("mallory", force: false))
        let outcome = try #require(try await setting.restore())
        #expect(outcome.lost.revocations.map(\.operation) == ["DeleteUser"])
        #expect("\(outcome)".contains("DeleteUser") && "\(outcome)".contains("mallory"))
        // Elsewhere nothing tells, and that is said.
        try FileManager.default.removeItem(atPath: setting.path("data"))
        let blind = try #require(try await setting.restore(replaces: false))
        #expect(blind.lost.source == nil && "\(blind)".contains("LOST: everything that was done from"))
    }

    @Test func theWatchAcceptsASignedRestoreAndReportsIt() async throws {
        let setting = try await Setting()
        _ = try await setting.backUp()
        let directory = DataDirectory(setting.path("data"))
        func keeper(_ database: any SQLDatabase) throws -> AuditKeeper {
            let authority = try Controller.authority(in: directory)
            return AuditKeeper(
                database: database, authority: { authority }, directory: directory,
                logger: Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() }))
        }
        let before = try SQLiteDatabase(path: directory.path(of: .database))
        let first = try keeper(before)
        try await first.begin()
        for _ in 0..<5 {
            try await before.write { tx in try AuditLog.append(AuditEvent(time: .now(), controllerDid: "X", resource: "*"), in: tx) }
        }
        let outside = AuditKeeper.Outside(place: "elsewhere", checkpoint: try await first.checkpoint(.regular))
        try before.close()
        _ = try await setting.restore()
        let after = try SQLiteDatabase(path: directory.path(of: .database))
        defer { try? after.close() }
        try await keeper(after).begin([outside])
        let operations = try await after.read { tx in try tx.query("SELECT operation FROM audit_events").map { try $0.text("operation") } }
        #expect(operations.contains("RestoreController") && operations.contains(AuditKeeper.restore))
        #expect(!operations.contains(AuditKeeper.rollback) && !operations.contains(AuditKeeper.tampering))
    }

    @Test func whatDoesNotMatchItsManifestIsRefusedAndNothingChanges() async throws {
        let setting = try await Setting()
        let epoch = try await setting.open { tx in try StoreIdentity(in: tx).epoch }
        let backup = try await setting.backUp().path
        await #expect(throws: ControllerError.self) { try await setting.restore(replaces: false) }
        let key = backup + "/keys/ca-key.pem"
        let good = try Data(contentsOf: URL(fileURLWithPath: key))
        try (good + Data("x".utf8)).write(to: URL(fileURLWithPath: key))
        await #expect(throws: ControllerError.self) { try await setting.restore() }
        unlink(key)
        await #expect(throws: ControllerError.self) { try await setting.restore() }
        try good.write(to: URL(fileURLWithPath: key))
        let manifest = backup + "/manifest.json"
        let text = try String(contentsOfFile: manifest, encoding: .utf8)
        try text.replacingOccurrences(of: "keys/ca-key.pem", with: "store/../../x").write(
            toFile: manifest, atomically: true, encoding: .utf8)
        await #expect(throws: ControllerError.self) { try await setting.restore() }
        // Cut short: there is no manifest yet.
        unlink(manifest)
        await #expect(throws: ControllerError.self) { try await setting.restore() }
        #expect(try await setting.open { tx in try StoreIdentity(in: tx).epoch } == epoch)
        let lock = try DataDirectory(setting.path("data")).acquireLock()
        try text.write(toFile: manifest, atomically: true, encoding: .utf8)
        await #expect(throws: ControllerError.self) { try await setting.restore() }
        withExtendedLifetime(lock) {}
    }

    /// Killed between two renames, at every one of them.
    @Test func aRestoreThatWasCutShortGoesOnAndNothingStartsBefore() async throws {
        for moved in 0..<4 {
            let setting = try await Setting()
            _ = try await setting.backUp()
            let data = setting.path("data")
            // As it stands after `moved` entries have been put aside.
            let staged = DataDirectory(data + "/restore-staged")
            try staged.create()
            let other = try await Setting()
            for name in ["ca.pem", "ca-key.pem", "operator-keys.key", "controller.sqlite"] {
                try FileManager.default.copyItem(atPath: other.path("data/" + name), toPath: staged.path + "/" + name)
            }
            try DataDirectory(data).write("old replaced-x\n", to: .restoring)
            try DataDirectory(data + "/replaced-x").create()
            for name in ["ca.pem", "ca-key.pem", "controller.sqlite"].prefix(moved) {
                rename(data + "/" + name, data + "/replaced-x/" + name)
            }
            await #expect(throws: ControllerError.self) { try await setting.backUp("second") }
            #expect(try await setting.restore() == nil)
            let authority = try String(contentsOfFile: data + "/ca.pem", encoding: .utf8)
            #expect(authority == (try String(contentsOfFile: other.path("data/ca.pem"), encoding: .utf8)))
            #expect(FileManager.default.fileExists(atPath: data + "/replaced-x/ca-key.pem"))
            #expect(!FileManager.default.fileExists(atPath: data + "/restoring"))
            #expect(!FileManager.default.fileExists(atPath: data + "/restore-staged"))
        }
    }

    @Test func aCleanStopLeavesTheWholeStoreInOneFile() async throws {
        let directory = try TemporaryDirectory()
        let database = try SQLiteDatabase(path: directory.file("x.sqlite"))
        try await database.write { tx in try tx.execute("CREATE TABLE t (a TEXT)") }
        try database.close()
        var status = stat()
        let hasLog = stat(directory.file("x.sqlite-wal"), &status) == 0 && status.st_size > 0
        #expect(!hasLog)
    }
}

private enum PrivateOutput {
    static func write(_ text: String, to path: String) throws {
        try DataDirectory((path as NSString).deletingLastPathComponent).create()
        try DataDirectory.write(text, to: path)
    }
}
