import FoundationEssentials
import Glibc

/// What an idle agent keeps mapped.
enum Footprint {
    /// Lets go of the program code that the start, a handshake and a heartbeat have touched, some ten megabytes of an agent that then waits
    /// for minutes. The pages are clean and the file's own: what is called again comes back from the page cache at once (madvise(2),
    /// MADV_DONTNEED). Only what no relocation has ever written to is given back: the code, and each file's first, read-only part.
    static func giveBackCode() {
        guard let maps = FileManager.default.contents(atPath: "/proc/self/maps") else { return }
        // address-address permissions offset device inode path, proc_pid_maps(5)
        for line in String(decoding: maps, as: UTF8.self).split(separator: "\n") {
            let fields = line.split(separator: " ")
            guard fields.count >= 6, fields[5].hasPrefix("/"),
                fields[1] == "r-xp" || (fields[1] == "r--p" && UInt64(fields[2], radix: 16) == 0)
            else { continue }
            let ends = fields[0].split(separator: "-").compactMap { UInt(String($0), radix: 16) }
            guard ends.count == 2, ends[0] < ends[1] else { continue }
            madvise(UnsafeMutableRawPointer(bitPattern: ends[0]), Int(ends[1] - ends[0]), MADV_DONTNEED)
        }
    }
}
