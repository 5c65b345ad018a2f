import CLinux
import Glibc

/// Whose file it is that a copy would go on with. Somebody who owns it, may write to it or has it under another name as well could
/// change what has been copied, or read it, at any later time. [value]
enum Ownership {
    /// - Parameter othersMay: the bits by which group and others may write all the same.
    static func isOurs(_ status: stat, uid: uid_t, othersMay rights: mode_t) -> Bool {
        fileType(status) == S_IFREG && status.st_uid == uid && status.st_nlink == 1 && status.st_mode & 0o022 & ~rights == 0
    }

    /// Whether somebody else has put a folder where a copy would make one. In a sticky folder like /tmp everybody may; elsewhere who may
    /// write is trusted by whoever gave them the folder.
    static func isPlanted(_ folder: stat, in parent: stat, by uid: uid_t) -> Bool {
        parent.st_mode & mode_t(Glibc.S_ISVTX) != 0 && parent.st_mode & 0o022 != 0 && folder.st_uid != uid && folder.st_uid != parent.st_uid
    }
}
