import Glibc
import Synchronization

/// Standard output of this process. A result that could not be written is a failure of the command, whatever else went well: it is
/// remembered here until the process ends, because there is one descriptor 1 and many places that print.
package enum StandardOutput {
    package enum Verdict: Sendable, Equatable {
        case written
        /// EPIPE: whoever read has enough. There is nobody to tell, and the status is the one of a program that SIGPIPE ended.
        case readerGone
        case failed(Int32)
    }

    package static let readerGoneStatus: Int32 = 128 + SIGPIPE

    private static let failure = Mutex<Int32>(0)

    package static var verdict: Verdict {
        switch failure.withLock({ $0 }) {
        case 0: .written
        case EPIPE: .readerGone
        case let code: .failed(code)
        }
    }

    /// False once something could not be written; then nothing more is tried.
    @discardableResult
    package static func write(_ bytes: ArraySlice<UInt8>) -> Bool {
        guard failure.withLock({ $0 == 0 }) else { return false }
        let code = put(bytes, to: STDOUT_FILENO)
        guard code == 0 else {
            record(code)
            return false
        }
        return true
    }

    @discardableResult
    package static func write(_ text: String) -> Bool { write(Array(text.utf8)[...]) }

    /// For those who write to descriptor 1 by themselves. The first reason counts.
    package static func record(_ code: Int32) {
        failure.withLock { if $0 == 0 { $0 = code } }
    }

    /// At the end of the process: some file systems tell only at close(2) that there was no room (NFS, quotas).
    ///
    /// - Returns: the status to end with, and what to say on standard error; nil when everything arrived.
    package static func finish() -> (status: Int32, words: String?)? {
        if verdict == .written {
            let copy = dup(STDOUT_FILENO)
            if copy >= 0, close(copy) != 0, errno != EINTR { record(errno) }
        }
        return switch verdict {
        case .written: nil
        case .readerGone: (readerGoneStatus, nil)
        case .failed(let code): (1, "Cannot write the result to standard output: \(SystemError.words(code)).")
        }
    }

    /// All of it to any descriptor: 0, or errno. What is non-blocking is waited for.
    package static func put(_ bytes: ArraySlice<UInt8>, to descriptor: Int32) -> Int32 {
        bytes.withUnsafeBytes { bytes in
            var rest = bytes[...]
            while !rest.isEmpty {
                let part = UnsafeRawBufferPointer(rebasing: rest)
                let written = Glibc.write(descriptor, part.baseAddress, part.count)
                if written > 0 {
                    rest = rest.dropFirst(written)
                    continue
                }
                switch written == 0 ? EIO : errno {
                case EINTR: continue
                case EAGAIN:
                    // As long as a blocking write would wait.
                    var entry = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
                    _ = poll(&entry, 1, -1)
                case let code: return code
                }
            }
            return 0
        }
    }
}
