internal import Glibc

/// The controller's directory: mode 0700, every file 0600, written whole or not at all.
///
///     ca.pem                the certificate authorities to trust, the one that issues first
///     ca-key.pem            the first authority's key; ca-2-key.pem is the second's, and so on
///     operator-keys.key     seals operators' secrets in the database
///     controller.sqlite     everything else
///     audit.checkpoint      the latest checkpoint of the audit trail: a store that was put back is noticed by it
///     listening             the bound addresses of the running controller, one a line
///     lock                  held by the running controller
///     restoring             a restore has begun to put files in their places: nothing starts before it has ended
///     ca.lock               held by the command that changes the authorities
package struct DataDirectory: Sendable {
    package enum File: String, Sendable, CaseIterable {
        case certificate = "ca.pem"
        case key = "ca-key.pem"
        case sealingKey = "operator-keys.key"
        case database = "controller.sqlite"
        case auditCheckpoint = "audit.checkpoint"
        case listening = "listening"
        case lock = "lock"
        case restoring = "restoring"
        case authorityLock = "ca.lock"
    }

    package let path: String

    package init(_ path: String) {
        self.path = path
    }

    package func path(of file: File) -> String { path + "/" + file.rawValue }

    package func exists(_ file: File) -> Bool {
        var status = stat()
        return lstat(path(of: file), &status) == 0
    }

    /// Makes the directory, and those above it, if they are missing.
    package func create() throws {
        var sofar = path.hasPrefix("/") ? "" : "."
        for part in path.split(separator: "/") {
            sofar += "/" + part
            if mkdir(sofar, 0o700) != 0, errno != EEXIST { throw failure("create", sofar) }
        }
        try verify()
    }

    /// Ours, and closed to everyone else.
    package func verify() throws {
        var status = stat()
        guard lstat(path, &status) == 0 else { throw failure("open", path) }
        guard status.st_mode & S_IFMT == S_IFDIR else {
            throw ControllerError.cannotAccess(path: path, action: "use", reason: "it is no directory")
        }
        guard status.st_uid == geteuid() else {
            throw ControllerError.cannotAccess(path: path, action: "use", reason: "it belongs to another user")
        }
        guard status.st_mode & 0o077 == 0 else {
            throw ControllerError.tooOpen(path: path, mode: Self.octal(status.st_mode), wanted: "700")
        }
    }

    /// That every file that is there is a plain file of ours with mode 0600.
    package func verifyFiles() throws {
        try verify()
        guard !exists(.restoring) else { throw ControllerError.restoring(path) }
        for file in File.allCases { try verifyFile(path(of: file)) }
        for number in try authorityKeys() { try verifyFile(keyPath(ofAuthority: number)) }
    }

    private func verifyFile(_ path: String) throws {
        var status = stat()
        guard lstat(path, &status) == 0 else { return }
        guard status.st_mode & S_IFMT == S_IFREG, status.st_uid == geteuid() else {
            throw ControllerError.cannotAccess(path: path, action: "use", reason: "it is no plain file of this user")
        }
        guard status.st_mode & 0o077 == 0 else {
            throw ControllerError.tooOpen(path: path, mode: Self.octal(status.st_mode), wanted: "600")
        }
    }

    // MARK: Keys of authorities

    package func keyPath(ofAuthority number: Int) -> String {
        number == 1 ? path(of: .key) : "\(path)/ca-\(number)-key.pem"
    }

    /// The numbers of the authorities whose key is here.
    package func authorityKeys() throws -> Set<Int> {
        guard let folder = opendir(path) else { throw failure("read", path) }
        defer { closedir(folder) }
        var numbers: Set<Int> = []
        while let entry = readdir(folder) {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
            if name == File.key.rawValue { numbers.insert(1) }
            guard name.hasPrefix("ca-"), name.hasSuffix("-key.pem"), let number = Int(name.dropFirst(3).dropLast(8)), number > 1 else {
                continue
            }
            numbers.insert(number)
        }
        return numbers
    }

    package func writeKey(_ pem: String, ofAuthority number: Int) throws {
        try Self.write(pem, to: keyPath(ofAuthority: number))
    }

    package func key(ofAuthority number: Int) throws -> String {
        let path = keyPath(ofAuthority: number)
        var status = stat()
        guard lstat(path, &status) == 0 else {
            if errno == ENOENT { throw ControllerError.lost(path: path, directory: self.path) }
            throw failure("read", path)
        }
        try verifyFile(path)
        return try Self.text(at: path)
    }

    /// Gone for good when this returns, as far as a file system can promise it.
    package func removeKey(ofAuthority number: Int) throws {
        let path = keyPath(ofAuthority: number)
        guard unlink(path) == 0 || errno == ENOENT else { throw failure("remove", path) }
        try Self.syncDirectory(self.path)
    }

    package func text(_ file: File) throws -> String {
        try Self.text(at: path(of: file))
    }

    package func write(_ text: String, to file: File) throws {
        try Self.write(text, to: path(of: file))
    }

    package func remove(_ file: File) {
        unlink(path(of: file))
    }

    /// One controller a directory. The lock ends with the process, however that ends.
    package func acquireLock(_ file: File = .lock) throws -> Lock {
        let descriptor = open(path(of: file), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard descriptor >= 0 else { throw failure("open", path(of: file)) }
        guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
            let isHeld = errno == EWOULDBLOCK
            let error = failure("lock", path(of: file))
            close(descriptor)
            guard isHeld else { throw error }
            throw file == .lock ? ControllerError.inUse(path) : ControllerError.authoritiesInUse(path)
        }
        return Lock(descriptor: descriptor)
    }

    package final class Lock: Sendable {
        private let descriptor: Int32
        fileprivate init(descriptor: Int32) { self.descriptor = descriptor }
        deinit { close(descriptor) }
    }

    /// At most 1 MiB; these are certificates, keys and a list of addresses.
    package static func text(at path: String) throws -> String {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw failure("read", path) }
        defer { close(descriptor) }
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 16 * 1024)
        while bytes.count < 1 << 20 {
            let count = Glibc.read(descriptor, &chunk, chunk.count)
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw failure("read", path) }
            if count == 0 { break }
            bytes += chunk.prefix(count)
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// Under another name first, synced, then renamed; and the directory synced, so that the name survives a power cut too.
    package static func write(_ text: String, to path: String) throws {
        let temporary = path + ".new"
        unlink(temporary)
        let descriptor = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard descriptor >= 0 else { throw failure("write", temporary) }
        defer { close(descriptor) }
        var bytes = Array(text.utf8)[...]
        while !bytes.isEmpty {
            let count = bytes.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw failure("write", temporary) }
            bytes = bytes.dropFirst(count)
        }
        guard fsync(descriptor) == 0, rename(temporary, path) == 0 else { throw failure("write", path) }
        let directory = path.split(separator: "/", omittingEmptySubsequences: false).dropLast().joined(separator: "/")
        try syncDirectory(directory.isEmpty ? (path.hasPrefix("/") ? "/" : ".") : directory)
    }

    private static func syncDirectory(_ directory: String) throws {
        let parent = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard parent >= 0 else { throw failure("open", directory) }
        defer { close(parent) }
        guard fsync(parent) == 0 else { throw failure("write", directory) }
    }

    /// An empty file of mode 0600 if there is none, whatever the umask.
    package static func makeFile(_ path: String) throws {
        let descriptor = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard descriptor >= 0 else { throw failure("open", path) }
        close(descriptor)
    }

    private func failure(_ action: String, _ path: String) -> ControllerError { Self.failure(action, path) }

    private static func failure(_ action: String, _ path: String) -> ControllerError {
        .cannotAccess(path: path, action: action, reason: String(cString: strerror(errno)))
    }

    private static func octal(_ mode: mode_t) -> String {
        String(mode & 0o777, radix: 8)
    }
}
