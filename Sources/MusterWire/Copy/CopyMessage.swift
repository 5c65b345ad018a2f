package import NIOCore

/// What the two ends of a copy of files say to each other, inside of a session. [value]
///
///     operator                     node
///     request ───────────────────▶        which way, what, where to
///             ◀─────────────────── accepted
///     sender                       receiver      (either of them, as the request says)
///     entry   ───────────────────▶        a folder, a file, a link; of a large file the receiver says what it has of it:
///             ◀─────────────────── have
///     from, data …, end ─────────▶        and of every entry how it went:
///             ◀─────────────────── result
///     finished ──────────────────▶
///
/// On the wire: the kind (1 byte), the length (4 bytes), the payload. Numbers are big-endian; texts and paths have their length before them.
package enum CopyMessage: Sendable, Equatable {
    case request(CopyRequest)
    case accepted
    case entry(CopyEntry)
    /// So many bytes of the file, with this digest, are there from an earlier try.
    case have(offset: UInt64, digest: [UInt8])
    /// What follows begins here: where the receiver said, or at 0.
    case from(UInt64)
    case data(ByteBuffer)
    /// SHA-256 of the whole file.
    case end(digest: [UInt8])
    /// Nil: it is there, whole.
    case result(problem: String?)
    /// The sender could not read something; it goes on with the rest.
    case problem(String)
    case finished
    /// Nothing follows.
    case failed(String)

    /// The largest file of which nothing is asked before it is sent.
    package static let inlineBytes = 64 << 10
    package static let dataBytes = 256 << 10
    package static let digestLength = 32
    private static let maximumLength = 1 << 20
    private static let headerLength = 5

    private enum Kind: UInt8 {
        case request = 1
        case accepted, entry, have, from, data, end, result, problem, finished, failed
    }

    // MARK: Writing

    package func write(into buffer: inout ByteBuffer) {
        let start = buffer.writerIndex
        buffer.writeInteger(kind.rawValue)
        buffer.writeInteger(UInt32(0))
        switch self {
        case .accepted, .finished: break
        case .request(let request): request.write(into: &buffer)
        case .entry(let entry): entry.write(into: &buffer)
        case .have(let offset, let digest):
            buffer.writeInteger(offset)
            buffer.writeBytes(digest)
        case .from(let offset): buffer.writeInteger(offset)
        case .data(let bytes): buffer.writeImmutableBuffer(bytes)
        case .end(let digest): buffer.writeBytes(digest)
        case .result(let problem): buffer.writeText(problem ?? "")
        case .problem(let words), .failed(let words): buffer.writeText(words)
        }
        buffer.setInteger(UInt32(buffer.writerIndex - start - Self.headerLength), at: start + 1)
    }

    private var kind: Kind {
        switch self {
        case .request: .request
        case .accepted: .accepted
        case .entry: .entry
        case .have: .have
        case .from: .from
        case .data: .data
        case .end: .end
        case .result: .result
        case .problem: .problem
        case .finished: .finished
        case .failed: .failed
        }
    }

    // MARK: Reading

    /// The next message, once it is there as a whole.
    package static func read(from buffer: inout ByteBuffer) throws(CopyFailure) -> CopyMessage? {
        guard let number = buffer.getInteger(at: buffer.readerIndex, as: UInt8.self) else { return nil }
        guard let kind = Kind(rawValue: number) else { throw CopyFailure("It sent a message of the unknown kind \(number).") }
        guard let length = buffer.getInteger(at: buffer.readerIndex + 1, as: UInt32.self) else { return nil }
        guard length <= maximumLength else { throw CopyFailure("It sent a message of \(length) bytes.") }
        guard buffer.readableBytes >= headerLength + Int(length) else { return nil }
        buffer.moveReaderIndex(forwardBy: headerLength)
        guard var payload = buffer.readSlice(length: Int(length)) else { return nil }
        let message = decode(kind, &payload)
        guard let message, payload.readableBytes == 0 else { throw CopyFailure("It sent a message that cannot be read (kind \(number)).") }
        return message
    }

    private static func decode(_ kind: Kind, _ payload: inout ByteBuffer) -> CopyMessage? {
        switch kind {
        case .accepted: return .accepted
        case .finished: return .finished
        case .request: return CopyRequest(&payload).map(CopyMessage.request)
        case .entry: return CopyEntry(&payload).map(CopyMessage.entry)
        case .have:
            guard let offset = payload.readInteger(as: UInt64.self), let digest = payload.readBytes(length: digestLength) else {
                return nil
            }
            return .have(offset: offset, digest: digest)
        case .from: return payload.readInteger(as: UInt64.self).map(CopyMessage.from)
        case .data:
            let bytes = payload
            payload.moveReaderIndex(to: payload.writerIndex)
            return .data(bytes)
        case .end: return payload.readBytes(length: digestLength).map { .end(digest: $0) }
        case .result: return payload.readText().map { .result(problem: $0.isEmpty ? nil : $0) }
        case .problem: return payload.readText().map(CopyMessage.problem)
        case .failed: return payload.readText().map(CopyMessage.failed)
        }
    }
}

/// Which way, and what. [value]
package struct CopyRequest: Sendable, Equatable {
    package enum Direction: UInt8, Sendable {
        /// To the node.
        case upload
        case download
    }

    private static let version: UInt8 = 1
    private static let maximumSources = 4096

    package var direction: Direction
    package var isRecursive: Bool
    /// The destination is a folder, or there is none.
    package var wantsFolder: Bool
    /// Of an upload, at the node.
    package var destination: [UInt8]
    /// Of a download: paths at the node. Of an upload: the names that they get, empty for what goes into the destination itself.
    package var sources: [[UInt8]]

    package init(direction: Direction, isRecursive: Bool, wantsFolder: Bool, destination: [UInt8], sources: [[UInt8]]) {
        self.direction = direction
        self.isRecursive = isRecursive
        self.wantsFolder = wantsFolder
        self.destination = destination
        self.sources = sources
    }

    fileprivate func write(into buffer: inout ByteBuffer) {
        buffer.writeInteger(Self.version)
        buffer.writeInteger(direction.rawValue)
        buffer.writeInteger(UInt8((isRecursive ? 1 : 0) | (wantsFolder ? 2 : 0)))
        buffer.writePath(destination)
        buffer.writeInteger(UInt16(clamping: sources.count))
        for source in sources { buffer.writePath(source) }
    }

    fileprivate init?(_ buffer: inout ByteBuffer) {
        guard buffer.readInteger(as: UInt8.self) == Self.version,
            let direction = buffer.readInteger(as: UInt8.self).flatMap(Direction.init),
            let flags = buffer.readInteger(as: UInt8.self), flags < 4, let destination = buffer.readPath(),
            let count = buffer.readInteger(as: UInt16.self), (1...Self.maximumSources).contains(Int(count))
        else { return nil }
        var sources: [[UInt8]] = []
        for _ in 0..<count {
            guard let source = buffer.readPath() else { return nil }
            sources.append(source)
        }
        self.init(
            direction: direction, isRecursive: flags & 1 != 0, wantsFolder: flags & 2 != 0, destination: destination, sources: sources)
    }
}

/// One thing in a tree of files. [value]
package struct CopyEntry: Sendable, Equatable {
    package enum Kind: UInt8, Sendable {
        case folder
        /// The same folder again, with everything in it.
        case folderEnd
        case file
        case link
    }

    package var kind: Kind
    /// Which of the sources it belongs to.
    package var source: UInt16
    /// Below the source; empty for the source itself.
    package var path: [UInt8]
    package var mode: UInt32
    package var modifiedSeconds: Int64
    package var modifiedNanoseconds: UInt32
    package var size: UInt64
    /// Of a link.
    package var target: [UInt8]

    package init(
        kind: Kind, source: UInt16, path: [UInt8], mode: UInt32, modifiedSeconds: Int64, modifiedNanoseconds: UInt32, size: UInt64,
        target: [UInt8] = []
    ) {
        self.kind = kind
        self.source = source
        self.path = path
        self.mode = mode
        self.modifiedSeconds = modifiedSeconds
        self.modifiedNanoseconds = modifiedNanoseconds
        self.size = size
        self.target = target
    }

    fileprivate func write(into buffer: inout ByteBuffer) {
        buffer.writeInteger(kind.rawValue)
        buffer.writeInteger(source)
        buffer.writeInteger(mode)
        buffer.writeInteger(modifiedSeconds)
        buffer.writeInteger(modifiedNanoseconds)
        buffer.writeInteger(size)
        buffer.writePath(path)
        buffer.writePath(target)
    }

    fileprivate init?(_ buffer: inout ByteBuffer) {
        guard let kind = buffer.readInteger(as: UInt8.self).flatMap(Kind.init), let source = buffer.readInteger(as: UInt16.self),
            let mode = buffer.readInteger(as: UInt32.self), let seconds = buffer.readInteger(as: Int64.self),
            let nanoseconds = buffer.readInteger(as: UInt32.self), nanoseconds < 1_000_000_000,
            let size = buffer.readInteger(as: UInt64.self), size <= UInt64(Int64.max), let path = buffer.readPath(),
            let target = buffer.readPath()
        else { return nil }
        self.init(
            kind: kind, source: source, path: path, mode: mode, modifiedSeconds: seconds, modifiedNanoseconds: nanoseconds, size: size,
            target: target)
    }
}

/// What ends a copy as a whole.
package struct CopyFailure: Error, Sendable, Equatable, CustomStringConvertible {
    package let description: String

    package init(_ description: String) { self.description = description }
}

extension ByteBuffer {
    /// PATH_MAX of Linux.
    private static let longestPath = 4096

    fileprivate mutating func writePath(_ path: [UInt8]) {
        self.writeInteger(UInt16(clamping: path.count))
        self.writeBytes(path.prefix(Int(UInt16.max)))
    }

    fileprivate mutating func readPath() -> [UInt8]? {
        guard let count = self.readInteger(as: UInt16.self), count <= Self.longestPath, let bytes = self.readBytes(length: Int(count)),
            !bytes.contains(0)
        else { return nil }
        return bytes
    }

    fileprivate mutating func writeText(_ text: String) {
        let bytes = Array(text.utf8.prefix(4096))
        self.writeInteger(UInt16(bytes.count))
        self.writeBytes(bytes)
    }

    fileprivate mutating func readText() -> String? {
        guard let count = self.readInteger(as: UInt16.self), count <= 4096, let bytes = self.readBytes(length: Int(count)) else {
            return nil
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}
