internal import Glibc
package import MusterWire

/// The folder store: `output/<command>/<node>/<plugin>/<step>/stdout|stderr` in the data directory, folders 0700, files 0600. It blocks;
/// callers run it on threads for that.
///
/// Every component is opened below the descriptor of the one above, and links are never followed.
package final class OutputFolder: Sendable {
    private let root: Descriptor
    private let path: String

    fileprivate final class Descriptor: Sendable {
        let number: Int32
        init(_ number: Int32) { self.number = number }
        deinit { close(number) }
    }

    package init(path: String) throws {
        self.path = path
        if mkdir(path, 0o700) != 0, errno != EEXIST { throw Self.systemFailure("create", path) }
        let number = Glibc.open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
        guard number >= 0 else { throw Self.systemFailure("open", path) }
        root = Descriptor(number)
        var status = stat()
        guard fstat(number, &status) == 0, status.st_uid == geteuid(), status.st_mode & 0o077 == 0 else {
            throw ControllerError.cannotAccess(path: path, action: "use", reason: "it has to belong to this user, with mode 0700")
        }
    }

    // MARK: One stream

    /// 0 when there is no file.
    package func size(of key: OutputKey) throws -> Int64 {
        guard let file = try open(key, O_RDONLY) else { return 0 }
        var status = stat()
        guard fstat(file.number, &status) == 0 else { throw failure("examine", key) }
        return Int64(status.st_size)
    }

    package func write(_ bytes: [UInt8], at offset: Int64, to key: OutputKey) throws {
        guard let file = try open(key, O_WRONLY | O_CREAT) else { throw failure("write", key) }
        var written = 0
        while written < bytes.count {
            let count = bytes.withUnsafeBytes { buffer -> Int in
                guard let start = buffer.baseAddress else { return 0 }
                return pwrite(file.number, start + written, buffer.count - written, off_t(offset) + off_t(written))
            }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw failure("write", key) }
            written += count
        }
    }

    /// Fewer than `count` at the end of the file.
    package func read(_ key: OutputKey, from offset: Int64, atMost count: Int) throws -> [UInt8] {
        guard let file = try open(key, O_RDONLY) else { return [] }
        var used = 0
        var failed = false
        let bytes = [UInt8](unsafeUninitializedCapacity: count) { buffer, initialized in
            while used < count, let start = buffer.baseAddress {
                let got = pread(file.number, start + used, count - used, off_t(offset) + off_t(used))
                if got < 0, errno == EINTR { continue }
                failed = got < 0
                if got <= 0 { break }
                used += got
            }
            initialized = used
        }
        if failed { throw failure("read", key) }
        return bytes
    }

    package func empty(_ key: OutputKey) throws {
        guard let file = try open(key, O_WRONLY) else { return }
        guard ftruncate(file.number, 0) == 0 else { throw failure("empty", key) }
    }

    /// The file, then every folder above it: after this a power cut takes nothing of it.
    package func sync(_ key: OutputKey) throws {
        guard let file = try open(key, O_WRONLY | O_CREAT) else { return }
        guard fsync(file.number) == 0 else { throw failure("sync", key) }
        var folder = root
        guard fsync(folder.number) == 0 else { throw failure("sync", key) }
        for name in key.folders {
            guard let child = try Self.folder(name, in: folder, makes: false) else { return }
            folder = child
            guard fsync(folder.number) == 0 else { throw failure("sync", key) }
        }
    }

    private func open(_ key: OutputKey, _ flags: Int32) throws -> Descriptor? {
        var folder = root
        for name in key.folders {
            guard let child = try Self.folder(name, in: folder, makes: flags & O_CREAT != 0) else { return nil }
            folder = child
        }
        let number = openat(folder.number, key.stream.rawValue, flags | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0o600)
        if number < 0, errno == ENOENT { return nil }
        guard number >= 0 else { throw failure("open", key) }
        return Descriptor(number)
    }

    private static func folder(_ name: String, in parent: Descriptor, makes: Bool) throws -> Descriptor? {
        if makes, mkdirat(parent.number, name, 0o700) != 0, errno != EEXIST { throw systemFailure("create", name) }
        let number = openat(parent.number, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
        if number < 0, errno == ENOENT { return nil }
        guard number >= 0 else { throw systemFailure("open", name) }
        return Descriptor(number)
    }

    // MARK: All of them

    /// Commands of which there is something.
    package func commands() throws -> [CommandID] {
        try Self.names(root).compactMap { CommandID($0) }
    }

    /// Bytes of everything, of a command, or of a command on a node.
    package func usage(_ command: CommandID? = nil, _ node: NodeID? = nil) throws -> Int64 {
        var folder = root
        for name in [command?.rawValue, node?.rawValue].compactMap({ $0 }) {
            guard let child = try Self.folder(name, in: folder, makes: false) else { return 0 }
            folder = child
        }
        return try Self.usage(folder)
    }

    /// Returns the bytes that were freed.
    package func remove(_ command: CommandID) throws -> Int64 {
        let freed = try usage(command)
        try Self.remove(command.rawValue, in: root)
        return freed
    }

    private static func usage(_ folder: Descriptor) throws -> Int64 {
        var total: Int64 = 0
        for name in try names(folder) {
            var status = stat()
            guard fstatat(folder.number, name, &status, AT_SYMLINK_NOFOLLOW) == 0 else { continue }
            if status.st_mode & S_IFMT == S_IFREG { total += Int64(status.st_size) }
            if status.st_mode & S_IFMT == S_IFDIR, let child = try self.folder(name, in: folder, makes: false) { total += try usage(child) }
        }
        return total
    }

    private static func remove(_ name: String, in parent: Descriptor) throws {
        if unlinkat(parent.number, name, 0) == 0 || errno == ENOENT { return }
        if let child = try folder(name, in: parent, makes: false) {
            for entry in try names(child) { try remove(entry, in: child) }
        }
        guard unlinkat(parent.number, name, AT_REMOVEDIR) == 0 || errno == ENOENT else { throw systemFailure("remove", name) }
    }

    private static func names(_ folder: Descriptor) throws -> [String] {
        let copy = openat(folder.number, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard copy >= 0 else { throw systemFailure("list", "outputs") }
        guard let stream = fdopendir(copy) else {
            close(copy)
            throw systemFailure("list", "outputs")
        }
        defer { closedir(stream) }
        var names: [String] = []
        while let entry = readdir(stream) {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
            if name != ".", name != ".." { names.append(name) }
        }
        return names
    }

    private func failure(_ action: String, _ key: OutputKey) -> ControllerError {
        Self.systemFailure(action, path + "/" + (key.folders + [key.stream.rawValue]).joined(separator: "/"))
    }

    private static func systemFailure(_ action: String, _ path: String) -> ControllerError {
        .cannotAccess(path: path, action: action, reason: String(cString: strerror(errno)))
    }
}
