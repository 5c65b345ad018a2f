import Glibc

/// What the system's error numbers mean, in words for people: the end of a sentence, and what to do where that is known.
package enum SystemReason {
    package static func words(_ code: Int32) -> String {
        switch code {
        case ENOSPC: "no space is left on the disk. Free some there."
        case EDQUOT: "the disk quota is used up. Free some space there."
        case EROFS: "the file system is read-only. Mount it writable."
        case EACCES, EPERM: "permission denied."
        case ENOENT: "there is no such file or folder."
        case ENOTDIR: "a part of the path is not a folder."
        case ELOOP: "it is a symbolic link, which is not followed here."
        case ENOEXEC: "it is no program that this host can run."
        case EFBIG: "it is too large."
        case EMFILE, ENFILE: "too many files are open."
        case ENOMEM: "there is not enough memory."
        case EAGAIN: "the host has no room for another process."
        case EIO: "the disk reports an error."
        default: "\(String(cString: strerror(code)).lowercased()) (error \(code))."
        }
    }
}
