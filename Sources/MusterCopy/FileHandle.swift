import CLinux
import Glibc
import MusterWire

/// A descriptor that closes itself.
final class FileHandle: Sendable {
    let number: Int32

    init?(_ number: Int32) {
        guard number >= 0 else { return nil }
        self.number = number
    }

    deinit { close(number) }

    /// What stands under a name in this folder; links are not followed.
    func status(_ name: [UInt8]) -> stat? {
        var status = stat()
        return withName(name) { fstatat(number, $0, &status, AT_SYMLINK_NOFOLLOW) } == 0 ? status : nil
    }

    /// Its own.
    var status: stat? {
        var status = stat()
        return fstat(number, &status) == 0 ? status : nil
    }

    func open(_ name: [UInt8], _ flags: Int32, mode: mode_t = 0) -> FileHandle? {
        FileHandle(withName(name) { muster_openat(number, $0, flags, mode) })
    }

    /// Down into folders, and never through a link.
    func folder(_ names: some Collection<[UInt8]>) -> FileHandle? {
        var folder = self
        for name in names {
            guard let next = folder.open(name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW) else { return nil }
            folder = next
        }
        return folder
    }
}

/// A name as the system wants it, with a zero behind it.
func withName<T>(_ name: [UInt8], _ body: (UnsafePointer<CChar>) -> T) -> T {
    var bytes = name
    bytes.append(0)
    return bytes.withUnsafeBufferPointer { bytes in
        bytes.withMemoryRebound(to: CChar.self) { bytes in
            // The zero is there, so there is a base address.
            bytes.baseAddress.map(body) ?? body("")
        }
    }
}

func reason(_ code: Int32 = errno) -> String { String(cString: strerror(code)) }

func text(_ path: [UInt8]) -> String { String(decoding: path, as: UTF8.self) }

func fileType(_ status: stat) -> mode_t { muster_file_type(status.st_mode) }
