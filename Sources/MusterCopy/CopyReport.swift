package import MusterWire

/// What a copy tells while it runs, at either end.
package protocol CopyObserver: AnyObject {
    /// A file begins.
    func began(_ name: [UInt8], size: UInt64)
    /// So many more bytes of it are where they belong.
    func moved(_ bytes: Int)
    /// A file is done, or a link or a folder could not be.
    func ended(_ file: CopiedFile)
    /// The other side could not read something.
    func problem(_ words: String)
}

/// How one file went.
package struct CopiedFile: Sendable, Equatable {
    package var name: [UInt8]
    package var size: UInt64
    /// What went over the wire: less than the size of one that was resumed.
    package var moved: UInt64
    package var started: Timestamp
    package var ended: Timestamp
    /// Empty for what is no file, or did not come to its end.
    package var digest: [UInt8]
    package var problem: String?
    package var isFile: Bool
}

/// How many there were.
package struct CopySummary: Sendable, Equatable {
    package var files = 0
    package var bytes: UInt64 = 0
    package var moved: UInt64 = 0
    package var problems = 0

    package mutating func count(_ file: CopiedFile) {
        if file.problem != nil { problems += 1 }
        guard file.isFile, file.problem == nil else { return }
        files += 1
        bytes += file.size
        moved += file.moved
    }
}
