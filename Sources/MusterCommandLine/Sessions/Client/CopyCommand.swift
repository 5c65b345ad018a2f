import Glibc
import MusterClient
import MusterCopy
import MusterWire
import NIOConcurrencyHelpers
import NIOCore

/// `muster cp`: files to or from a node, inside of a session.
///
///     files ◀─▶ CopySender / CopyReceiver (a thread) ─▶ SessionCopyStream ─▶ SessionPipe ─▶ … ─▶ muster-agent session-copy ◀─▶ files
package struct CopyCommand: Sendable {
    package let plan: CopyPlan
    package let isRecursive: Bool
    package let isQuiet: Bool
    package let reason: String?

    package init(plan: CopyPlan, isRecursive: Bool, isQuiet: Bool, reason: String?) {
        self.plan = plan
        self.isRecursive = isRecursive
        self.isQuiet = isQuiet
        self.reason = reason
    }

    /// 0 when all is there, 1 when something is not, 255 when the session was lost before.
    package func run(by caller: Operator, printer: Printer) async throws -> Int32 {
        signal(SIGPIPE, SIG_IGN)
        let names = plan.sources.map { CopyPath.name(of: Array($0.utf8)) ?? [] }
        // Before anything is asked of the node.
        let places =
            plan.isUpload ? nil : try CopyPlaces(destination: Array(plan.destination.utf8), names: names, wantsFolder: plan.wantsFolder)
        let request = SessionRequest(node: plan.node, document: "Muster-CopyFiles", reason: reason)
        let session = try await OpenedSession.start(request, by: caller)
        let pipe = SessionPipe(channel: session.channel, awaitsHandshake: true) { news in
            switch news {
            case .lost: printer.note("muster: the connection is lost; trying again")
            case .back: printer.note("muster: connected again")
            case .nodeAway, .nodeBack, .connectFailed(_): break
            case .message(let words): printer.note(Table.terminalSafe(words))
            }
        }
        let stream = SessionCopyStream(pipe)
        pipe.connect(.output, to: stream)
        session.channel.attach(pipe)
        let interrupted = NIOLockedValueBox<Int32?>(nil)
        try Signals.handle([SIGINT, SIGTERM, SIGHUP]) { number in
            interrupted.withLockedValue { if $0 == nil { $0 = 128 + number } }
            session.channel.end()
        }
        let progress = CopyProgress(printer: printer, isQuiet: isQuiet)
        let outcome = Outcome()
        WaitingThread.start {
            outcome.finish(Result { try copy(stream, places, names, progress) })
            // All is said; or nothing more can be. The program at the node ends with its input.
            pipe.send(.output, ByteBuffer(), isLast: true)
        }
        let end = await session.channel.run()
        pipe.end()
        stream.end()
        let result = outcome.wait()
        progress.finish()
        if let status = interrupted.withLockedValue({ $0 }) {
            await session.terminate()
            session.shutdown()
            printer.note("muster: interrupted; what has arrived is kept, and the same command goes on from there")
            return status
        }
        session.shutdown()
        switch result {
        case .success(let summary):
            if !isQuiet, printer.showsProgress { printer.note(CopyProgress.words(for: summary, in: progress.elapsed)) }
            return summary.problems == 0 ? 0 : 1
        case .failure(let error):
            var words = "\(error)"
            if case .closed(let output) = end, !output.isEmpty { words = Table.terminalSafe(output) }
            if case .gone(let reason) = end { words = "The session is lost. \(reason)" }
            printer.note("muster: \(Table.terminalSafe(words))")
            // What never began was refused.
            if !pipe.isBegun { return 2 }
            return pipe.exitCode == nil ? AttachedSession.lost : 1
        }
    }

    private func copy(
        _ stream: SessionCopyStream, _ places: CopyPlaces?, _ names: [[UInt8]], _ progress: CopyProgress
    ) throws -> CopySummary {
        let conversation = CopyConversation(stream)
        try conversation.send(
            .request(
                CopyRequest(
                    direction: plan.isUpload ? .upload : .download, isRecursive: isRecursive, wantsFolder: plan.wantsFolder,
                    destination: plan.isUpload ? Array(plan.destination.utf8) : [],
                    sources: plan.isUpload ? names : plan.sources.map { Array($0.utf8) })))
        guard case .accepted = try conversation.next() else { throw CopyFailure("The node sent something out of turn.") }
        guard let places else {
            let sender = CopySender(conversation, isRecursive: isRecursive, observer: progress)
            try sender.run(plan.sources.map { Array($0.utf8) })
            // The node has everything on its disk.
            guard case .finished = try conversation.next() else { throw CopyFailure("The node sent something out of turn.") }
            return sender.summary
        }
        let receiver = CopyReceiver(conversation, places: places, isRecursive: isRecursive, observer: progress)
        try receiver.run()
        try conversation.send(.finished)
        try conversation.flush()
        return receiver.summary
    }

    /// What the copying thread came to. Sendable: `result` is read and written inside of `condition.locked` only.
    private final class Outcome: @unchecked Sendable {
        private let condition = Condition()
        private var result: Result<CopySummary, any Error>?

        func finish(_ result: Result<CopySummary, any Error>) {
            condition.locked {
                self.result = result
                condition.wake()
            }
        }

        func wait() -> Result<CopySummary, any Error> {
            condition.locked {
                while true {
                    if let result { return result }
                    condition.wait()
                }
            }
        }
    }
}

/// A session as a stream for the thread that copies. Sendable: every variable is read and written inside of `condition.locked` only.
final class SessionCopyStream: CopyStream, SessionSink, @unchecked Sendable {
    private static let enough = 4 << 20

    private let pipe: SessionPipe
    private let condition = Condition()
    private var queue = CircularBuffer<ByteBuffer>()
    private var queuedBytes = 0
    private var isOver = false

    init(_ pipe: SessionPipe) { self.pipe = pipe }

    var isFull: Bool { condition.locked { queuedBytes >= Self.enough } }

    func take(_ bytes: ByteBuffer) {
        guard bytes.readableBytes > 0 else { return }
        condition.locked {
            queue.append(bytes)
            queuedBytes += bytes.readableBytes
            condition.wake()
        }
    }

    func end() {
        condition.locked {
            isOver = true
            condition.wake()
        }
    }

    var hasInput: Bool { condition.locked { isOver || !queue.isEmpty } }

    func read() throws -> ByteBuffer? {
        let (bytes, hasRoom): (ByteBuffer?, Bool) = condition.locked {
            while queue.isEmpty, !isOver { condition.wait() }
            let before = queuedBytes
            guard let first = queue.popFirst() else { return (nil, false) }
            queuedBytes -= first.readableBytes
            return (first, before >= Self.enough && queuedBytes < Self.enough)
        }
        if hasRoom { pipe.sinkDrained() }
        return bytes
    }

    func write(_ bytes: ByteBuffer) throws {
        guard pipe.send(.output, bytes) else { throw CopyFailure("The session has ended.") }
    }
}
