import CLinux
import Glibc

/// A folder held open by its descriptor. Names are single components, symbolic links are never followed, and every
/// file is born with its final mode, so that nothing planted in advance or swapped later leads anywhere else.
///
/// Rule of open(2), openat(2) and rename(2): what is not synced, file first and folder after it, may be gone after a
/// power loss.
package final class Folder: Sendable {
    package let path: String
    private let descriptor: Int32

    private init(path: String, descriptor: Int32) {
        self.path = path
        self.descriptor = descriptor
    }

    deinit { close(descriptor) }

    /// Opens the folder at `path`; its last component must be a real folder.
    package static func open(_ path: String) throws(FileError) -> Folder {
        let descriptor = muster_open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0)
        guard descriptor >= 0 else { throw FileError("open folder", path, errno) }
        return Folder(path: path, descriptor: descriptor)
    }

    /// Opens or creates (0700) a folder that only this user may write to.
    package static func openPrivate(_ path: String) throws(FileError) -> Folder {
        if mkdir(path, 0o700) != 0 && errno != EEXIST { throw FileError("create folder", path, errno) }
        let folder = try open(path)
        var facts = stat()
        guard fstat(folder.descriptor, &facts) == 0 else { throw FileError("examine folder", path, errno) }
        guard facts.st_uid == geteuid(), facts.st_mode & 0o022 == 0 else {
            throw FileError(
                "trust folder", path, EPERM, advice: "It must belong to the agent's user and be writable by nobody else (mode 0700).")
        }
        return folder
    }

    package func open(_ name: String) throws(FileError) -> Folder {
        try check(name)
        let child = muster_openat(descriptor, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0)
        guard child >= 0 else { throw FileError("open folder", path(of: name), errno) }
        return Folder(path: path(of: name), descriptor: child)
    }

    /// Creates a folder that must not exist yet, mode 0700.
    package func create(_ name: String) throws(FileError) -> Folder {
        try check(name)
        guard mkdirat(descriptor, name, 0o700) == 0 else { throw FileError("create folder", path(of: name), errno) }
        // The umask may have taken bits away. Nobody but us can write here, so the name is still the folder just made.
        guard fchmodat(descriptor, name, 0o700, 0) == 0 else { throw FileError("create folder", path(of: name), errno) }
        return try open(name)
    }

    /// Whether anything of that name exists, a dangling link included.
    package func contains(_ name: String) throws(FileError) -> Bool {
        try check(name)
        var facts = stat()
        if fstatat(descriptor, name, &facts, AT_SYMLINK_NOFOLLOW) == 0 { return true }
        guard errno == ENOENT else { throw FileError("examine", path(of: name), errno) }
        return false
    }

    /// Opens a new file for writing; a file, link or anything else of that name is an error.
    package func createFile(_ name: String, mode: UInt32 = 0o600) throws(FileError) -> FileDescriptor {
        try check(name)
        let file = muster_openat(descriptor, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, mode)
        guard file >= 0 else { throw FileError("create", path(of: name), errno) }
        let owned = FileDescriptor(file)
        guard fchmod(file, mode) == 0 else { throw FileError("create", path(of: name), errno) }
        return owned
    }

    /// Opens a file for reading and writing, creating it (0600) when it is missing.
    package func openFile(_ name: String, create: Bool) throws(FileError) -> FileDescriptor {
        try check(name)
        let flags = O_RDWR | O_NOFOLLOW | O_NONBLOCK | (create ? O_CREAT : 0)
        let file = muster_openat(descriptor, name, flags, 0o600)
        guard file >= 0 else { throw FileError("open", path(of: name), errno) }
        let owned = FileDescriptor(file)
        try owned.requireRegular(path(of: name))
        guard !create || fchmod(file, 0o600) == 0 else { throw FileError("open", path(of: name), errno) }
        return owned
    }

    /// Opens a regular file for reading. A FIFO or device of that name is an error instead of a hang.
    package func openForReading(_ name: String) throws(FileError) -> FileDescriptor {
        try check(name)
        let file = muster_openat(descriptor, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0)
        guard file >= 0 else { throw FileError("open", path(of: name), errno) }
        let owned = FileDescriptor(file)
        try owned.requireRegular(path(of: name))
        return owned
    }

    /// The whole file, or nil when there is none.
    package func read(_ name: String, atMost limit: Int) throws(FileError) -> [UInt8]? {
        guard try contains(name) else { return nil }
        let file = try openForReading(name)
        let bytes = try file.read(atMost: limit + 1, path: path(of: name))
        guard bytes.count <= limit else { throw FileError("read", path(of: name), EFBIG) }
        return bytes
    }

    package func createFile(_ name: String, mode: UInt32 = 0o600, containing bytes: [UInt8], sync: Bool = false) throws(FileError) {
        let file = try createFile(name, mode: mode)
        try file.write(bytes, path: path(of: name))
        if sync { try file.sync(path: path(of: name)) }
    }

    /// Replaces a file in one step: readers see the old or the new content, also after a crash when `sync` is set.
    package func replaceFile(_ name: String, containing bytes: [UInt8], sync: Bool) throws(FileError) {
        let temporary = "." + name + ".new"
        try removeFile(temporary)
        try createFile(temporary, containing: bytes, sync: sync)
        try rename(temporary, to: name)
        if sync { try self.sync() }
    }

    package func rename(_ name: String, to other: String) throws(FileError) {
        try check(name)
        try check(other)
        guard renameat(descriptor, name, descriptor, other) == 0 else { throw FileError("rename", path(of: name), errno) }
    }

    /// False where the file system cannot. Both names have to exist.
    package func exchange(_ name: String, with other: String) throws(FileError) -> Bool {
        try check(name)
        try check(other)
        if muster_exchange(descriptor, name, other) == 0 { return true }
        guard errno == EINVAL || errno == ENOSYS else { throw FileError("rename", path(of: name), errno) }
        return false
    }

    /// Removes a file or link; its absence is no error.
    package func removeFile(_ name: String) throws(FileError) {
        try check(name)
        guard unlinkat(descriptor, name, 0) == 0 || errno == ENOENT else { throw FileError("remove", path(of: name), errno) }
    }

    /// Removes a folder with everything in it, without following links.
    package func removeTree(_ name: String) throws(FileError) {
        try check(name)
        if unlinkat(descriptor, name, 0) == 0 || errno == ENOENT { return }
        guard errno == EISDIR || errno == EPERM else { throw FileError("remove", path(of: name), errno) }
        do {
            let child = try open(name)
            for entry in try child.names() { try child.removeTree(entry) }
        }
        guard unlinkat(descriptor, name, AT_REMOVEDIR) == 0 else { throw FileError("remove", path(of: name), errno) }
    }

    package func names() throws(FileError) -> [String] {
        let copy = muster_openat(descriptor, ".", O_RDONLY | O_DIRECTORY, 0)
        guard copy >= 0 else { throw FileError("list", path, errno) }
        guard let stream = fdopendir(copy) else {
            let cause = errno
            close(copy)
            throw FileError("list", path, cause)
        }
        defer { closedir(stream) }
        var names: [String] = []
        while let entry = readdir(stream) {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
            if name != "." && name != ".." { names.append(name) }
        }
        return names.sorted()
    }

    package func sync() throws(FileError) {
        guard fsync(descriptor) == 0 else { throw FileError("sync folder", path, errno) }
    }

    /// For paths below /proc/self/fd, while this lives.
    package var number: Int32 { descriptor }

    package func path(of name: String) -> String { path + "/" + name }

    /// Seconds since the epoch of the last change in this folder.
    package func modificationTime() -> Int64 {
        var facts = stat()
        return fstat(descriptor, &facts) == 0 ? Int64(facts.st_mtim.tv_sec) : 0
    }

    private func check(_ name: String) throws(FileError) {
        guard !name.isEmpty, name != ".", name != "..", name.utf8.count <= 255, !name.utf8.contains(where: { $0 == 0 || $0 == 0x2F }) else {
            throw FileError("use the name", path, EINVAL)
        }
    }
}

/// A descriptor that closes itself.
package final class FileDescriptor: Sendable {
    package let number: Int32

    package init(_ number: Int32) { self.number = number }

    deinit { close(number) }

    package func write(_ bytes: [UInt8], path: String) throws(FileError) {
        var offset = 0
        while offset < bytes.count {
            let written = bytes.withUnsafeBytes { Glibc.write(number, $0.baseAddress! + offset, $0.count - offset) }
            if written < 0 && errno == EINTR { continue }
            guard written > 0 else { throw FileError("write", path, errno) }
            offset += written
        }
    }

    /// Whether it is a file of this user's that has one name only.
    package func isAlone(path: String) throws(FileError) -> Bool {
        var facts = stat()
        guard fstat(number, &facts) == 0 else { throw FileError("look at", path, errno) }
        return facts.st_mode & S_IFMT == S_IFREG && facts.st_uid == geteuid() && facts.st_nlink == 1
    }

    /// From the first byte on; what was there beyond stays.
    package func overwrite(_ bytes: [UInt8], path: String) throws(FileError) {
        guard lseek(number, 0, SEEK_SET) == 0 else { throw FileError("write", path, errno) }
        try write(bytes, path: path)
    }

    /// Reads from the current position to the end of the file or the limit.
    package func read(atMost limit: Int, path: String) throws(FileError) -> [UInt8] {
        var facts = stat()
        let size = fstat(number, &facts) == 0 ? Int(facts.st_size) : limit
        var bytes = [UInt8](repeating: 0, count: max(0, min(limit, size + 1)))
        var count = 0
        while count < bytes.count {
            let got = bytes.withUnsafeMutableBytes { Glibc.read(number, $0.baseAddress! + count, $0.count - count) }
            if got < 0 && errno == EINTR { continue }
            guard got >= 0 else { throw FileError("read", path, errno) }
            if got == 0 { break }
            count += got
        }
        bytes.removeLast(bytes.count - count)
        return bytes
    }

    package func size(path: String) throws(FileError) -> Int64 {
        var facts = stat()
        guard fstat(number, &facts) == 0 else { throw FileError("examine", path, errno) }
        return Int64(facts.st_size)
    }

    /// Up to `limit` bytes from `offset` on; fewer at the end of the file.
    package func read(from offset: Int64, atMost limit: Int, path: String) throws(FileError) -> [UInt8] {
        var count = 0
        var failure: Int32 = 0
        let bytes = [UInt8](unsafeUninitializedCapacity: limit) { buffer, used in
            while count < limit, let start = buffer.baseAddress {
                let got = pread(number, start + count, limit - count, off_t(offset) + off_t(count))
                if got < 0 && errno == EINTR { continue }
                if got < 0 { failure = errno }
                if got <= 0 { break }
                count += got
            }
            used = count
        }
        guard failure == 0 else { throw FileError("read", path, failure) }
        return bytes
    }

    package func sync(path: String) throws(FileError) {
        guard fsync(number) == 0 else { throw FileError("sync", path, errno) }
    }

    fileprivate func requireRegular(_ path: String) throws(FileError) {
        var facts = stat()
        guard fstat(number, &facts) == 0 else { throw FileError("examine", path, errno) }
        guard muster_file_type(facts.st_mode) == S_IFREG else { throw FileError("read", path, EINVAL, advice: "It is not a regular file.") }
    }
}

/// What was tried on which file, and the system's reason.
package struct FileError: Error, Sendable, CustomStringConvertible {
    package let action: String
    package let path: String
    package let code: Int32
    private let advice: String

    package init(_ action: String, _ path: String, _ code: Int32, advice: String = "") {
        self.action = action
        self.path = path
        self.code = code
        self.advice = advice
    }

    package var description: String {
        "Cannot \(action) \(path): \(SystemReason.words(code))" + (advice.isEmpty ? "" : " " + advice)
    }

    package var isDiskFull: Bool { code == ENOSPC || code == EDQUOT }
}
