import Foundation

/// The openssl program, as the second opinion on what we make.
enum OpenSSLCommand {
    struct Result {
        let status: Int32
        let output: String
    }

    /// Runs it to its end, at most 20 seconds; files are written to a folder of the call's own and named in the arguments.
    static func run(_ arguments: [String], files: [String: [UInt8]] = [:]) throws -> Result {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("muster-crypto-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        for (name, bytes) in files { try Data(bytes).write(to: folder.appendingPathComponent(name)) }
        let process = Process(), output = Pipe()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = ["timeout", "-s", "KILL", "20", "openssl"] + arguments
        process.currentDirectoryURL = folder
        process.standardOutput = output
        process.standardError = output
        process.standardInput = FileHandle.nullDevice
        try process.run()
        let bytes = output.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        return Result(status: process.terminationStatus, output: String(decoding: bytes, as: UTF8.self))
    }
}
