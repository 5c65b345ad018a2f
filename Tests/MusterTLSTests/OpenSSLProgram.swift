import Foundation
import Glibc
import MusterCrypto
import MusterTLS

/// The openssl program at the other end of a connection: somebody else's TLS.
final class OpenSSLProgram: Sendable {
    private let process: Process
    private let input = Pipe()
    private let folder: URL
    /// Standard output and standard error, as it comes.
    let output: AsyncStream<String>

    init(_ arguments: [String], files: [String: String] = [:], folder: URL? = nil) throws {
        self.folder = folder ?? FileManager.default.temporaryDirectory.appendingPathComponent("muster-tls-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: self.folder, withIntermediateDirectories: true)
        for (name, text) in files { try Data(text.utf8).write(to: self.folder.appendingPathComponent(name)) }
        process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        // Bounded, so that it ends also when the test process is killed.
        process.arguments = ["timeout", "-s", "KILL", "60", "openssl"] + arguments
        process.currentDirectoryURL = self.folder
        process.standardInput = input
        let pipe = Pipe()
        process.standardOutput = pipe
        process.standardError = pipe
        let (output, continuation) = AsyncStream.makeStream(of: String.self)
        self.output = output
        try process.run()
        try? pipe.fileHandleForWriting.close()
        // The stream ends with the process. The end of the pipe would be the wrong sign: a child that another test starts at
        // the same moment may have inherited its writing end.
        Thread.detachNewThread { [process] in
            let descriptor = pipe.fileHandleForReading.fileDescriptor
            var bytes = [UInt8](repeating: 0, count: 65_536)
            while true {
                let isRunning = process.isRunning
                var polled = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
                guard poll(&polled, 1, 50) > 0 else {
                    if isRunning { continue } else { break }
                }
                let count = read(descriptor, &bytes, bytes.count)
                guard count > 0 else { break }
                continuation.yield(String(decoding: bytes[..<count], as: UTF8.self))
            }
            continuation.finish()
        }
    }

    func type(_ text: String) throws {
        try input.fileHandleForWriting.write(contentsOf: Data(text.utf8))
    }

    /// It dies without a close_notify. timeout(1) leads a process group of its own; both are meant.
    func kill() {
        if process.isRunning { Glibc.kill(-process.processIdentifier, SIGKILL) }
    }

    /// Waits until it has printed the text, and returns all so far; nil when it ended without.
    func wait(for text: String) async -> String? {
        var printed = ""
        for await piece in output {
            printed += piece
            if printed.contains(text) { return printed }
        }
        return nil
    }

    /// The rest of its output, when it has ended by itself.
    func finish() async -> String {
        var printed = ""
        for await piece in output { printed += piece }
        return printed
    }

    deinit {
        kill()
        try? FileManager.default.removeItem(at: folder)
    }
}

extension TLSIdentity {
    /// For openssl's -cert, -key and -cert_chain.
    func files(_ name: String) throws -> [String: String] {
        try [
            "\(name).pem": chain[0].pem(), "\(name).key": key.pem(), "\(name).chain": chain.dropFirst().map { $0.pem() }.joined(),
        ]
    }
}
