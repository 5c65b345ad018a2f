internal import Glibc
package import MusterWire

/// The files of recordings: `recordings/<session>.cast`, `.chain` and `.seal` in the data directory, mode 0600. It blocks; all but what
/// appends runs on threads for that.
///
/// Names are session ids, which have no slash; the folder is held open, and links are never followed.
package final class RecordingArchive: Sendable {
    private let folder: Descriptor
    private let path: String

    final class Descriptor: Sendable {
        let number: Int32
        init(_ number: Int32) { self.number = number }
        deinit { close(number) }
    }

    package init(path: String) throws {
        self.path = path
        if mkdir(path, 0o700) != 0, errno != EEXIST { throw Self.failure("create", path) }
        let number = Glibc.open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
        guard number >= 0 else { throw Self.failure("open", path) }
        folder = Descriptor(number)
        var status = stat()
        guard fstat(number, &status) == 0, status.st_uid == geteuid(), status.st_mode & 0o077 == 0 else {
            throw ControllerError.cannotAccess(path: path, action: "use", reason: "it has to belong to this user, with mode 0700")
        }
    }

    // MARK: Writing

    /// A recording that does not exist yet.
    package func create(_ session: SessionID) throws -> RecordingFiles {
        let cast = try open(session, .cast, O_WRONLY | O_CREAT | O_EXCL | O_APPEND)
        let chain = try open(session, .chain, O_WRONLY | O_CREAT | O_EXCL | O_APPEND)
        guard fsync(folder.number) == 0 else { throw Self.failure("sync", path) }
        return RecordingFiles(cast: cast, chain: chain, path: name(session, .cast))
    }

    /// Goes on with a recording: reads what is there up to the last frame that is there in whole, and cuts off the rest, which nobody has
    /// seen. Throws when what is there is not what the chain says, or is less than `committed`.
    package func reopen(_ facts: SessionFacts, committed: RecordingMark) throws -> (files: RecordingFiles, recording: Recording) {
        var restoration = Recording.Restoration(facts)
        var whole = (cast: Int64(0), chain: Int64(0))
        var pending: [([UInt8], RecordingLink)] = []
        var pendingBytes: (cast: Int64, chain: Int64) = (0, 0)
        var isFaithful = committed.lines == 0
        var links = lines(of: facts.id, .chain)
        var casts = lines(of: facts.id, .cast)
        while let text = try links.next(), text.last == 0x0a, let link = RecordingLink(text.dropLast()), let line = try casts.next(),
            line.last == 0x0a
        {
            pending.append((line, link))
            pendingBytes = (pendingBytes.cast + Int64(line.count), pendingBytes.chain + Int64(text.count))
            if link.place == .goesOn { continue }
            for (line, link) in pending {
                guard restoration.take(line, link) else {
                    throw damaged(facts.id, "line \(restoration.chain.lines) is not what was recorded")
                }
                if restoration.chain.mark == committed { isFaithful = true }
            }
            whole = (whole.cast + pendingBytes.cast, whole.chain + pendingBytes.chain)
            pending = []
            pendingBytes = (0, 0)
        }
        guard isFaithful else { throw damaged(facts.id, "it is not what was committed to the audit trail") }
        let files = RecordingFiles(
            cast: try open(facts.id, .cast, O_WRONLY | O_APPEND), chain: try open(facts.id, .chain, O_WRONLY | O_APPEND),
            path: name(facts.id, .cast))
        try files.cut(cast: whole.cast, chain: whole.chain)
        var (recording, rest) = restoration.restored()
        if recording.chain.lines == 0 { rest = try recording.header() }
        try files.append(rest)
        return (files, recording)
    }

    private func damaged(_ session: SessionID, _ reason: String) -> ControllerError {
        .cannotAccess(path: name(session, .cast), action: "go on with", reason: reason)
    }

    package func write(_ seal: RecordingSeal, of session: SessionID) throws {
        try DataDirectory.write(String(decoding: try JSONCoding.encode(seal) + [0x0a], as: UTF8.self), to: name(session, .seal))
    }

    // MARK: Reading

    package func size(_ session: SessionID, _ part: RecordingPart) throws -> Int64 {
        guard let file = try openIfThere(session, part) else { return 0 }
        var status = stat()
        guard fstat(file.number, &status) == 0 else { throw Self.failure("examine", name(session, part)) }
        return Int64(status.st_size)
    }

    package func exists(_ session: SessionID, _ part: RecordingPart) throws -> Bool { try openIfThere(session, part) != nil }

    /// Fewer than `count` at the end of the file.
    package func read(_ session: SessionID, _ part: RecordingPart, from offset: Int64, atMost count: Int) throws -> [UInt8] {
        guard let file = try openIfThere(session, part) else { return [] }
        return try Self.read(file, from: offset, atMost: count, name(session, part))
    }

    private static func read(_ file: Descriptor, from offset: Int64, atMost count: Int, _ path: String) throws -> [UInt8] {
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
        if failed { throw failure("read", path) }
        return bytes
    }

    private func lines(of session: SessionID, _ part: RecordingPart) -> LineSource {
        LineSource { [self] offset in try read(session, part, from: offset, atMost: 1 << 20) }
    }

    /// Those of which there is something.
    package func sessions() throws -> [SessionID] {
        let copy = openat(folder.number, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard copy >= 0 else { throw Self.failure("list", path) }
        guard let stream = fdopendir(copy) else {
            close(copy)
            throw Self.failure("list", path)
        }
        defer { closedir(stream) }
        var sessions: Set<SessionID> = []
        while let entry = readdir(stream) {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
            for part in RecordingPart.allCases where name.hasSuffix("." + part.rawValue) {
                if let session = SessionID(String(name.dropLast(part.rawValue.utf8.count + 1))) { sessions.insert(session) }
            }
        }
        return sessions.sorted()
    }

    /// Removes all of it.
    package func remove(_ session: SessionID) throws {
        for part in RecordingPart.allCases where unlinkat(folder.number, file(session, part), 0) != 0 && errno != ENOENT {
            throw Self.failure("remove", name(session, part))
        }
    }

    // MARK: Names

    private func file(_ session: SessionID, _ part: RecordingPart) -> String { "\(session).\(part.rawValue)" }
    private func name(_ session: SessionID, _ part: RecordingPart) -> String { path + "/" + file(session, part) }

    private func open(_ session: SessionID, _ part: RecordingPart, _ flags: Int32) throws -> Descriptor {
        let number = openat(folder.number, file(session, part), flags | O_NOFOLLOW | O_CLOEXEC, 0o600)
        guard number >= 0 else { throw Self.failure("open", name(session, part)) }
        return Descriptor(number)
    }

    private func openIfThere(_ session: SessionID, _ part: RecordingPart) throws -> Descriptor? {
        let number = openat(folder.number, file(session, part), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)
        if number < 0, errno == ENOENT { return nil }
        guard number >= 0 else { throw Self.failure("open", name(session, part)) }
        return Descriptor(number)
    }

    static func failure(_ action: String, _ path: String) -> ControllerError {
        .cannotAccess(path: path, action: action, reason: String(cString: strerror(errno)))
    }
}

/// The two files of an open recording.
package final class RecordingFiles: Sendable {
    private let cast: RecordingArchive.Descriptor
    private let chain: RecordingArchive.Descriptor
    private let path: String

    init(cast: RecordingArchive.Descriptor, chain: RecordingArchive.Descriptor, path: String) {
        (self.cast, self.chain, self.path) = (cast, chain, path)
    }

    /// Files, or devices, that are there already.
    package init(castPath: String, chainPath: String) throws {
        func opened(_ path: String) throws -> RecordingArchive.Descriptor {
            let number = Glibc.open(path, O_WRONLY | O_APPEND | O_CLOEXEC)
            guard number >= 0 else { throw RecordingArchive.failure("open", path) }
            return RecordingArchive.Descriptor(number)
        }
        (cast, chain, path) = (try opened(castPath), try opened(chainPath), castPath)
    }

    /// The lines first: links without lines would promise what is not there.
    package func append(_ piece: Recording.Piece) throws {
        try append(piece.cast, to: cast)
        try append(piece.links, to: chain)
    }

    private func append(_ bytes: [UInt8], to file: RecordingArchive.Descriptor) throws {
        var written = 0
        while written < bytes.count {
            let count = bytes.withUnsafeBytes { buffer in
                buffer.baseAddress.map { Glibc.write(file.number, $0 + written, buffer.count - written) } ?? 0
            }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw RecordingArchive.failure("write", path) }
            written += count
        }
    }

    package func cut(cast castLength: Int64, chain chainLength: Int64) throws {
        guard ftruncate(cast.number, off_t(castLength)) == 0, ftruncate(chain.number, off_t(chainLength)) == 0 else {
            throw RecordingArchive.failure("cut", path)
        }
    }

    package func sync() throws {
        guard fdatasync(cast.number) == 0, fdatasync(chain.number) == 0 else { throw RecordingArchive.failure("sync", path) }
    }
}
