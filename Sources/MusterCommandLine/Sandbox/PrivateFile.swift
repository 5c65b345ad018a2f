import Glibc
import MusterWire

/// Replaces a file as a whole, readable by its owner only from the first moment on.
enum PrivateFile {
    static func write(_ bytes: [UInt8], to path: String) throws {
        let temporary = path + ".new"
        unlink(temporary)
        let descriptor = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw CommandLineError("Cannot write \(temporary): \(SystemError.words()).") }
        defer { close(descriptor) }
        var rest = bytes[...]
        while !rest.isEmpty {
            let written = rest.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
            guard written > 0 else { throw CommandLineError("Cannot write \(temporary): \(SystemError.words()).") }
            rest = rest.dropFirst(written)
        }
        guard rename(temporary, path) == 0 else { throw CommandLineError("Cannot replace \(path): \(SystemError.words()).") }
    }
}
