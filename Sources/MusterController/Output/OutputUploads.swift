internal import Logging
internal import MusterCrypto
internal import MusterDocuments
package import MusterWire
internal import NIOPosix

/// Takes streams in, piece by piece. [actor]
///
/// What is remembered of a stream between two pieces (how far it is, the digest so far) can be made again from its file, so it is
/// bounded, and lost when the controller ends. A stream is *complete* when the node has said so, the digest over the file is the node's,
/// and file and row are durable.
package actor OutputUploads {
    /// What a node says about a piece.
    package struct Piece: Sendable {
        package var offset: Int64
        package var bytes: [UInt8]
        /// Present with the last one.
        package var end: End?

        package struct End: Sendable {
            package var total: Int64
            package var sha256: String
            package var lost: Int64
        }
    }

    private struct Entry {
        var key: OutputKey
        /// The most that there can be of it: what the node has announced, once the step has ended.
        var length: Int64?
        var offset: Int64
        var digest: SHA256
        var isBusy = false
        var lastUse: UInt64
    }

    private struct Name: Hashable {
        let command: CommandID
        let node: NodeID
        let step: String
        let stream: OutputStream
    }

    private struct Owner: Hashable {
        let command: CommandID
        let node: NodeID
    }

    package enum Answer: Sendable {
        case progress(UploadProgress)
        /// The node is to go on from another offset.
        case elsewhere(UploadProgress)
        /// Another request of the same stream is at work.
        case busy
        /// The disk is nearly full; the node keeps what it has and comes again.
        case full
        case unknown
    }

    private static let maximumEntries = 4_096
    private static let hashBytes = 1 << 20

    private let folder: OutputFolder
    private let database: any SQLDatabase
    private let limits: OutputQuota.Limits
    private let reserve: DiskReserve
    private let changed: @Sendable (CommandID) async -> Void
    private let now: @Sendable () -> Timestamp
    private var entries: [Name: Entry] = [:]
    private var used: [Owner: Int64] = [:]
    /// Known once the folder has been read.
    private var quota: OutputQuota?
    private var uses: UInt64 = 0

    package init(
        folder: OutputFolder, database: any SQLDatabase, limits: OutputQuota.Limits,
        reserve: DiskReserve = DiskReserve(bytes: 0, free: { nil }), now: @escaping @Sendable () -> Timestamp = { .now() },
        changed: @escaping @Sendable (CommandID) async -> Void
    ) {
        self.folder = folder
        self.database = database
        self.limits = limits
        self.reserve = reserve
        self.now = now
        self.changed = changed
    }

    // MARK: What nodes ask

    package func progress(_ command: CommandID, _ node: NodeID, _ step: String, _ stream: OutputStream) async throws -> Answer {
        let name = Name(command: command, node: node, step: step, stream: stream)
        switch try await open(name) {
        case .refused(let answer): return answer
        case .open(let entry):
            entries[name]?.isBusy = false
            return .progress(UploadProgress(state: .uploading, offset: entry.offset))
        }
    }

    package func take(_ piece: Piece, _ command: CommandID, _ node: NodeID, _ step: String, _ stream: OutputStream) async throws -> Answer {
        let name = Name(command: command, node: node, step: step, stream: stream)
        switch try await open(name) {
        case .refused(let answer):
            return answer
        case .open(let entry):
            do {
                let answer = try await take(piece, name, entry)
                entries[name]?.isBusy = false
                await changed(command)
                return answer
            } catch {
                // The file may be longer than what is remembered: the next request begins with the file.
                entries.removeValue(forKey: name)
                throw error
            }
        }
    }

    /// The node has lost it.
    package func gone(_ command: CommandID, _ node: NodeID, _ step: String, _ stream: OutputStream, lost: Int64) async throws -> Answer {
        let name = Name(command: command, node: node, step: step, stream: stream)
        switch try await open(name) {
        case .refused(let answer): return answer
        case .open(let entry):
            let row = OutputStore.Row(state: .lost, length: entry.offset, sha256: "", lost: lost, reason: "the file is gone on the node")
            let answer = try await finish(name, entry.key, row)
            await changed(command)
            return answer
        }
    }

    // MARK: One stream

    private enum Opening {
        case open(Entry)
        case refused(Answer)
    }

    /// Marks the stream as busy; only its own request clears that.
    private func open(_ name: Name) async throws -> Opening {
        uses += 1
        if let entry = entries[name] {
            guard !entry.isBusy else { return .refused(.busy) }
            entries[name]?.isBusy = true
            entries[name]?.lastUse = uses
            return .open(entry)
        }
        let time = now()
        let found = try await database.write { tx -> (OutputKey, OutputStore.Row?, Int64?)? in
            guard let document = try OutputStore.document(of: name.command, for: name.node, in: tx),
                let key = OutputKey(command: name.command, node: name.node, step: name.step, stream: name.stream, in: document)
            else { return nil }
            let length: Int64?
            switch try OutputStore.expectation(of: key, at: time, in: tx) {
            case .nothing: return nil
            case .announced(let bytes): length = bytes
            case .growing: length = nil
            }
            try OutputStore.begin(command: name.command, node: name.node, step: name.step, stream: name.stream, at: time, in: tx)
            return (key, try OutputStore.row(key, in: tx), length)
        }
        guard let (key, row, length) = found else { return .refused(.unknown) }
        if let row, row.state.isFinal { return .refused(.progress(UploadProgress(state: row.state, offset: row.length))) }
        let folder = folder
        let owner = Owner(command: name.command, node: name.node)
        let needsAll = quota == nil
        let facts = try await Self.blocking { () -> (Int64, SHA256, Int64, [NodeID: Int64]) in
            var digest = SHA256()
            var offset: Int64 = 0
            while true {
                let bytes = try folder.read(key, from: offset, atMost: Self.hashBytes)
                if bytes.isEmpty { break }
                digest.update(bytes)
                offset += Int64(bytes.count)
            }
            return (offset, digest, try folder.usage(name.command, name.node), needsAll ? try folder.usageOfNodes() : [:])
        }
        // While that was read, another request may have come as far.
        if entries[name] != nil { return .refused(.busy) }
        if quota == nil { quota = OutputQuota(limits: limits, nodes: facts.3) }
        if used[owner] == nil { used[owner] = facts.2 }
        makeRoom()
        let entry = Entry(key: key, length: length, offset: facts.0, digest: facts.1, isBusy: true, lastUse: uses)
        entries[name] = entry
        return .open(entry)
    }

    private func take(_ piece: Piece, _ name: Name, _ entry: Entry) async throws -> Answer {
        guard piece.offset == entry.offset else {
            return .elsewhere(UploadProgress(state: .uploading, offset: entry.offset))
        }
        let owner = Owner(command: name.command, node: name.node)
        if !piece.bytes.isEmpty, reserve.room != .ample { return .full }
        let room = room(name, entry)
        let isOver = Int64(piece.bytes.count) > room.bytes
        let bytes = isOver ? Array(piece.bytes.prefix(Int(room.bytes))) : piece.bytes
        used[owner, default: 0] += Int64(bytes.count)
        quota?.take(Int64(bytes.count), by: name.node)
        let (folder, key, digest) = (folder, entry.key, entry.digest)
        let digested = try await Self.blocking { () -> SHA256 in
            var digest = digest
            if !bytes.isEmpty { try folder.write(bytes, at: piece.offset, to: key) }
            digest.update(bytes)
            return digest
        }
        let offset = piece.offset + Int64(bytes.count)
        entries[name]?.offset = offset
        entries[name]?.digest = digested
        let sha256 = { Hex.encode(digested.finalize()) }
        if isOver {
            let row = OutputStore.Row(
                state: .truncated, length: offset, sha256: sha256(),
                lost: (piece.end?.total ?? 0) > offset ? (piece.end?.total ?? 0) - offset : 0,
                reason: room.bound)
            return try await finish(name, key, row)
        }
        guard let end = piece.end else { return .progress(UploadProgress(state: .uploading, offset: offset)) }
        guard end.total == offset, end.sha256 == sha256() else {
            // What is here is not what the node has: after a power cut, say. From the beginning.
            try await Self.blocking { try folder.empty(key) }
            used[owner, default: 0] -= offset
            quota?.giveBack(offset, of: name.node)
            entries[name]?.offset = 0
            entries[name]?.digest = SHA256()
            return .elsewhere(UploadProgress(state: .uploading, offset: 0))
        }
        let row = OutputStore.Row(
            state: end.lost > 0 ? .truncated : .complete, length: offset, sha256: end.sha256, lost: end.lost,
            reason: end.lost > 0 ? "the node's budget" : "")
        return try await finish(name, key, row)
    }

    /// What one more piece of the stream may bring.
    private func room(_ name: Name, _ entry: Entry) -> OutputQuota.Room {
        let used = used[Owner(command: name.command, node: name.node)] ?? 0
        let room = quota?.room(for: name.node, ofCommand: used) ?? OutputQuota.Room(bytes: 0, bound: "the controller's quota")
        guard let length = entry.length, length - entry.offset < room.bytes else { return room }
        return OutputQuota.Room(bytes: max(0, length - entry.offset), bound: "the length that the node had reported")
    }

    private func finish(_ name: Name, _ key: OutputKey, _ row: OutputStore.Row) async throws -> Answer {
        let (folder, time) = (folder, now())
        if row.length > 0 { try await Self.blocking { try folder.sync(key) } }
        try await database.write { tx in try OutputStore.finish(key, row, at: time, in: tx) }
        entries.removeValue(forKey: name)
        if !entries.keys.contains(where: { $0.command == name.command && $0.node == name.node }) {
            used.removeValue(forKey: Owner(command: name.command, node: name.node))
        }
        return .progress(UploadProgress(state: row.state, offset: row.length))
    }

    private func makeRoom() {
        guard entries.count >= Self.maximumEntries,
            let oldest = entries.filter({ !$0.value.isBusy }).min(by: { $0.value.lastUse < $1.value.lastUse })?.key
        else { return }
        entries.removeValue(forKey: oldest)
        if !entries.keys.contains(where: { $0.command == oldest.command && $0.node == oldest.node }) {
            used.removeValue(forKey: Owner(command: oldest.command, node: oldest.node))
        }
    }

    // MARK: Housekeeping

    /// Removes what has served its time: `before` is when the command ended.
    package func expire(before: Timestamp) async throws {
        let (folder, time) = (folder, now())
        for command in try await Self.blocking({ try folder.commands() }) {
            guard try await database.read({ tx in try OutputStore.isExpired(command, before: before, in: tx) }) else { continue }
            // Said before it is done: a row may never promise what is not there.
            try await database.write { tx in try OutputStore.expire(command, at: time, in: tx) }
            entries = entries.filter { $0.key.command != command }
            used = used.filter { $0.key.command != command }
            let freed = try await Self.blocking { try folder.remove(command) }
            for (node, bytes) in freed { quota?.giveBack(bytes, of: node) }
        }
    }

    /// Off the threads that everything else runs on.
    static func blocking<T: Sendable>(_ body: @escaping @Sendable () throws -> T) async throws -> T {
        try await NIOThreadPool.singleton.runIfActive(body)
    }
}
