internal import Glibc

/// What stays free of the data directory's disk for the controller's own changes, so that sessions and outputs never fill it. [value]
///
/// Whatever grows without end by what others send asks for `room` now and then, and not for every byte.
package struct DiskReserve: Sendable {
    package enum Room: Sendable, Comparable {
        /// Half of the reserve is used up: what has been begun ends, too.
        case none
        /// Only the reserve is left: nothing new is begun that can be left out.
        case reserved
        case ample
    }

    private let bytes: Int64
    private let free: @Sendable () -> Int64?

    /// - Parameters:
    ///   - path: a folder on the disk.
    ///   - bytes: 0 reserves nothing.
    package init(path: String, bytes: Int64) {
        self.init(bytes: bytes) {
            var status = statvfs()
            guard statvfs(path, &status) == 0 else { return nil }
            // What a user without privileges may still write.
            return Int64(clamping: UInt64(status.f_bavail).multipliedReportingOverflow(by: UInt64(status.f_frsize)).partialValue)
        }
    }

    package init(bytes: Int64, free: @escaping @Sendable () -> Int64?) {
        (self.bytes, self.free) = (bytes, free)
    }

    /// A disk that cannot be asked has room: what cannot be written is noticed by who writes it.
    package var room: Room {
        guard bytes > 0, let free = free() else { return .ample }
        return free < bytes / 2 ? .none : free < bytes ? .reserved : .ample
    }
}
