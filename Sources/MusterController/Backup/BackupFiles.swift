internal import Glibc
internal import MusterCrypto

/// Copying for backup and restore: files 0600 in folders 0700, synced, with their digest. It blocks.
enum BackupFiles {
    private static let piece = 1 << 20

    static func names(in path: String) throws -> [String] { try PrivateFolder(path: path).names() }

    /// Every plain file below `folder` of `base`, by its path below `base`; none if there is no such folder.
    static func tree(_ base: String, _ folder: String) throws -> [String] {
        var status = stat()
        guard lstat(base + "/" + folder, &status) == 0 else { return [] }
        guard let parent = try PrivateFolder(path: base).folder(folder.split(separator: "/").first.map(String.init) ?? folder, makes: false)
        else { return [] }
        return try tree(parent, folder).sorted()
    }

    private static func tree(_ folder: PrivateFolder, _ path: String) throws -> [String] {
        var found: [String] = []
        for name in try folder.names() {
            let place = path + "/" + name
            var status = stat()
            // What retention removes meanwhile is not there any more; that is no fault.
            guard lstat(folder.path + "/" + name, &status) == 0 else { continue }
            if status.st_mode & S_IFMT == S_IFDIR {
                if let child = try folder.folder(name, makes: false) { found += try tree(child, place) }
            } else if status.st_mode & S_IFMT == S_IFREG {
                found.append(place)
            }
        }
        return found
    }

    /// Nil when there is no such file.
    static func copy(_ source: String, to base: String, _ place: String) throws -> BackupManifest.Entry? {
        var status = stat()
        guard lstat(source, &status) == 0, status.st_mode & S_IFMT == S_IFREG else { return nil }
        let input: PrivateFile
        do {
            input = try PrivateFile(path: source, O_RDONLY | O_NOFOLLOW)
        } catch {
            guard lstat(source, &status) != 0 else { throw error }
            return nil
        }
        let (folder, name) = try parent(of: place, in: base)
        try folder.remove(file: name)
        let output = try folder.open(name, O_WRONLY | O_CREAT | O_EXCL)
        var digest = SHA256()
        var length: Int64 = 0
        while true {
            let bytes = try input.read(from: length, atMost: piece)
            if bytes.isEmpty { break }
            try output.write(bytes, at: length)
            digest.update(bytes)
            length += Int64(bytes.count)
        }
        try output.sync()
        return BackupManifest.Entry(path: place, length: length, sha256: Hex.encode(digest.finalize()))
    }

    static func entry(_ base: String, _ place: String) throws -> BackupManifest.Entry {
        let input = try PrivateFile(path: base + "/" + place, O_RDONLY | O_NOFOLLOW)
        var digest = SHA256()
        var length: Int64 = 0
        while true {
            let bytes = try input.read(from: length, atMost: piece)
            if bytes.isEmpty { break }
            digest.update(bytes)
            length += Int64(bytes.count)
        }
        try input.sync()
        return BackupManifest.Entry(path: place, length: length, sha256: Hex.encode(digest.finalize()))
    }

    private static func parent(of place: String, in base: String) throws -> (PrivateFolder, String) {
        var parts = place.split(separator: "/").map(String.init)
        let name = parts.removeLast()
        var folder = try PrivateFolder(path: base)
        for part in parts {
            guard let child = try folder.folder(part, makes: true) else { continue }
            folder = child
        }
        return (folder, name)
    }

    static func syncFolders(_ path: String) throws { try sync(PrivateFolder(path: path)) }

    /// Its entries, not those below.
    static func syncFolder(_ path: String) throws { try PrivateFolder(path: path).sync() }

    private static func sync(_ folder: PrivateFolder) throws {
        for name in try folder.names() {
            var status = stat()
            guard lstat(folder.path + "/" + name, &status) == 0, status.st_mode & S_IFMT == S_IFDIR else { continue }
            if let child = try folder.folder(name, makes: false) { try sync(child) }
        }
        try folder.sync()
    }
}
