internal import Glibc

/// A folder that is this user's alone, held open: folders 0700, files 0600. It blocks.
///
/// Every name is opened below the descriptor of the folder it is in, and links are never followed.
final class PrivateFolder: Sendable {
    let path: String
    private let file: PrivateFile

    /// Made if it is missing.
    convenience init(path: String) throws {
        if mkdir(path, 0o700) != 0, errno != EEXIST { throw PrivateFile.failure("create", path) }
        let number = Glibc.open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
        guard number >= 0 else { throw PrivateFile.failure("open", path) }
        self.init(number, path)
        var status = stat()
        guard fstat(number, &status) == 0, status.st_uid == geteuid(), status.st_mode & 0o077 == 0 else {
            throw ControllerError.cannotAccess(path: path, action: "use", reason: "it has to belong to this user, with mode 0700")
        }
    }

    private init(_ number: Int32, _ path: String) {
        self.path = path
        file = PrivateFile(owning: number, path: path)
    }

    /// Nil when there is none; with O_CREAT it is made.
    func open(ifThere name: String, _ flags: Int32) throws -> PrivateFile? {
        let number = openat(file.number, name, flags | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0o600)
        if number < 0, errno == ENOENT { return nil }
        guard number >= 0 else { throw PrivateFile.failure("open", place(name)) }
        return PrivateFile(owning: number, path: place(name))
    }

    func open(_ name: String, _ flags: Int32) throws -> PrivateFile {
        if let file = try open(ifThere: name, flags) { return file }
        errno = ENOENT
        throw PrivateFile.failure("open", place(name))
    }

    /// Nil when there is none and it is not to be made.
    func folder(_ name: String, makes: Bool) throws -> PrivateFolder? {
        if makes, mkdirat(file.number, name, 0o700) != 0, errno != EEXIST { throw PrivateFile.failure("create", place(name)) }
        let number = openat(file.number, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
        if number < 0, errno == ENOENT { return nil }
        guard number >= 0 else { throw PrivateFile.failure("open", place(name)) }
        return PrivateFolder(number, place(name))
    }

    /// What is in it, in no order.
    func names() throws -> [String] {
        let copy = openat(file.number, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard copy >= 0 else { throw PrivateFile.failure("list", path) }
        guard let stream = fdopendir(copy) else {
            let error = PrivateFile.failure("list", path)
            close(copy)
            throw error
        }
        defer { closedir(stream) }
        var names: [String] = []
        while let entry = readdir(stream) {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
            if name != ".", name != ".." { names.append(name) }
        }
        return names
    }

    /// Bytes of all files in it and below it.
    func usage() throws -> Int64 {
        var total: Int64 = 0
        for name in try names() {
            var status = stat()
            guard fstatat(file.number, name, &status, AT_SYMLINK_NOFOLLOW) == 0 else { continue }
            if status.st_mode & S_IFMT == S_IFREG { total += Int64(status.st_size) }
            if status.st_mode & S_IFMT == S_IFDIR, let child = try folder(name, makes: false) { total += try child.usage() }
        }
        return total
    }

    func remove(file name: String) throws {
        guard unlinkat(file.number, name, 0) == 0 || errno == ENOENT else { throw PrivateFile.failure("remove", place(name)) }
    }

    /// A file, or a folder with all that is in it.
    func remove(all name: String) throws {
        if unlinkat(file.number, name, 0) == 0 || errno == ENOENT { return }
        if let child = try folder(name, makes: false) {
            for entry in try child.names() { try child.remove(all: entry) }
        }
        guard unlinkat(file.number, name, AT_REMOVEDIR) == 0 || errno == ENOENT else { throw PrivateFile.failure("remove", place(name)) }
    }

    /// After this a power cut takes none of the names in it.
    func sync() throws { try file.sync() }

    private func place(_ name: String) -> String { path + "/" + name }
}

/// An open file. It blocks.
final class PrivateFile: Sendable {
    fileprivate let number: Int32
    private let path: String

    /// - Parameter path: for what went wrong.
    fileprivate init(owning number: Int32, path: String) {
        (self.number, self.path) = (number, path)
    }

    /// A file, or a device, that is there already.
    convenience init(path: String, _ flags: Int32) throws {
        let number = open(path, flags | O_CLOEXEC)
        guard number >= 0 else { throw Self.failure("open", path) }
        self.init(owning: number, path: path)
    }

    deinit { close(number) }

    func size() throws -> Int64 {
        var status = stat()
        guard fstat(number, &status) == 0 else { throw Self.failure("examine", path) }
        return Int64(status.st_size)
    }

    /// Fewer than `count` at the end of the file.
    func read(from offset: Int64, atMost count: Int) throws -> [UInt8] {
        var used = 0
        var failed = false
        let bytes = [UInt8](unsafeUninitializedCapacity: count) { buffer, initialized in
            while used < count, let start = buffer.baseAddress {
                let got = pread(number, start + used, count - used, off_t(offset) + off_t(used))
                if got < 0, errno == EINTR { continue }
                failed = got < 0
                if got <= 0 { break }
                used += got
            }
            initialized = used
        }
        if failed { throw Self.failure("read", path) }
        return bytes
    }

    func write(_ bytes: [UInt8], at offset: Int64) throws {
        try writeAll(bytes) { pwrite(number, $0.baseAddress, $0.count, off_t(offset) + off_t($1)) }
    }

    /// At its end, if it was opened with O_APPEND.
    func append(_ bytes: [UInt8]) throws {
        try writeAll(bytes) { rest, _ in Glibc.write(number, rest.baseAddress, rest.count) }
    }

    private func writeAll(_ bytes: [UInt8], _ put: (_ rest: UnsafeRawBufferPointer, _ written: Int) -> Int) throws {
        var written = 0
        while written < bytes.count {
            let count = bytes.withUnsafeBytes { put(UnsafeRawBufferPointer(rebasing: $0[written...]), written) }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw Self.failure("write", path) }
            written += count
        }
    }

    func cut(to length: Int64) throws {
        guard ftruncate(number, off_t(length)) == 0 else { throw Self.failure("cut", path) }
    }

    func sync() throws {
        guard fsync(number) == 0 else { throw Self.failure("sync", path) }
    }

    /// Bytes and length, without the times.
    func syncData() throws {
        guard fdatasync(number) == 0 else { throw Self.failure("sync", path) }
    }

    /// By errno.
    static func failure(_ action: String, _ path: String) -> ControllerError {
        .cannotAccess(path: path, action: action, reason: String(cString: strerror(errno)))
    }
}
