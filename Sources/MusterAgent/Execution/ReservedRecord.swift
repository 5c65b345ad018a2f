import Glibc

/// A small file whose next version has its place on the disk already, so that a full disk does not keep it from being written.
///
///     NAME           what holds, padded with line breaks
///     .NAME.next     as long; written in place and synced, then the two change their names
///
/// Readers see the old or the new content, also after a crash. A record that is reserved and holds nothing yet is line breaks alone.
package struct ReservedRecord: Sendable {
    private let folder: Folder
    private let name: String
    private let capacity: Int
    private var next: String { ".\(name).next" }

    package init(_ name: String, in folder: Folder, capacity: Int) {
        self.folder = folder
        self.name = name
        self.capacity = capacity
    }

    /// Takes the place on the disk, for this content and the next. What is reserved already is left alone.
    package func reserve() throws(FileError) {
        try reserveNext()
        if let bytes = try folder.read(name, atMost: Int.max - 1), bytes.count >= capacity { return }
        try replace(try read(atMost: Int.max - 1) ?? [])
        try reserveNext()
        try folder.sync()
    }

    /// For writing in place. A file that has another name as well was planted, and would carry the bytes there.
    private func openNext() throws(FileError) -> FileDescriptor {
        let file = try folder.openFile(next, create: true)
        if try file.isAlone(path: folder.path(of: next)) { return file }
        try folder.removeFile(next)
        return try folder.openFile(next, create: true)
    }

    private func reserveNext() throws(FileError) {
        let file = try openNext()
        guard try file.size(path: folder.path(of: next)) < Int64(capacity) else { return }
        // Written, not only claimed: a hole would want its place when it is filled.
        try file.overwrite([UInt8](repeating: 0x0A, count: capacity), path: folder.path(of: next))
        try file.sync(path: folder.path(of: next))
    }

    /// Nil when there is none, or only its place. An empty file is a damaged one, and is returned as it is.
    package func read(atMost limit: Int) throws(FileError) -> [UInt8]? {
        guard let bytes = try folder.read(name, atMost: limit) else { return nil }
        guard let end = bytes.lastIndex(where: { $0 != 0x0A }) else { return bytes.isEmpty ? [] : nil }
        return Array(bytes[...end])
    }

    /// On the disk when it returns. The bytes must not end with a line break.
    package func replace(_ bytes: [UInt8]) throws(FileError) {
        let padded = bytes + [UInt8](repeating: 0x0A, count: max(1, capacity - bytes.count))
        do {
            let file = try openNext()
            try file.overwrite(padded, path: folder.path(of: next))
            try file.sync(path: folder.path(of: next))
        } catch {
            // Without a place of its own, as an earlier version left it, a record within one sector is written over: that is done or not.
            guard error.isDiskFull, padded.count <= 512, try folder.contains(name) else { throw error }
            let file = try folder.openFile(name, create: false)
            guard try file.isAlone(path: folder.path(of: name)) else { throw error }
            try file.overwrite(padded, path: folder.path(of: name))
            return try file.sync(path: folder.path(of: name))
        }
        guard try folder.contains(name), try folder.exchange(next, with: name) else {
            // The first content, or a file system that cannot exchange names.
            try folder.rename(next, to: name)
            try folder.sync()
            return try reserveNext()
        }
        try folder.sync()
        // What was replaced may have been a key.
        let former = try openNext()
        try former.overwrite([UInt8](repeating: 0x0A, count: Int(former.size(path: next))), path: folder.path(of: next))
    }
}
