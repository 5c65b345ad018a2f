internal import FoundationEssentials
internal import Glibc
internal import NIOCore
internal import NIOPosix

/// What an error of a library means, for the person who reads it: no function's name, no type's. [value]
package enum PlainWords {
    package static func of(_ error: any Error) -> String {
        switch error {
        case let error as IOError: return system(error.errnoCode)
        case let error as SocketAddressError:
            switch error {
            case .unknown(let host, _): return "\"\(host)\" is no address, and no name that can be resolved"
            case .unixDomainSocketPathTooLong: return "the path of the socket is too long"
            default: return "it is no address"
            }
        case let error as ChannelError:
            switch error {
            case .connectTimeout: return "no answer in time"
            case .alreadyClosed, .ioOnClosedChannel, .inputClosed, .outputClosed, .eof: return "the connection was closed"
            default: return "the connection failed"
            }
        case let error as NIOConnectionError:
            if let first = error.connectionErrors.first { return of(first.error) }
            return "\"\(error.host)\" cannot be resolved"
        case let error as CocoaError:
            switch error.code {
            case .fileReadNoSuchFile, .fileNoSuchFile: return "there is no such file"
            case .fileReadNoPermission, .fileWriteNoPermission: return "this user may not read or write it"
            case .fileReadInapplicableStringEncoding, .fileReadCorruptFile: return "it is no text in UTF-8"
            case .fileWriteOutOfSpace: return "there is no room left on the disk"
            default: return "it cannot be read or written"
            }
        default: return SQLiteDatabase.words(error)
        }
    }

    package static func system(_ code: Int32) -> String {
        let words = String(cString: strerror(code))
        return words.prefix(1).lowercased() + words.dropFirst()
    }
}
