internal import FoundationEssentials
internal import Glibc
internal import MusterCrypto
package import MusterWire

/// `muster-controller backup DIR`, also while the controller runs.
///
/// The store is copied as of one moment; files after it, because they only grow: what a row speaks of is in them. The authorities cannot be
/// changed meanwhile. The manifest comes last.
package struct Backup: Sendable {
    package struct Outcome: Sendable {
        package let path: String
        package let manifest: BackupManifest
        package var bytes: Int64 { manifest.files.reduce(0) { $0 + $1.length } }
    }

    private let directory: DataDirectory
    private let account: String
    private let path: String
    private let without: [BackupPart]

    package init(configuration: ControllerConfiguration, path: String, without: [BackupPart] = []) {
        directory = DataDirectory(configuration.dataDirectory)
        account = configuration.account
        self.path = Self.trimmed(path)
        self.without = without
    }

    static func trimmed(_ path: String) -> String {
        var path = path
        while path.count > 1, path.hasSuffix("/") { path.removeLast() }
        return path
    }

    package func run(now: Timestamp = .now()) async throws -> Outcome {
        guard directory.exists(.certificate), directory.exists(.database) else { throw ControllerError.notInitialised(directory.path) }
        try directory.verifyFiles()
        let lock = try directory.acquireLock(.authorityLock)
        defer { withExtendedLifetime(lock) {} }
        let target = DataDirectory(path)
        try target.create()
        guard try BackupFiles.names(in: path).isEmpty else {
            throw ControllerError.badSetting("\(path) is not empty. Name a folder that is, or that does not exist yet.")
        }
        for folder in ["keys", "store"] { try DataDirectory(path + "/" + folder).create() }

        var files: [BackupManifest.Entry] = []
        func copy(_ name: String, to place: String) throws {
            guard let entry = try BackupFiles.copy(directory.path + "/" + name, to: path, place) else { return }
            files.append(entry)
        }
        // Before the store: a checkpoint that is younger than the store would look like a store that was put back.
        try copy(DataDirectory.File.auditCheckpoint.rawValue, to: "store/audit.checkpoint")
        let database = try SQLiteDatabase(path: directory.path(of: .database))
        defer { try? database.close() }
        guard try await Migrations.isCurrent(database) else {
            throw ControllerError.badSetting(
                "The store in \(directory.path) is of another version of the controller. Start this version once, then try again.")
        }
        try database.copy(to: path + "/" + BackupManifest.store)
        let (epoch, mark) = try await Self.facts(path + "/" + BackupManifest.store)
        for end in ["-wal", "-shm"] { unlink(path + "/" + BackupManifest.store + end) }
        files.append(try BackupFiles.entry(path, BackupManifest.store))
        try copy(DataDirectory.File.certificate.rawValue, to: "store/ca.pem")
        try copy(DataDirectory.File.sealingKey.rawValue, to: "keys/operator-keys.key")
        for number in try directory.authorityKeys().sorted() {
            let name = String(directory.keyPath(ofAuthority: number).dropFirst(directory.path.count + 1))
            try copy(name, to: "keys/" + name)
        }
        for name in ["config", "credentials", "ca.pem"] { try copy("profile/" + name, to: "keys/profile/" + name) }
        for part in BackupPart.allCases where !without.contains(part) {
            for name in try BackupFiles.tree(directory.path, part.folder) { try copy(name, to: name) }
        }
        let manifest = BackupManifest(
            version: ControllerVersion.text, account: account, epoch: epoch, mark: mark, createdAt: now, without: without, files: files)
        try BackupFiles.syncFolders(path)
        try DataDirectory.write(
            String(decoding: try JSONCoding.encode(manifest), as: UTF8.self) + "\n", to: path + "/" + BackupManifest.name)
        let count = files.count
        try await database.write { tx in
            try AuditLog.append(
                LocalCaller.event(
                    "BackUpController", resource: "*", program: "muster-controller backup", now: now,
                    details: ["files": String(count), "lastRecord": String(mark.sequence)]), in: tx)
        }
        return Outcome(path: path, manifest: manifest)
    }

    private static func facts(_ path: String) async throws -> (String, AuditMark) {
        let copy = try SQLiteDatabase(path: path)
        defer { try? copy.close() }
        try copy.verifyIntegrity()
        let facts = try await copy.read { tx in (try StoreIdentity(in: tx).epoch, try AuditLog.head(in: tx)) }
        return facts
    }
}
