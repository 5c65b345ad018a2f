internal import Glibc
package import MusterWire

/// The files of recordings: `recordings/<session>.cast`, `.chain` and `.seal` in the data directory, mode 0600. It blocks; all but what
/// appends runs on threads for that.
///
/// Names are session ids, which have no slash.
package final class RecordingArchive: Sendable {
    private let folder: PrivateFolder

    package init(path: String) throws {
        folder = try PrivateFolder(path: path)
    }

    // MARK: Writing

    /// A recording that does not exist yet.
    package func create(_ session: SessionID) throws -> RecordingFiles {
        let cast = try folder.open(file(session, .cast), O_WRONLY | O_CREAT | O_EXCL | O_APPEND)
        let chain = try folder.open(file(session, .chain), O_WRONLY | O_CREAT | O_EXCL | O_APPEND)
        try folder.sync()
        return RecordingFiles(cast: cast, chain: chain)
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
            cast: try folder.open(file(facts.id, .cast), O_WRONLY | O_APPEND),
            chain: try folder.open(file(facts.id, .chain), O_WRONLY | O_APPEND))
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
        try openIfThere(session, part)?.size() ?? 0
    }

    package func exists(_ session: SessionID, _ part: RecordingPart) throws -> Bool { try openIfThere(session, part) != nil }

    /// Fewer than `count` at the end of the file.
    package func read(_ session: SessionID, _ part: RecordingPart, from offset: Int64, atMost count: Int) throws -> [UInt8] {
        try openIfThere(session, part)?.read(from: offset, atMost: count) ?? []
    }

    private func lines(of session: SessionID, _ part: RecordingPart) -> LineSource {
        LineSource { [self] offset in try read(session, part, from: offset, atMost: 1 << 20) }
    }

    /// Those of which there is something.
    package func sessions() throws -> [SessionID] {
        var sessions: Set<SessionID> = []
        for name in try folder.names() {
            for part in RecordingPart.allCases where name.hasSuffix("." + part.rawValue) {
                if let session = SessionID(String(name.dropLast(part.rawValue.utf8.count + 1))) { sessions.insert(session) }
            }
        }
        return sessions.sorted()
    }

    /// Bytes of all of them.
    package func usage() throws -> Int64 { try folder.usage() }

    /// Removes all of it.
    package func remove(_ session: SessionID) throws {
        for part in RecordingPart.allCases { try folder.remove(file: file(session, part)) }
    }

    // MARK: Names

    private func file(_ session: SessionID, _ part: RecordingPart) -> String { "\(session).\(part.rawValue)" }
    private func name(_ session: SessionID, _ part: RecordingPart) -> String { folder.path + "/" + file(session, part) }

    private func openIfThere(_ session: SessionID, _ part: RecordingPart) throws -> PrivateFile? {
        try folder.open(ifThere: file(session, part), O_RDONLY)
    }
}

/// The two files of an open recording.
package final class RecordingFiles: Sendable {
    private let cast: PrivateFile
    private let chain: PrivateFile

    init(cast: PrivateFile, chain: PrivateFile) {
        (self.cast, self.chain) = (cast, chain)
    }

    /// Files, or devices, that are there already.
    package init(castPath: String, chainPath: String) throws {
        cast = try PrivateFile(path: castPath, O_WRONLY | O_APPEND)
        chain = try PrivateFile(path: chainPath, O_WRONLY | O_APPEND)
    }

    /// The lines first: links without lines would promise what is not there.
    package func append(_ piece: Recording.Piece) throws {
        try cast.append(piece.cast)
        try chain.append(piece.links)
    }

    package func cut(cast castLength: Int64, chain chainLength: Int64) throws {
        try cast.cut(to: castLength)
        try chain.cut(to: chainLength)
    }

    package func sync() throws {
        try cast.syncData()
        try chain.syncData()
    }
}
