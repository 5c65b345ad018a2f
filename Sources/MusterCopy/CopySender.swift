import CLinux
import Glibc
import MusterCrypto
package import MusterWire
import NIOCore

/// The end of a copy that reads files and sends them. It follows the links that it was named, and none below.
package final class CopySender {
    /// Entries whose result has not come: what the receiver says about them always has room on its way.
    private static let maximumOpen = 64
    private static let maximumDepth = 256

    private let conversation: CopyConversation
    private let observer: any CopyObserver
    private let isRecursive: Bool
    private var open: [CopiedFile] = []
    package private(set) var summary = CopySummary()

    package init(_ conversation: CopyConversation, isRecursive: Bool, observer: any CopyObserver) {
        self.conversation = conversation
        self.isRecursive = isRecursive
        self.observer = observer
    }

    package func run(_ sources: [[UInt8]]) throws {
        for (index, path) in sources.enumerated() {
            // Through links: it was named.
            guard let parent = FileHandle(muster_open(".", O_RDONLY | O_DIRECTORY, 0)) else {
                throw CopyFailure("Cannot open the folder: \(reason())")
            }
            var status = stat()
            guard withName(path, { stat($0, &status) }) == 0 else {
                try problem("\(text(path)): \(reason())")
                continue
            }
            try send(path, in: parent, status, Place(source: UInt16(clamping: index), path: [], shown: path, depth: 0), follow: true)
        }
        while !open.isEmpty { try heard(try conversation.next()) }
        try conversation.send(.finished)
        try conversation.flush()
    }

    private struct Place {
        var source: UInt16
        var path: [UInt8]
        var shown: [UInt8]
        var depth: Int

        func below(_ name: [UInt8]) -> Place {
            Place(
                source: source, path: path.isEmpty ? name : path + [UInt8(ascii: "/")] + name, shown: shown + [UInt8(ascii: "/")] + name,
                depth: depth + 1)
        }
    }

    private func send(_ name: [UInt8], in folder: FileHandle, _ status: stat, _ place: Place, follow: Bool) throws {
        let flags = (follow ? 0 : O_NOFOLLOW) | O_RDONLY | O_NONBLOCK
        switch fileType(status) {
        case S_IFREG:
            guard let file = folder.open(name, flags), let status = file.status, fileType(status) == S_IFREG else {
                return try problem("\(text(place.shown)): \(reason())")
            }
            try send(file, status, place)
        case S_IFDIR:
            guard isRecursive else { return try problem("\(text(place.shown)): Is a folder (-r copies folders)") }
            guard place.depth < Self.maximumDepth else { return try problem("\(text(place.shown)): Too deep") }
            guard let below = folder.open(name, flags | O_DIRECTORY), let status = below.status, let names = Self.names(in: below) else {
                return try problem("\(text(place.shown)): \(reason())")
            }
            try send(entry(.folder, status, place), place)
            for name in names {
                guard let status = below.status(name) else {
                    try problem("\(text(place.shown))/\(text(name)): \(reason())")
                    continue
                }
                let next = place.below(name)
                guard next.path.count <= 4096 else {
                    try problem("\(text(next.shown)): \(reason(ENAMETOOLONG))")
                    continue
                }
                try send(name, in: below, status, next, follow: false)
            }
            try send(entry(.folderEnd, status, place), place)
        case S_IFLNK:
            var buffer = [UInt8](repeating: 0, count: 4097)
            let length = withName(name) { name in
                buffer.withUnsafeMutableBytes { buffer in buffer.baseAddress.map { readlinkat(folder.number, name, $0, buffer.count) } ?? 0
                }
            }
            guard length > 0, length <= 4096 else { return try problem("\(text(place.shown)): \(reason())") }
            var entry = entry(.link, status, place)
            entry.target = Array(buffer[..<length])
            try send(entry, place)
        default:
            try problem("\(text(place.shown)): Is no file, folder or link, and was left out")
        }
    }

    private func entry(_ kind: CopyEntry.Kind, _ status: stat, _ place: Place) -> CopyEntry {
        CopyEntry(
            kind: kind, source: place.source, path: place.path, mode: UInt32(status.st_mode & 0o7777),
            modifiedSeconds: Int64(status.st_mtim.tv_sec), modifiedNanoseconds: UInt32(clamping: status.st_mtim.tv_nsec),
            size: kind == .file ? UInt64(max(0, status.st_size)) : 0)
    }

    private func send(_ entry: CopyEntry, _ place: Place) throws {
        try makeRoom()
        let now = Timestamp.now()
        open.append(
            CopiedFile(
                name: place.shown, size: entry.size, moved: 0, started: now, ended: now, digest: [], problem: nil,
                isFile: entry.kind == .file))
        try conversation.send(.entry(entry))
    }

    // MARK: A file

    private func send(_ file: FileHandle, _ status: stat, _ place: Place) throws {
        let entry = entry(.file, status, place)
        try send(entry, place)
        observer.began(place.shown, size: entry.size)
        var hash = SHA256()
        var offset: UInt64 = 0
        if entry.size > UInt64(CopyMessage.inlineBytes) {
            let (have, digest) = try awaitHave()
            if have > 0, have <= entry.size {
                let same = try read(file, upTo: have) { hash.update($0) } == have && hash.finalize() == digest
                if same {
                    offset = have
                    observer.moved(Int(clamping: have))
                } else {
                    hash = SHA256()
                    lseek(file.number, 0, SEEK_SET)
                }
            }
            try conversation.send(.from(offset))
        }
        let sent = try read(file, upTo: entry.size - offset) { bytes in
            hash.update(bytes)
            try conversation.send(.data(ByteBuffer(bytes: bytes)))
            observer.moved(bytes.count)
        }
        // Of one that has become shorter, the receiver sees that something is missing.
        let digest = hash.finalize()
        open[open.count - 1].moved = sent
        open[open.count - 1].digest = digest
        try conversation.send(.end(digest: digest))
    }

    /// Returns how much there was.
    private func read(_ file: FileHandle, upTo limit: UInt64, _ body: (UnsafeRawBufferPointer) throws -> Void) throws -> UInt64 {
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: CopyMessage.dataBytes, alignment: 16)
        defer { buffer.deallocate() }
        var done: UInt64 = 0
        while done < limit {
            let count = Glibc.read(file.number, buffer.baseAddress, min(buffer.count, Int(clamping: limit - done)))
            if count < 0, errno == EINTR { continue }
            // What cannot be read is missing; the receiver sees that.
            guard count > 0 else { break }
            try body(UnsafeRawBufferPointer(rebasing: buffer[..<count]))
            done += UInt64(count)
        }
        return done
    }

    // MARK: What the receiver says

    private func awaitHave() throws -> (UInt64, [UInt8]) {
        while true {
            let message = try conversation.next()
            if case .have(let offset, let digest) = message { return (offset, digest) }
            try heard(message)
        }
    }

    private func makeRoom() throws {
        while let message = try conversation.nextIfThere() { try heard(message) }
        while open.count >= Self.maximumOpen { try heard(try conversation.next()) }
    }

    private func heard(_ message: CopyMessage) throws {
        guard case .result(let problem) = message, !open.isEmpty else { throw CopyFailure("The receiver sent something out of turn.") }
        var file = open.removeFirst()
        file.ended = .now()
        file.problem = problem
        summary.count(file)
        observer.ended(file)
    }

    private func problem(_ words: String) throws {
        summary.problems += 1
        observer.problem(words)
        try conversation.send(.problem(words))
    }

    private static func names(in folder: FileHandle) -> [[UInt8]]? {
        // closedir(3) closes the descriptor that it was given.
        let copy = muster_duplicate(folder.number)
        guard copy >= 0, let stream = fdopendir(copy) else { return nil }
        defer { closedir(stream) }
        var names: [[UInt8]] = []
        while let entry = readdir(stream) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) { pointer in
                pointer.withMemoryRebound(to: UInt8.self, capacity: 256) { Array(UnsafeBufferPointer(start: $0, count: strlen($0))) }
            }
            if CopyPath.isName(name) { names.append(name) }
        }
        return names.sorted { $0.lexicographicallyPrecedes($1) }
    }
}
