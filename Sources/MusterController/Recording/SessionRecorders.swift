internal import FoundationEssentials
internal import Glibc
package import Logging
package import MusterCrypto
package import MusterWire
internal import NIOConcurrencyHelpers
internal import NIOPosix
package import ServiceLifecycle

/// What the recorders of both kinds do for the service beside being taps.
protocol OpenRecording: SessionTap {
    var facts: SessionFacts { get }
    var length: Int64 { get }
    func sync()
    func tick()
    /// What the controller's disk has room for.
    func make(room: DiskReserve.Room)
    func mark(_ text: String)
    /// Nil when nothing is new since the last commitment.
    func progress() -> RecordingStore.Progress?
    func committed(_ progress: RecordingStore.Progress)
    func end(_ reason: String, state: RecordingState) async
    /// Returns when there is more than that, or it has ended, or the caller is cancelled.
    func wait(beyond offset: Int64) async
}

/// All open recordings. [service] Makes what they write last: fsync every second, and every few seconds their length and digest in the
/// audit trail, all of them in one transaction.
package final class SessionRecorders: SessionTaps, Service {
    package struct Settings: Sendable {
        /// Of one recording; 0 is no limit.
        package var recordingBytes: Int64 = 1 << 30
        /// Of each stream of a command without a terminal.
        package var pipeBytes: Int64 = 4 << 20
        /// Of all recordings; 0 is no limit.
        package var totalBytes: Int64 = 0
        package var syncInterval = Duration.seconds(1)
        package var commitSeconds = 5
        /// A session that has not come back this long after a restart of the controller is over.
        package var returnSeconds = 300

        package init() {}

        package init(_ configuration: ControllerConfiguration) {
            recordingBytes = Int64(configuration.recordingBytes)
            pipeBytes = Int64(configuration.recordingPipeBytes)
            totalBytes = Int64(configuration.recordingTotalBytes)
            commitSeconds = configuration.recordingCommitSeconds
        }
    }

    private let archive: RecordingArchive
    private let database: any SQLDatabase
    private let settings: Settings
    let finisher: RecordingFinisher
    private let logger: Logger
    private let clock: @Sendable () -> Int64
    private let open = NIOLockedValueBox<[SessionID: any OpenRecording]>([:])
    private let reserve: DiskReserve
    /// Bytes of all recordings, as counted last.
    private let used = NIOLockedValueBox<Int64>(0)
    private static let countSeconds: Int64 = 60

    package init(
        archive: RecordingArchive, database: any SQLDatabase, authority: @escaping @Sendable () -> CertificateAuthority,
        settings: Settings = Settings(), reserve: DiskReserve = DiskReserve(bytes: 0, free: { nil }),
        clock: @escaping @Sendable () -> Int64 = SessionRecorders.microseconds, logger: Logger
    ) {
        self.reserve = reserve
        (self.archive, self.database, self.settings, self.clock, self.logger) = (archive, database, settings, clock, logger)
        finisher = RecordingFinisher(archive: archive, database: database, authority: authority, clock: clock, logger: logger)
    }

    package static let microseconds: @Sendable () -> Int64 = {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return Int64(time.tv_sec) * 1_000_000 + Int64(time.tv_nsec) / 1_000
    }

    private var now: Timestamp { Timestamp(milliseconds: clock() / 1000) }

    // MARK: Sessions

    package func begin(_ facts: SessionFacts) async throws -> any SessionTap {
        let now = now
        let event = AuditEvent(
            time: now, controllerDid: RecordingStore.begun, resource: facts.id.rawValue,
            details: ["kind": facts.kind.rawValue, "owner": facts.ownerARN, "node": facts.node.rawValue])
        if facts.kind == .flow {
            try await database.write { tx in
                try RecordingStore.insert(facts, state: .open, detail: "", in: tx)
                try AuditLog.append(event, in: tx)
            }
            return kept(FlowRecorder(facts, former: nil, finisher: finisher))
        }
        let (room, used, pipeBytes) = (reserve.room, used.withLockedValue { $0 }, settings.pipeBytes)
        let isFull = settings.totalBytes > 0 && used >= settings.totalBytes
        let isRoomy = !isFull && room > .none
        let lack = RecordingFailure(
            isFull
                ? "All recordings together have reached recordingTotalBytes of controller.json5 (\(settings.totalBytes)). Raise it, or keep them for fewer recordingDays."
                : "Only its reserve is left of the controller's disk (diskReserveBytes of controller.json5). Make room there.")
        do {
            let (files, recording, linkBytes) = try await blocking { [archive] in
                var recording = Recording(facts)
                if !isRoomy, !facts.keepsBeginning { throw lack }
                recording.keep(atMost: isRoomy && room == .ample ? pipeBytes : 0)
                let files = try archive.create(facts.id)
                let header = try recording.header()
                try files.append(header)
                try files.sync()
                return (files, recording, Int64(header.links.count))
            }
            try await database.write { tx in
                try RecordingStore.insert(facts, state: .open, detail: "", in: tx)
                try AuditLog.append(event, in: tx)
            }
            return kept(recorder(facts, recording, files, linkBytes, committed: nil, isResumed: false))
        } catch {
            return try await without(facts, error) { tx in
                try RecordingStore.insert(facts, state: .failed, detail: "\(error)", in: tx)
                try AuditLog.append(
                    AuditEvent(time: now, controllerDid: RecordingStore.begun, resource: facts.id.rawValue, outcome: .failed), in: tx)
            }
        }
    }

    package func resume(_ facts: SessionFacts) async throws -> any SessionTap {
        let now = now
        guard let row = try await database.read({ tx in try RecordingStore.row(facts.id, in: tx) }), row.summary.state == .open else {
            guard !facts.recordingRequired else { throw RecordingFailure("The session's recording has ended.") }
            return Unrecorded()
        }
        let event = AuditEvent(time: now, controllerDid: RecordingStore.resumed, resource: facts.id.rawValue)
        if row.facts.kind == .flow {
            try await database.write { tx in try AuditLog.append(event, in: tx) }
            return kept(FlowRecorder(row.facts, former: row.summary.flow, finisher: finisher))
        }
        do {
            // What the row says of the session is what its recording began with.
            let (files, recording, linkBytes) = try await blocking { [archive, pipeBytes = settings.pipeBytes] in
                var (files, recording) = try archive.reopen(row.facts, committed: row.summary.mark)
                recording.keep(atMost: pipeBytes)
                recording.resumePipes(after: row.summary.flow)
                return (files, recording, try archive.size(row.facts.id, .chain))
            }
            try await database.write { tx in try AuditLog.append(event, in: tx) }
            return kept(recorder(row.facts, recording, files, linkBytes, committed: row.summary.mark, isResumed: true))
        } catch {
            return try await without(facts, error) { tx in
                try RecordingStore.finish(
                    RecordingStore.Progress(session: facts.id, mark: row.summary.mark), state: .damaged, detail: "\(error)",
                    endReason: "the controller was restarted", at: now, in: tx)
            }
        }
    }

    /// A session that is not recorded: only where it need not be, and the row says so.
    private func without(
        _ facts: SessionFacts, _ error: any Error, _ row: @escaping @Sendable (any SQLTransaction) throws -> Void
    ) async throws -> any SessionTap {
        logger.error("session not recorded", metadata: ["session": "\(facts.id)", "error": "\(error)"])
        try await database.write { tx in try row(tx) }
        guard !facts.recordingRequired else { throw error as? RecordingFailure ?? RecordingFailure("The session cannot be recorded.") }
        return Unrecorded()
    }

    private func recorder(
        _ facts: SessionFacts, _ recording: Recording, _ files: RecordingFiles, _ linkBytes: Int64, committed: RecordingMark?,
        isResumed: Bool
    ) -> SessionRecorder {
        SessionRecorder(
            facts, recording, files: files, linkBytes: linkBytes, committed: committed, limit: settings.recordingBytes,
            isResumed: isResumed, finisher: finisher, clock: clock)
    }

    private func kept(_ recording: any OpenRecording) -> any SessionTap {
        open.withLockedValue { $0[recording.facts.id] = recording }
        return Registered(recording) { [open] in open.withLockedValue { _ = $0.removeValue(forKey: recording.facts.id) } }
    }

    func recording(_ session: SessionID) -> (any OpenRecording)? { open.withLockedValue { $0[session] } }

    package var count: Int { open.withLockedValue(\.count) }

    // MARK: Service

    package func run() async throws {
        await cancelWhenGracefulShutdown { [self] in
            let begun = clock()
            var hasClosed = false
            var countAt = begun
            var commitAt = begun + Int64(settings.commitSeconds) * 1_000_000
            while !Task.isCancelled {
                try? await Task.sleep(for: settings.syncInterval)
                let room = reserve.room
                for recording in open.withLockedValue({ Array($0.values) }) {
                    recording.tick()
                    recording.make(room: room)
                }
                if clock() >= countAt {
                    await measure()
                    countAt = clock() + Self.countSeconds * 1_000_000
                }
                if clock() >= commitAt {
                    await commit()
                    commitAt = clock() + Int64(settings.commitSeconds) * 1_000_000
                } else {
                    await sync()
                }
                if !hasClosed, clock() >= begun + Int64(settings.returnSeconds) * 1_000_000 {
                    hasClosed = await closeForsaken(before: begun)
                }
            }
        }
        await commit()
    }

    /// What all recordings have on the disk.
    package func measure() async {
        guard settings.totalBytes > 0 else { return }
        do {
            let bytes = try await blocking { [archive] in try archive.usage() }
            let was = used.withLockedValue { used in
                defer { used = bytes }
                return used
            }
            if bytes >= settings.totalBytes, was < settings.totalBytes {
                logger.error(
                    "recordings have reached their total: terminals that have to be recorded are refused",
                    metadata: ["bytes": "\(bytes)", "limit": "\(settings.totalBytes)"])
            }
        } catch {
            logger.error("recordings not counted", metadata: ["error": "\(error)"])
        }
    }

    private func sync() async {
        let recordings = open.withLockedValue { Array($0.values) }
        if recordings.isEmpty { return }
        _ = try? await blocking { for recording in recordings { recording.sync() } }
    }

    /// What is committed is on the disk before: the audit trail never promises what a power cut can take.
    package func commit() async {
        let recordings = open.withLockedValue { Array($0.values) }
        let marked = recordings.compactMap { recording in recording.progress().map { (recording, $0) } }
        if marked.isEmpty { return }
        await sync()
        let (progress, now) = (marked.map(\.1), now)
        do {
            try await database.write { tx in
                for progress in progress { try RecordingStore.commit(progress, at: now, in: tx) }
            }
            for (recording, progress) in marked { recording.committed(progress) }
        } catch {
            logger.error("recordings not committed", metadata: ["count": "\(progress.count)", "error": "\(error)"])
        }
    }

    /// Recordings that an earlier run of the controller left open, and whose sessions did not come back.
    package func closeForsaken(before: Int64) async -> Bool {
        do {
            for row in try await database.read({ tx in try RecordingStore.open(in: tx) })
            where recording(row.facts.id) == nil && row.facts.started.milliseconds * 1000 < before {
                try await close(row)
            }
            return true
        } catch {
            logger.error("open recordings not closed", metadata: ["error": "\(error)"])
            return false
        }
    }

    private func close(_ row: RecordingStore.Row) async throws {
        let reason = "the controller was restarted, and the session did not come back"
        if row.facts.kind == .flow {
            await FlowRecorder(row.facts, former: row.summary.flow, finisher: finisher).end(reason, state: .interrupted)
            return
        }
        do {
            let (files, recording, linkBytes) = try await blocking { [archive, pipeBytes = settings.pipeBytes] in
                var (files, recording) = try archive.reopen(row.facts, committed: row.summary.mark)
                recording.keep(atMost: pipeBytes)
                recording.resumePipes(after: row.summary.flow)
                return (files, recording, try archive.size(row.facts.id, .chain))
            }
            let recorder = recorder(row.facts, recording, files, linkBytes, committed: row.summary.mark, isResumed: true)
            recorder.mark("The controller was restarted, and the session did not come back.")
            await recorder.end(reason, state: .interrupted)
        } catch let error as ControllerError {
            logger.error("recording damaged", metadata: ["session": "\(row.facts.id)", "error": "\(error)"])
            let now = now
            try await database.write { tx in
                try RecordingStore.finish(
                    RecordingStore.Progress(session: row.facts.id, mark: row.summary.mark), state: .damaged, detail: "\(error)",
                    endReason: reason, at: now, in: tx)
            }
        }
    }

    private func blocking<T: Sendable>(_ body: @escaping @Sendable () throws -> T) async throws -> T {
        try await NIOThreadPool.singleton.runIfActive(body)
    }
}

/// A tap that leaves the table when its session ends.
private struct Registered: SessionTap {
    let recording: any OpenRecording
    let leave: @Sendable () -> Void

    init(_ recording: any OpenRecording, leave: @escaping @Sendable () -> Void) {
        (self.recording, self.leave) = (recording, leave)
    }

    func pass(_ frame: AgentMessage, from side: SessionSide) throws(RecordingFailure) { try recording.pass(frame, from: side) }
    func noted(_ note: SessionNote) { recording.noted(note) }
    func ended(_ reason: String) async {
        await recording.ended(reason)
        leave()
    }
}

/// Of a session that its preferences let go on without.
private struct Unrecorded: SessionTap {
    func pass(_ frame: AgentMessage, from side: SessionSide) throws(RecordingFailure) {}
    func noted(_ note: SessionNote) {}
    func ended(_ reason: String) async {}
}

/// Signs what has ended, and makes it last: the files, then the seal, then the row with its audit event.
struct RecordingFinisher: Sendable {
    let archive: RecordingArchive
    let database: any SQLDatabase
    /// The one that issues when a recording ends.
    let authority: @Sendable () -> CertificateAuthority
    let clock: @Sendable () -> Int64
    let logger: Logger

    func finish(
        _ facts: SessionFacts, _ progress: RecordingStore.Progress, state: RecordingState, detail: String, endReason: String,
        sync: @escaping @Sendable () throws -> Void
    ) async {
        let now = Timestamp(milliseconds: clock() / 1000)
        var (state, detail) = (state, detail)
        do {
            try await NIOThreadPool.singleton.runIfActive { try sync() }
        } catch {
            // What ended it before says more.
            if detail.isEmpty { (state, detail) = (.failed, "\(error)") }
        }
        let (final, words) = (state, detail)
        let record = RecordingRecord(
            session: facts.id, node: facts.node, owner: facts.ownerARN, document: facts.document, sessionType: facts.sessionType,
            reason: facts.reason, started: facts.started, ended: now, endReason: endReason, state: final,
            inputRecorded: facts.inputRecorded, mark: facts.kind == .terminal ? progress.mark : nil, flow: progress.flow)
        do {
            let seal = try RecordingSeal(record, by: authority())
            let archive = archive
            try await NIOThreadPool.singleton.runIfActive { try archive.write(seal, of: facts.id) }
        } catch {
            logger.error("recording not sealed", metadata: ["session": "\(facts.id)", "error": "\(error)"])
        }
        do {
            try await database.write { tx in
                try RecordingStore.finish(progress, state: final, detail: words, endReason: endReason, at: now, in: tx)
            }
        } catch {
            // The row stays open, and the next start of the controller closes it.
            logger.error("end of a recording not stored", metadata: ["session": "\(facts.id)", "error": "\(error)"])
        }
    }
}
