import Dispatch
import FoundationEssentials
package import Logging
import MusterClient
import MusterWire
package import NIOCore
import NIOHTTP1
package import ServiceLifecycle

/// Brings the complete streams of steps to the controller, over a connection of its own, so that nothing on the control channel ever
/// waits for them. [service]
///
///     OutputWork ──▶ streams that ended (durable in uploads.json) ─┐
///                └─▶ streams of watched steps that still run ──────┴─▶ a few pieces of each in turn ──▶ PUT /v1/output/…
///
/// Pieces are read, sent and forgotten: memory does not depend on the length of a stream. After a restart the controller is asked how
/// far it is.
package final class OutputUploader: Service {
    private struct Key: Hashable {
        let command: CommandID
        let step: String
        let stream: OutputStream
    }

    private struct Entry {
        var upload = StreamUpload()
        /// Nil while the step goes on and somebody watches.
        var ended: PendingUpload?
        var file: FileDescriptor?
    }

    private enum Turn {
        case progressed
        case idle
        case finished
    }

    /// Pieces of one stream before it is another's turn.
    private static let piecesPerTurn = 8
    private static let requestSeconds: Int64 = 120
    /// How often the files of watched steps are looked at.
    private static let watchInterval = Duration.milliseconds(100)

    private let work: OutputWork
    private let ledger: JobLedger
    private let current: CurrentIdentity
    private let group: any EventLoopGroup
    private let logger: Logger
    private let disk = DispatchQueue(label: "muster.outputs")

    package init(work: OutputWork, ledger: JobLedger, current: CurrentIdentity, group: any EventLoopGroup, logger: Logger) {
        self.work = work
        self.ledger = ledger
        self.current = current
        self.group = group
        self.logger = logger
    }

    package func run() async throws {
        await cancelWhenGracefulShutdown { await self.uploadForEver() }
    }

    private func uploadForEver() async {
        var entries: [Key: Entry] = [:]
        var connection: HTTPConnection?
        var backoff = Backoff(base: .milliseconds(500), cap: .seconds(60))
        var lastFailure: String?
        defer { connection?.close() }
        do {
            for (id, uploads) in try await onDisk({ ledger in try ledger.jobsWithUploads().map { ($0, try ledger.uploads(of: $0)) } }) {
                Self.add(id, uploads, to: &entries)
            }
        } catch {
            logger.error("could not look for outputs to be uploaded", metadata: ["error": "\(error)"])
        }
        while !Task.isCancelled {
            for (id, uploads) in work.takeEnded() { Self.add(id, uploads, to: &entries) }
            let followed = work.followed(at: .now)
            do {
                try await lookAfter(followed, &entries)
                var isBusy = false
                for key in entries.keys.sorted(by: { Self.order($0, entries[$0]) < Self.order($1, entries[$1]) }) {
                    guard var entry = entries.removeValue(forKey: key) else { continue }
                    defer { entries[key] = entry }
                    switch try await turn(key, &entry, &connection) {
                    case .progressed:
                        isBusy = true
                        (backoff, lastFailure) = (Backoff(base: .milliseconds(500), cap: .seconds(60)), nil)
                    case .idle: break
                    case .finished:
                        await finish(key)
                        entry.ended = nil
                        entry.upload = StreamUpload()
                        isBusy = true
                    }
                }
                entries = entries.filter { $0.value.ended != nil || followed.contains($0.key.command) }
                if isBusy { continue }
                if followed.isEmpty, entries.isEmpty {
                    // An idle agent holds one connection, not two.
                    connection?.close()
                    connection = nil
                }
                _ = await work.alarm.wait(for: followed.isEmpty ? .seconds(3600) : Self.watchInterval)
            } catch {
                guard !Task.isCancelled else { return }
                connection?.close()
                connection = nil
                for key in entries.keys { entries[key]?.upload.interrupted() }
                let failure = "\(error)"
                logger.log(
                    level: failure == lastFailure ? .debug : .warning, "outputs are not uploaded at the moment; trying again",
                    metadata: ["reason": "\(failure)"])
                lastFailure = failure
                try? await Task.sleep(for: max(.milliseconds(50), backoff.next()))
            }
        }
    }

    private static func add(_ id: CommandID, _ uploads: [PendingUpload], to entries: inout [Key: Entry]) {
        for upload in uploads {
            entries[Key(command: id, step: upload.step, stream: upload.stream), default: Entry()].ended = upload
        }
    }

    /// What somebody watches comes first, and standard output before standard error.
    private static func order(_ key: Key, _ entry: Entry?) -> String {
        (entry?.ended == nil ? "0" : "1") + key.command.rawValue + key.step + (key.stream == .standardOutput ? "0" : "1")
    }

    /// Streams of watched commands become entries; they leave when nobody watches any more.
    private func lookAfter(_ followed: Set<CommandID>, _ entries: inout [Key: Entry]) async throws {
        for id in followed {
            for step in try await onDisk({ try $0.startedSteps(of: id) }) {
                for stream in OutputStream.allCases {
                    let key = Key(command: id, step: step, stream: stream)
                    if entries[key] == nil { entries[key] = Entry() }
                }
            }
        }
    }

    // MARK: One stream

    private func turn(_ key: Key, _ entry: inout Entry, _ connection: inout HTTPConnection?) async throws -> Turn {
        if entry.file == nil {
            entry.file = try await onDisk { try $0.openStream(key.stream, of: key.step, key.command) }
        }
        guard let file = entry.file else {
            guard let ended = entry.ended else { return .idle }
            logger.error(
                "an output is lost: its file is gone",
                metadata: ["command": "\(key.command)", "step": "\(key.step)", "stream": "\(key.stream)"])
            _ = try await request(.PUT, key, query: "offset=0&gone=1&lost=\(ended.lost)", [], &connection)
            return .finished
        }
        var isNew = false
        for _ in 0..<Self.piecesPerTurn {
            try Task.checkCancellation()
            let path = "\(key.stream) of \(key.command)"
            let size = try await onDisk { _ in try file.size(path: path) }
            // A stream that nobody has written to yet costs no request.
            if size == 0, entry.ended == nil { return .idle }
            switch entry.upload.next(size: size, isEnded: entry.ended != nil) {
            case .done:
                return entry.ended == nil ? .idle : .finished
            case .wait:
                return isNew ? .progressed : .idle
            case .ask:
                entry.upload.answered(try await request(.GET, key, query: "", [], &connection))
            case .hash(let offset, let count):
                entry.upload.hashed(try await onDisk { _ in try file.read(from: offset, atMost: count, path: path) })
            case .send(let offset, let count, let isLast):
                let bytes = try await onDisk { _ in try file.read(from: offset, atMost: count, path: path) }
                var query = "offset=\(offset)"
                if isLast {
                    query += "&total=\(offset + Int64(bytes.count))&sha256=\(entry.upload.finalDigest(with: bytes))"
                    if let lost = entry.ended?.lost, lost > 0 { query += "&lost=\(lost)" }
                }
                entry.upload.answered(try await request(.PUT, key, query: query, bytes, &connection), sent: bytes)
            }
            isNew = true
        }
        return .progressed
    }

    /// Not before the controller has said that it has everything, or that it will not take it.
    private func finish(_ key: Key) async {
        do {
            try await onDisk { ledger in
                let left = try ledger.uploads(of: key.command).filter { $0.step != key.step || $0.stream != key.stream }
                try ledger.storeUploads(left, of: key.command)
            }
        } catch {
            // A full disk must not hold up the other streams; after the next start the controller says once more that it has this one.
            logger.warning(
                "cannot note that an output is uploaded",
                metadata: ["command": "\(key.command)", "step": "\(key.step)", "reason": "\(error)"])
        }
    }

    // MARK: Requests

    private func request(
        _ method: HTTPMethod, _ key: Key, query: String, _ body: [UInt8], _ connection: inout HTTPConnection?
    ) async throws -> UploadProgress {
        let identity = current.identity
        let deadline = NIODeadline.now() + .seconds(Self.requestSeconds)
        let open: HTTPConnection
        if let kept = connection, kept.isOpen {
            open = kept
        } else {
            open = try await current.trust.attempt { [group] tls in
                try await HTTPConnection.connect(
                    endpoint: identity.controller, tls: tls, group: group, deadline: .now() + .seconds(20), maxBodyBytes: 64 << 10)
            }
            connection = open
        }
        var request = HTTPRequest(method: method, body: body)
        request.path = "\(OutputRoute.upload)\(key.command)/\(key.step)/\(key.stream)" + (query.isEmpty ? "" : "?\(query)")
        request.headers.add(name: "content-type", value: "application/octet-stream")
        let response = try await open.send(request, deadline: deadline)
        switch response.status {
        case 200, 409:
            do {
                return try JSONCoding.decode(UploadProgress.self, from: response.body)
            } catch {
                throw ClientError(.protocolViolation, "The controller's answer to an output \(JSONCoding.explain(error))")
            }
        case 404, 410:
            // The command is not one of ours any more; nobody will ask for its output.
            logger.warning(
                "the controller does not take an output", metadata: ["command": "\(key.command)", "status": "\(response.status)"])
            return UploadProgress(state: .lost, offset: 0)
        default:
            throw ClientError(.refused(status: response.status), "The controller answered \(response.status) to an output.")
        }
    }

    private func onDisk<T: Sendable>(_ body: @escaping @Sendable (JobLedger) throws -> T) async throws -> T {
        let ledger = ledger
        return try await withCheckedThrowingContinuation { continuation in
            disk.async { continuation.resume(with: Result { try body(ledger) }) }
        }
    }
}
