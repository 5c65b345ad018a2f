import Glibc

/// errno(3) in words that belong to a sentence of ours: "Cannot write /x: there is no space left on the disk."
package enum SystemError {
    package static func words(_ code: Int32 = errno) -> String {
        switch code {
        case ENOENT: "it does not exist"
        case EACCES: "permission denied"
        case EPERM: "it is not permitted"
        case EEXIST: "it is already there"
        case ENOTDIR: "a part of the path is not a folder"
        case EISDIR: "it is a folder"
        case ELOOP: "it is a symbolic link, or a circle of them"
        case ENAMETOOLONG: "the name is too long"
        case ENOTEMPTY: "the folder is not empty"
        case ENOSPC: "there is no space left on the disk"
        case EDQUOT: "the disk quota is used up"
        case EFBIG: "the file has become too large"
        case EROFS: "the file system is read-only"
        case EIO: "the disk or the terminal failed"
        case EBADF: "it is closed"
        case EPIPE: "nobody reads it any more"
        case ETXTBSY: "the program is in use"
        case EXDEV: "it is on another file system"
        case EMFILE, ENFILE: "too many files are open"
        case ENOMEM: "there is not enough memory"
        case EADDRINUSE: "the address is already in use"
        case EADDRNOTAVAIL: "the address is not one of this machine"
        case EAFNOSUPPORT: "this machine has no such kind of address"
        case ECONNREFUSED: "the connection was refused"
        case ECONNRESET: "the connection was reset"
        case ECONNABORTED: "the connection was aborted"
        case ENETUNREACH: "the network is unreachable"
        case EHOSTUNREACH: "there is no route to the host"
        case ENETDOWN, EHOSTDOWN: "the network or the host is down"
        case ETIMEDOUT: "there was no answer in time"
        case ENXIO, ENODEV: "there is no such device"
        case ENOEXEC: "it is not a program for this machine"
        default: String(cString: strerror(code))
        }
    }
}
