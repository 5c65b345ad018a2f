import CLinux
import Glibc
import MusterCopy
import MusterWire
import NIOCore

/// `muster-agent session-copy`: the node's end of `muster cp`, a process of its own with the rights of the session's user, in a session of
/// the document Muster-CopyFiles. It speaks `CopyMessage` on standard input and output, and tells the session host on standard error what
/// it moved: one `SessionTransfer` in JSON a line.
package enum SessionCopy {
    /// What the document names. It is not looked for in PATH: the launcher executes itself.
    package static let command = ["muster-agent", "session-copy"]
    package static let document = "Muster-CopyFiles"

    package static func main() -> Int32 {
        // What it reports to the host is believed: no other program of the same user may reach into it.
        _ = muster_forbid_dumps()
        signal(SIGPIPE, SIG_IGN)
        umask(0o022)
        let conversation = CopyConversation(Pipes())
        do {
            return try serve(conversation)
        } catch let failure as CopyFailure {
            try? conversation.send(.failed(failure.description))
            try? conversation.flush()
            return 1
        } catch {
            return 1
        }
    }

    private static func serve(_ conversation: CopyConversation) throws -> Int32 {
        guard case .request(let request) = try conversation.next() else { throw CopyFailure("The copy did not begin with a request.") }
        let reporter = Reporter(request.direction)
        switch request.direction {
        case .upload:
            let places = try CopyPlaces(destination: request.destination, names: request.sources, wantsFolder: request.wantsFolder)
            try conversation.send(.accepted)
            try conversation.flush()
            let receiver = CopyReceiver(conversation, places: places, isRecursive: request.isRecursive, observer: reporter)
            try receiver.run()
            try conversation.send(.finished)
            try conversation.flush()
            return receiver.summary.problems == 0 ? 0 : 1
        case .download:
            try conversation.send(.accepted)
            let sender = CopySender(conversation, isRecursive: request.isRecursive, observer: reporter)
            try sender.run(request.sources)
            // The operator has everything on the disk.
            guard case .finished = try conversation.next() else { throw CopyFailure("The receiver sent something out of turn.") }
            return sender.summary.problems == 0 ? 0 : 1
        }
    }

    private final class Reporter: CopyObserver {
        private let kind: SessionTransfer.Kind

        init(_ direction: CopyRequest.Direction) { kind = direction == .upload ? .upload : .download }

        func began(_ name: [UInt8], size: UInt64) {}
        func moved(_ bytes: Int) {}
        func problem(_ words: String) {}

        func ended(_ file: CopiedFile) {
            guard file.isFile || file.problem != nil else { return }
            let moved = Int64(clamping: file.moved)
            let transfer = SessionTransfer(
                kind: kind, name: String(decoding: file.name.prefix(1024), as: UTF8.self), received: kind == .upload ? moved : 0,
                sent: kind == .download ? moved : 0, started: file.started, ended: file.ended,
                sha256: file.digest.isEmpty ? nil : file.digest.map { String($0 >> 4, radix: 16) + String($0 & 15, radix: 16) }.joined(),
                error: file.problem)
            guard var line = try? JSONCoding.encode(transfer) else { return }
            line.append(0x0A)
            _ = line.withUnsafeBytes { write(STDERR_FILENO, $0.baseAddress, $0.count) }
        }
    }

    /// Standard input and output.
    private final class Pipes: CopyStream {
        private var buffer = [UInt8](repeating: 0, count: 256 << 10)

        func read() throws -> ByteBuffer? {
            while true {
                let count = Glibc.read(STDIN_FILENO, &buffer, buffer.count)
                if count < 0, errno == EINTR { continue }
                guard count > 0 else { return nil }
                return ByteBuffer(bytes: buffer[..<count])
            }
        }

        var hasInput: Bool {
            var wait = pollfd(fd: STDIN_FILENO, events: Int16(POLLIN), revents: 0)
            return poll(&wait, 1, 0) > 0
        }

        func write(_ bytes: ByteBuffer) throws {
            try bytes.withUnsafeReadableBytes { bytes in
                var rest = bytes[...]
                while !rest.isEmpty {
                    let part = UnsafeRawBufferPointer(rebasing: rest)
                    let count = Glibc.write(STDOUT_FILENO, part.baseAddress, part.count)
                    if count < 0, errno == EINTR { continue }
                    guard count > 0 else { throw CopyFailure("The session has ended.") }
                    rest = rest.dropFirst(count)
                }
            }
        }
    }
}
