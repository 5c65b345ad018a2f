import FoundationEssentials
import Glibc
import MusterClient
import MusterCrypto
import MusterWire

/// What a proof is made from: files that an export or a delivery wrote, and the authorities whose signatures count.
enum Evidence {
    /// A folder stands for what a delivery has put into it, in the order of its names.
    static func trails(_ name: String) throws -> [String] {
        var found = stat()
        guard stat(name, &found) == 0 else { throw unreadable(name) }
        guard found.st_mode & S_IFMT == S_IFDIR else { return [name] }
        let names = try FileManager.default.contentsOfDirectory(atPath: name).filter { $0.hasSuffix(".jsonl") }.sorted()
        guard !names.isEmpty else { throw CommandLineError("There is no audit trail (*.jsonl) in \(name).") }
        return names.map { name + "/" + $0 }
    }

    /// Those of a PEM file; else those of the profile.
    static func authorities(_ path: String?, _ connect: () async throws -> Operator) async throws -> [Certificate] {
        if let path { return try Certificate.chain(pem: String(decoding: try read(path), as: UTF8.self)) }
        // Away from any controller there may be no profile; then the signature has nobody to be compared with, and that is said.
        guard let bundle = (try? await connect())?.profile.caBundle, let bytes = FileManager.default.contents(atPath: bundle) else {
            return []
        }
        return try Certificate.chain(pem: String(decoding: bytes, as: UTF8.self))
    }

    static func read(_ path: String) throws -> [UInt8] {
        guard let bytes = FileManager.default.contents(atPath: path) else { throw unreadable(path) }
        return Array(bytes)
    }

    static func unreadable(_ path: String) -> CommandLineError {
        CommandLineError("Cannot read \(path): \(SystemError.words()).")
    }
}

/// A file that is read in pieces.
final class FileLines {
    private let descriptor: Int32
    private let path: String

    init(_ path: String) throws {
        self.path = path
        descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw Evidence.unreadable(path) }
    }

    deinit { close(descriptor) }

    /// With their ends.
    var source: LineSource { LineSource { try self.read($0) } }

    private func read(_ offset: Int64) throws -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: 1 << 20)
        while true {
            let count = pread(descriptor, &bytes, bytes.count, off_t(offset))
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw Evidence.unreadable(path) }
            return Array(bytes.prefix(count))
        }
    }
}

/// The lines of a file without their ends.
struct EvidenceLines {
    private var lines: LineSource

    init(_ path: String) throws { lines = try FileLines(path).source }

    mutating func next() throws -> [UInt8]? {
        try lines.next().map { $0.last == 0x0a ? Array($0.dropLast()) : $0 }
    }
}
