internal import FoundationEssentials
internal import Glibc
internal import MusterCrypto
package import MusterWire

/// `muster-controller restore DIR`, on a controller that is stopped.
///
///     verify the backup ─► restore-staged/ (copied, changed, synced) ─► `restoring` says "old" ─► what was there to replaced-TIME/
///         ─► `restoring` says "new" ─► what is in restore-staged/ to its place ─► `restoring` goes
///
/// Until `restoring` is on the disk nothing has happened; from then on nothing else but going on is possible, and nothing starts in the
/// folder before that. Everything lies inside the data folder, because its parent belongs to somebody else.
package struct Restore: Sendable {
    package struct Outcome: Sendable {
        package let directory: String
        package let manifest: BackupManifest
        package let ended: RestoredStore.Ended
        package let lost: LostChanges
        package let epoch: String
        /// What was there before; nil if nothing was.
        package let replaced: String?
    }

    private static let staging = "restore-staged"
    private static let replacedPrefix = "replaced-"

    private let directory: DataDirectory
    private let configuration: ControllerConfiguration
    private let path: String
    private let replaces: Bool

    /// - Parameter replaces: what is in the data folder is put aside.
    package init(configuration: ControllerConfiguration, path: String, replaces: Bool = false) {
        directory = DataDirectory(configuration.dataDirectory)
        self.configuration = configuration
        self.path = Backup.trimmed(path)
        self.replaces = replaces
    }

    package func run(now: Timestamp = .now()) async throws -> Outcome? {
        try directory.create()
        let lock = try directory.acquireLock()
        defer { withExtendedLifetime(lock) {} }
        let authorities = try directory.acquireLock(.authorityLock)
        defer { withExtendedLifetime(authorities) {} }
        if directory.exists(.restoring) {
            try finish()
            return nil
        }
        let manifest = try verifiedManifest()
        guard manifest.account == configuration.account else {
            throw ControllerError.badSetting(
                "The backup is of account \(manifest.account), the configuration says \(configuration.account). Set 'account' to \(manifest.account)."
            )
        }
        let isEmpty = try former().isEmpty
        guard isEmpty || replaces else {
            throw ControllerError.badSetting(
                "\(directory.path) is not empty. Pass --replace to put what is there aside, into a folder in it, and restore in its place.")
        }
        let lost = await LostChanges.read(behind: manifest.mark, replaced: directory, folder: configuration.auditFolder)
        let staged = DataDirectory(directory.path + "/" + Self.staging)
        try PrivateFolder(path: directory.path).remove(all: Self.staging)
        try staged.create()
        try copy(manifest, to: staged.path)
        let (ended, epoch) = try await begin(manifest, staged, lost, now)
        try BackupFiles.syncFolders(staged.path)
        let replaced = isEmpty ? nil : try unusedName(now)
        try directory.write("old \(replaced ?? "")\n", to: .restoring)
        try finish()
        return Outcome(
            directory: directory.path, manifest: manifest, ended: ended, lost: lost, epoch: epoch,
            replaced: replaced.map { directory.path + "/" + $0 })
    }

    // MARK: The backup

    private func verifiedManifest() throws -> BackupManifest {
        let file = path + "/" + BackupManifest.name
        var status = stat()
        guard lstat(path, &status) == 0 else {
            throw ControllerError.badSetting("There is no folder \(path). Name the folder of a backup.")
        }
        guard lstat(file, &status) == 0 else {
            throw ControllerError.badSetting(
                "\(path) holds no \(BackupManifest.name): it is no backup, or one that was cut short. Use another.")
        }
        let manifest: BackupManifest
        do {
            manifest = try JSONCoding.decode(BackupManifest.self, from: Self.whole(file))
        } catch let error as DecodingError {
            throw ControllerError.badSetting("\(file) cannot be read: \(JSONCoding.explain(error)) Use another backup.")
        }
        try manifest.validate()
        for entry in manifest.files {
            guard lstat(path + "/" + entry.path, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
                throw ControllerError.badSetting(
                    "The backup lacks \(entry.path), which its manifest names. Nothing was changed. Use another backup.")
            }
            guard try BackupFiles.entry(path, entry.path) == entry else { throw Self.differs(entry.path) }
        }
        return manifest
    }

    private static func whole(_ path: String) throws -> [UInt8] {
        let file = try PrivateFile(path: path, O_RDONLY | O_NOFOLLOW)
        let length = try file.size()
        guard length <= 1 << 30 else { throw ControllerError.badSetting("\(path) is too long for a manifest. Use another backup.") }
        return try file.read(from: 0, atMost: Int(length))
    }

    private static func differs(_ place: String) -> ControllerError {
        .badSetting(
            "\(place) of the backup is not what its manifest says: it was changed or damaged. Nothing was changed. Use another backup.")
    }

    private func copy(_ manifest: BackupManifest, to staged: String) throws {
        for entry in manifest.files {
            guard let place = BackupManifest.destination(of: entry.path),
                let copied = try BackupFiles.copy(path + "/" + entry.path, to: staged, place)
            else { throw Self.differs(entry.path) }
            guard copied.length == entry.length, copied.sha256 == entry.sha256 else { throw Self.differs(entry.path) }
        }
    }

    private func begin(
        _ manifest: BackupManifest, _ staged: DataDirectory, _ lost: LostChanges, _ now: Timestamp
    ) async throws -> (RestoredStore.Ended, String) {
        let database = try SQLiteDatabase(path: staged.path(of: .database))
        do {
            try database.verifyIntegrity()
            try await Migrations.run(on: database, now: now.milliseconds)
            try await Authorities.enter(from: staged, database, now: now)
            // Says which key is missing or another's, if one is.
            let authority = try await Authorities.load(staged, database).issuing
            _ = try Controller.cipher(in: staged)
            let ended = try await database.write { tx in
                try RestoredStore.begin(manifest, authority: authority, lost: lost, now: now, in: tx)
            }
            let epoch = try await database.read { tx in try StoreIdentity(in: tx).epoch }
            try database.close()
            return (ended, epoch)
        } catch {
            try? database.close()
            throw error
        }
    }

    // MARK: Its place

    /// For what is put aside. Two restores may fall into one second.
    private func unusedName(_ now: Timestamp) throws -> String {
        let taken = Set(try BackupFiles.names(in: directory.path))
        let name = Self.replacedPrefix + String(now.iso8601.prefix(19)).filter { $0 != ":" && $0 != "-" }
        var (unused, number) = (name, 1)
        while taken.contains(unused) {
            number += 1
            unused = "\(name)-\(number)"
        }
        return unused
    }

    /// What is in the folder and is not of a restore.
    private func former() throws -> [String] {
        let own: Set<String> = [
            DataDirectory.File.lock.rawValue, DataDirectory.File.authorityLock.rawValue, DataDirectory.File.restoring.rawValue,
            Self.staging,
        ]
        return try BackupFiles.names(in: directory.path).filter { !own.contains($0) && !$0.hasPrefix(Self.replacedPrefix) }
    }

    /// From wherever it stands.
    private func finish() throws {
        let words = try directory.text(.restoring).split(whereSeparator: \.isWhitespace).map(String.init)
        let base = directory.path
        if words.first == "old" {
            let names = try former()
            if words.count > 1, !names.isEmpty {
                let aside = base + "/" + words[1]
                try DataDirectory(aside).create()
                for name in names { try Self.move(base + "/" + name, to: aside + "/" + name) }
                try BackupFiles.syncFolder(aside)
                try BackupFiles.syncFolder(base)
            }
            try directory.write("new\n", to: .restoring)
        }
        var status = stat()
        if lstat(base + "/" + Self.staging, &status) == 0 {
            for name in try BackupFiles.names(in: base + "/" + Self.staging) {
                try Self.move(base + "/" + Self.staging + "/" + name, to: base + "/" + name)
            }
            try PrivateFolder(path: base).remove(all: Self.staging)
        }
        try BackupFiles.syncFolder(base)
        directory.remove(.restoring)
        try BackupFiles.syncFolder(base)
    }

    private static func move(_ from: String, to: String) throws {
        guard rename(from, to) == 0 else { throw PrivateFile.failure("move", from) }
    }
}
