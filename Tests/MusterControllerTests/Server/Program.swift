import Foundation

/// Another program, run to its end, or until half a minute has passed.
enum Program {
    struct Result: Sendable {
        let status: Int32
        let output: Data
        let errors: String
    }

    static func run(_ path: String, _ arguments: [String], input: Data? = nil) async throws -> Result {
        try await withCheckedThrowingContinuation { continuation in
            DispatchQueue.global().async {
                continuation.resume(with: Swift.Result { try runBlocking(path, arguments, input) })
            }
        }
    }

    private static func runBlocking(_ path: String, _ arguments: [String], _ input: Data?) throws -> Result {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: path)
        process.arguments = arguments
        let (output, errors, standardInput) = (Pipe(), Pipe(), Pipe())
        (process.standardOutput, process.standardError, process.standardInput) = (output, errors, standardInput)
        try process.run()
        let timer = DispatchWorkItem { if process.isRunning { process.terminate() } }
        DispatchQueue.global().asyncAfter(deadline: .now() + 30, execute: timer)
        let feeding = DispatchGroup()
        DispatchQueue.global().async(group: feeding) {
            if let input { try? standardInput.fileHandleForWriting.write(contentsOf: input) }
            try? standardInput.fileHandleForWriting.close()
        }
        let complaints = Complaints()
        DispatchQueue.global().async(group: feeding) { complaints.data = errors.fileHandleForReading.readDataToEndOfFile() }
        let data = output.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        feeding.wait()
        timer.cancel()
        return Result(status: process.terminationStatus, output: data, errors: String(decoding: complaints.data, as: UTF8.self))
    }

    /// Written by one block and read after it, with a group between the two.
    private final class Complaints: @unchecked Sendable {
        var data = Data()
    }
}

/// `openssl s_client` with a pipe each way: bytes of our own making over somebody else's TLS.
///
/// Sendable: `lock` guards what is heard; the process and its input are the test's alone.
final class SecureClient: @unchecked Sendable {
    private let process = Process()
    private let toServer = Pipe()
    private let lock = NSLock()
    private var heard = Data()
    private var hasEnded = false
    private let changes = Changes()

    init(_ live: LiveServer, certificate: String? = nil) throws {
        process.executableURL = URL(fileURLWithPath: "/usr/bin/openssl")
        var arguments = ["s_client", "-connect", live.address, "-quiet", "-verify_quiet", "-CAfile", live.directory.file("ca.pem")]
        if let certificate {
            arguments += ["-cert", live.directory.file("\(certificate).pem"), "-key", live.directory.file("\(certificate)-key.pem")]
        }
        process.arguments = arguments
        let fromServer = Pipe()
        (process.standardInput, process.standardOutput, process.standardError) = (toServer, fromServer, FileHandle.nullDevice)
        try process.run()
        DispatchQueue.global().async { [self] in
            while true {
                let data = fromServer.fileHandleForReading.availableData
                lock.withLock {
                    heard += data
                    if data.isEmpty { hasEnded = true }
                }
                changes.happened()
                if data.isEmpty { return }
            }
        }
    }

    deinit {
        if process.isRunning { process.terminate() }
    }

    func send(_ text: String) throws { try send(Data(text.utf8)) }
    func send(_ data: Data) throws { try toServer.fileHandleForWriting.write(contentsOf: data) }

    /// A client's WebSocket frame, masked with zeroes (RFC 6455 section 5.3 wants a mask, not a good one).
    func send(frame opcode: UInt8, _ payload: Data = Data(), isFinal: Bool = true) throws {
        var frame = Data([(isFinal ? 0x80 : 0) | opcode])
        switch payload.count {
        case ..<126: frame.append(0x80 | UInt8(payload.count))
        case ..<65_536: frame += [0xFE, UInt8(payload.count >> 8), UInt8(payload.count & 255)]
        default: frame += [0xFF] + (0..<8).reversed().map { UInt8((payload.count >> ($0 * 8)) & 255) }
        }
        try send(frame + Data(count: 4) + payload)
    }

    func upgrade(_ node: String) throws {
        try send(
            "GET /v1/control-channel/\(node)?role=subscribe&stream=input HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                + "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
    }

    var bytes: Data { lock.withLock { heard } }
    var text: String { String(decoding: bytes, as: UTF8.self) }
    var isClosed: Bool { lock.withLock { hasEnded } }

    /// Whether it became so within the time.
    func wait(seconds: Double = 10, until condition: (SecureClient) -> Bool) async throws -> Bool {
        let end = ContinuousClock.now + .seconds(seconds)
        while true {
            let seen = changes.count
            if condition(self) { return true }
            guard try await changes.next(after: seen, until: end) else { return false }
        }
    }
}
