import CLinux
import Glibc
import MusterCrypto
import MusterWire
import NIOCore

/// The end of a copy that writes files. What the sender says is believed of contents only: it cannot name a place outside of the
/// destination, not by its paths and not by links that it made before.
///
/// A file grows under a name of its own (`.NAME.….muster-part`), from which a later copy of the same file goes on; it gets its real name
/// when it is whole and its digest is right. Where others may write, what they have put there under such a name is not gone on with.
package final class CopyReceiver {
    private let conversation: CopyConversation
    private let observer: any CopyObserver
    private let places: CopyPlaces
    private let isRecursive: Bool
    /// The sources that have come, where each is one file.
    private var taken: Set<UInt16> = []
    package private(set) var summary = CopySummary()

    /// - Parameter isRecursive: without it every source is one file, and nothing else is taken for it.
    package init(_ conversation: CopyConversation, places: CopyPlaces, isRecursive: Bool, observer: any CopyObserver) {
        self.conversation = conversation
        self.places = places
        self.isRecursive = isRecursive
        self.observer = observer
    }

    /// Returns when the sender has nothing more, and everything is on the disk.
    package func run() throws {
        while true {
            switch try conversation.next() {
            case .entry(let entry): try take(entry)
            case .problem(let words):
                summary.problems += 1
                observer.problem(words)
            case .finished:
                for place in places.places { _ = muster_sync_filesystem(place.folder.number) }
                return
            default: throw CopyFailure("The sender sent something out of turn.")
            }
        }
    }

    private func take(_ entry: CopyEntry) throws {
        if !isRecursive {
            guard entry.kind == .file, entry.path.isEmpty, taken.insert(entry.source).inserted else {
                throw CopyFailure("The sender sent something that was not asked for: without -r each source is one file.")
            }
        }
        let started = Timestamp.now()
        let resolved = try places.resolve(entry)
        let code = errno
        let shown = Self.shown(entry, resolved?.name, places)
        var file = CopiedFile(
            name: shown, size: entry.size, moved: 0, started: started, ended: started, digest: [], problem: nil, isFile: entry.kind == .file
        )
        let problem: String?
        switch (entry.kind, resolved) {
        case (.file, _):
            observer.began(shown, size: entry.size)
            problem = try receive(entry, in: resolved, code, &file)
        case (_, nil): problem = reason(code)
        case (.folder, let place?): problem = makeFolder(entry, in: place.folder, place.name)
        case (.folderEnd, let place?): problem = finishFolder(entry, in: place.folder, place.name)
        case (.link, let place?): problem = makeLink(entry, in: place.folder, place.name)
        }
        file.ended = .now()
        file.problem = problem.map { "\(text(shown)): \($0)" }
        summary.count(file)
        observer.ended(file)
        try conversation.send(.result(problem: file.problem))
        // The sender waits for it at the end, or when many are open; one by one they would cost a frame each.
        try conversation.flush()
    }

    private static func shown(_ entry: CopyEntry, _ name: [UInt8]?, _ places: CopyPlaces) -> [UInt8] {
        let first = places.places[Int(entry.source)].name ?? []
        if first.isEmpty { return entry.path.isEmpty ? [UInt8(ascii: ".")] : entry.path }
        return entry.path.isEmpty ? first : first + [UInt8(ascii: "/")] + entry.path
    }

    // MARK: Folders and links

    private func makeFolder(_ entry: CopyEntry, in folder: FileHandle, _ name: [UInt8]?) -> String? {
        guard let name else { return nil }
        // Ours to write in until it is finished.
        if withName(name, { mkdirat(folder.number, $0, 0o700) }) == 0 { return nil }
        guard errno == EEXIST else { return reason() }
        guard let there = folder.status(name), fileType(there) == S_IFDIR else { return reason(ENOTDIR) }
        guard let parent = folder.status, !Ownership.isPlanted(there, in: parent, by: geteuid()) else {
            return "Is somebody else's folder, in one where everybody may make folders"
        }
        return nil
    }

    private func finishFolder(_ entry: CopyEntry, in folder: FileHandle, _ name: [UInt8]?) -> String? {
        // A destination that was there before keeps what it has.
        guard let name else { return nil }
        guard let made = folder.open(name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW) else { return reason() }
        return finish(made, entry)
    }

    private func makeLink(_ entry: CopyEntry, in folder: FileHandle, _ name: [UInt8]?) -> String? {
        guard let name, !entry.target.isEmpty else { return reason(EINVAL) }
        let part = Self.partName(entry, name)
        _ = withName(part) { unlinkat(folder.number, $0, 0) }
        let made = withName(entry.target) { target in withName(part) { symlinkat(target, folder.number, $0) } }
        guard made == 0 else { return reason() }
        var times = Self.times(entry)
        _ = withName(part) { utimensat(folder.number, $0, &times, AT_SYMLINK_NOFOLLOW) }
        return rename(part, to: name, in: folder)
    }

    private func rename(_ part: [UInt8], to name: [UInt8], in folder: FileHandle) -> String? {
        let done = withName(part) { part in withName(name) { renameat(folder.number, part, folder.number, $0) } }
        guard done != 0 else { return nil }
        let code = errno
        _ = withName(part) { unlinkat(folder.number, $0, 0) }
        return reason(code)
    }

    private static func times(_ entry: CopyEntry) -> [timespec] {
        let time = timespec(tv_sec: Int(clamping: entry.modifiedSeconds), tv_nsec: Int(entry.modifiedNanoseconds))
        return [time, time]
    }

    /// Rights to read, write and execute; no others are taken from another host.
    private func finish(_ file: FileHandle, _ entry: CopyEntry) -> String? {
        guard fchmod(file.number, mode_t(entry.mode & 0o777)) == 0 else { return reason() }
        var times = Self.times(entry)
        guard futimens(file.number, &times) == 0 else { return reason() }
        return nil
    }

    /// Of the same file in the same state, so that no other one is continued.
    static func partName(_ entry: CopyEntry, _ name: [UInt8]) -> [UInt8] {
        let identity = "\(entry.size) \(entry.modifiedSeconds).\(entry.modifiedNanoseconds) ".utf8
        return partName(name, mark: Array(SHA256.hash(Array(identity) + name).prefix(6)))
    }

    private static func partName(_ name: [UInt8], mark: [UInt8]) -> [UInt8] {
        [UInt8(ascii: ".")] + name.prefix(200) + Array(".\(Hex.encode(mark)).muster-part".utf8)
    }

    // MARK: A file

    /// What has been put on the disk of one file.
    private struct Growing {
        let file: FileHandle
        /// Under which name it grows; nil when it is there already.
        let part: [UInt8]?
        var hash = SHA256()
        var length: UInt64 = 0
    }

    /// Whatever goes wrong with this file, all that the sender has for it is taken.
    private func receive(_ entry: CopyEntry, in place: (folder: FileHandle, name: [UInt8]?)?, _ code: Int32, _ result: inout CopiedFile)
        throws
        -> String?
    {
        var problem: String?
        var growing: Growing?
        if let place, let name = place.name {
            (growing, problem) = begin(entry, name, in: place.folder)
        } else {
            problem = place == nil ? reason(code) : reason(EISDIR)
        }
        if entry.size > UInt64(CopyMessage.inlineBytes) {
            let have = growing?.length ?? 0
            try conversation.send(.have(offset: have, digest: growing?.hash.finalize() ?? SHA256.hash([])))
            try conversation.flush()
            guard case .from(let offset) = try conversation.next(), offset == 0 || offset == have else {
                throw CopyFailure("The sender sent something out of turn.")
            }
            if offset == have {
                observer.moved(Int(clamping: have))
            } else if let former = growing, let place, let name = place.name {
                // It is another file than we have.
                growing = nil
                _ = former
                (growing, problem) = begin(entry, name, in: place.folder, anew: true)
            }
        }
        while true {
            switch try conversation.next() {
            case .data(let bytes):
                observer.moved(bytes.readableBytes)
                result.moved += UInt64(bytes.readableBytes)
                guard problem == nil, growing != nil else { continue }
                guard UInt64(bytes.readableBytes) <= entry.size - (growing?.length ?? 0) else {
                    problem = "It grew while it was copied."
                    continue
                }
                problem = append(bytes, &growing)
            case .end(let digest):
                result.digest = digest
                guard problem == nil, let growing, let place, let name = place.name else { return problem }
                guard growing.length == entry.size else { return "It became shorter while it was copied." }
                guard growing.hash.finalize() == digest else {
                    // Worthless; a later copy must not go on from it.
                    if let part = growing.part { _ = withName(part) { unlinkat(place.folder.number, $0, 0) } }
                    return "What arrived is not what was sent (SHA-256)."
                }
                if let words = finish(growing.file, entry) { return words }
                guard let part = growing.part else { return nil }
                return rename(part, to: name, in: place.folder)
            default: throw CopyFailure("The sender sent something out of turn.")
            }
        }
    }

    private func begin(_ entry: CopyEntry, _ name: [UInt8], in folder: FileHandle, anew: Bool = false) -> (Growing?, String?) {
        let part = Self.partName(entry, name)
        if let there = folder.status(name), fileType(there) == S_IFDIR { return (nil, reason(EISDIR)) }
        if !anew, entry.size > UInt64(CopyMessage.inlineBytes) {
            if let former = continued(folder.open(part, O_RDWR | O_NOFOLLOW | O_NONBLOCK), entry, part) { return (former, nil) }
            // From an earlier copy of the same tree, whole.
            if let there = folder.status(name), fileType(there) == S_IFREG, UInt64(max(0, there.st_size)) == entry.size,
                Int64(there.st_mtim.tv_sec) == entry.modifiedSeconds, Int64(there.st_mtim.tv_nsec) == Int64(entry.modifiedNanoseconds),
                let whole = continued(folder.open(name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK), entry, nil)
            {
                return (whole, nil)
            }
        }
        _ = withName(part) { unlinkat(folder.number, $0, 0) }
        if let file = create(part, in: folder) { return (Growing(file: file, part: part), nil) }
        guard errno == EEXIST else { return (nil, reason()) }
        // Somebody else's, in a folder where only they may remove it: under another name the file arrives all the same.
        let other = Self.partName(name, mark: RandomBytes.make(6))
        guard let file = create(other, in: folder) else { return (nil, reason()) }
        return (Growing(file: file, part: other), nil)
    }

    private func create(_ part: [UInt8], in folder: FileHandle) -> FileHandle? {
        folder.open(part, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, mode: 0o600)
    }

    private func continued(_ file: FileHandle?, _ entry: CopyEntry, _ part: [UInt8]?) -> Growing? {
        // What is there already may have the rights that the copy is to have; what grows has none for others.
        guard let file, let status = file.status, UInt64(max(0, status.st_size)) <= entry.size,
            Ownership.isOurs(status, uid: geteuid(), othersMay: part == nil ? mode_t(entry.mode & 0o777) : 0)
        else { return nil }
        var growing = Growing(file: file, part: part)
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: CopyMessage.dataBytes, alignment: 16)
        defer { buffer.deallocate() }
        while growing.length < entry.size {
            let count = read(file.number, buffer.baseAddress, min(buffer.count, Int(clamping: entry.size - growing.length)))
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { break }
            growing.hash.update(UnsafeRawBufferPointer(rebasing: buffer[..<count]))
            growing.length += UInt64(count)
        }
        return growing
    }

    private func append(_ bytes: ByteBuffer, _ growing: inout Growing?) -> String? {
        guard let file = growing?.file else { return nil }
        let failure: Int32 = bytes.withUnsafeReadableBytes { bytes in
            var rest = bytes[...]
            while !rest.isEmpty {
                let part = UnsafeRawBufferPointer(rebasing: rest)
                let count = write(file.number, part.baseAddress, part.count)
                if count < 0, errno == EINTR { continue }
                guard count > 0 else { return errno }
                rest = rest.dropFirst(count)
            }
            growing?.hash.update(bytes)
            return 0
        }
        guard failure == 0 else { return reason(failure) }
        growing?.length += UInt64(bytes.readableBytes)
        return nil
    }
}
