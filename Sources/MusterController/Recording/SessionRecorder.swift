internal import FoundationEssentials
internal import MusterCrypto
package import MusterWire
internal import NIOConcurrencyHelpers

/// Writes down what a terminal's session shows, before it is shown. The file, and nothing else, decides what has been recorded.
///
///     pass ─► Recording ─► write(2) ─► pass returns ─► the relay passes the frame on
///                                       Recorders: fsync every second, commitment every few
package final class SessionRecorder: SessionTap, OpenRecording {
    package let facts: SessionFacts
    private let files: RecordingFiles
    private let finisher: RecordingFinisher
    private let limit: Int64
    /// Microseconds since 1970.
    private let clock: @Sendable () -> Int64
    private let state: NIOLockedValueBox<State>

    private struct State {
        var recording: Recording
        /// The chain's file; the recording's own length is in its chain.
        var linkBytes: Int64
        var isUnsynced = true
        var committed: RecordingMark?
        var committedBytes: Int64 = 0
        var problem: Problem?
        var isEnded = false
        /// Set when the recording was gone on with, until frames come again without a gap.
        var skipsAfter: Int64?
        var watchers: [UUID: CheckedContinuation<Void, Never>] = [:]
    }

    private struct Problem {
        let state: RecordingState
        let detail: String
        /// Only too much of it, and no fault: of pipes that is counted on.
        var isOfSize = false
        var failure: RecordingFailure { RecordingFailure("The session cannot be recorded any more: \(detail).") }
    }

    /// Beyond it, for words about the end.
    private static let reserve: Int64 = 4_096
    /// What was lost with the controller's machine does not come later than this.
    private static let patience: Int64 = 10_000_000

    init(
        _ facts: SessionFacts, _ recording: Recording, files: RecordingFiles, linkBytes: Int64, committed: RecordingMark?, limit: Int64,
        isResumed: Bool, finisher: RecordingFinisher, clock: @escaping @Sendable () -> Int64
    ) {
        (self.facts, self.files, self.finisher, self.limit, self.clock) = (facts, files, finisher, limit, clock)
        var state = State(recording: recording, linkBytes: linkBytes, committed: committed)
        if isResumed { state.skipsAfter = clock() + Self.patience }
        self.state = NIOLockedValueBox(state)
    }

    private var time: Int64 { max(0, clock() - facts.started.milliseconds * 1000) }

    // MARK: The relay

    package func pass(_ frame: AgentMessage, from side: SessionSide) throws(RecordingFailure) {
        let time = time
        let (failure, watchers) = state.withLockedValue { state -> (RecordingFailure?, [CheckedContinuation<Void, Never>]) in
            if state.isEnded { return (nil, []) }
            let before = state.recording.chain
            if let problem = state.problem {
                guard problem.isOfSize, facts.keepsBeginning else { return (facts.recordingRequired ? problem.failure : nil, []) }
                defer { state.recording.rewind(to: before) }
                do throws(RecordingFailure) {
                    _ = try state.recording.received(frame, from: side, at: time)
                    return (nil, [])
                } catch {
                    return (error, [])
                }
            }
            do {
                let piece = try state.recording.received(frame, from: side, at: time)
                if !state.recording.isWaiting, side == .agent { state.skipsAfter = nil }
                return (write(piece, since: before, in: &state), Self.wake(piece, &state))
            } catch let failure as RecordingFailure {
                return (failure, [])
            } catch {
                return (RecordingFailure("The session cannot be recorded."), [])
            }
        }
        for watcher in watchers { watcher.resume() }
        if let failure { throw failure }
    }

    package func noted(_ note: SessionNote) {
        mark(note.words)
    }

    package func ended(_ reason: String) async {
        await end(reason, state: .complete)
    }

    func mark(_ text: String) {
        let time = time
        let watchers = state.withLockedValue { state -> [CheckedContinuation<Void, Never>] in
            guard !state.isEnded, state.problem == nil else { return [] }
            let before = state.recording.chain
            let piece = state.recording.marker(text, at: time)
            // If it could not be written, the next frame ends the session.
            _ = write(piece, since: before, in: &state)
            return Self.wake(piece, &state)
        }
        for watcher in watchers { watcher.resume() }
    }

    // MARK: Writing

    /// Returns what ends the session.
    private func write(_ piece: Recording.Piece, since before: RecordingChain, in state: inout State) -> RecordingFailure? {
        guard !piece.cast.isEmpty else { return nil }
        var problem: Problem?
        if limit > 0, before.length + Int64(piece.cast.count) > limit {
            problem = Problem(state: .truncated, detail: "it has reached its limit of \(limit) bytes", isOfSize: true)
        } else {
            do {
                try files.append(piece)
                state.linkBytes += Int64(piece.links.count)
                state.isUnsynced = true
            } catch {
                // What was written of it in part goes, so that what was written before stays whole.
                try? files.cut(cast: before.length, chain: state.linkBytes)
                problem = Problem(state: .failed, detail: "\(error)")
            }
        }
        guard let problem else { return nil }
        state.recording.rewind(to: before)
        stop(problem, in: &state)
        return facts.recordingRequired && !(problem.isOfSize && facts.keepsBeginning) ? problem.failure : nil
    }

    /// Says in the recording that it ends, if that still can be written.
    private func stop(_ problem: Problem, in state: inout State) {
        let before = state.recording.chain
        state.problem = problem
        let words = state.recording.marker("The recording ends here: \(problem.detail).", at: time)
        if Int64(words.cast.count) <= Self.reserve, (try? files.append(words)) != nil {
            state.linkBytes += Int64(words.links.count)
            state.isUnsynced = true
        } else {
            state.recording.rewind(to: before)
            try? files.cut(cast: before.length, chain: state.linkBytes)
        }
    }

    private static func wake(_ piece: Recording.Piece, _ state: inout State) -> [CheckedContinuation<Void, Never>] {
        if piece.cast.isEmpty { return [] }
        defer { state.watchers = [:] }
        return Array(state.watchers.values)
    }

    // MARK: Recorders

    func sync() {
        let isUnsynced = state.withLockedValue { state in
            defer { state.isUnsynced = false }
            return state.isUnsynced
        }
        guard isUnsynced else { return }
        do {
            try files.sync()
        } catch {
            state.withLockedValue { state in
                if state.problem == nil { state.problem = Problem(state: .failed, detail: "\(error)") }
            }
        }
    }

    func progress() -> RecordingStore.Progress? {
        state.withLockedValue { state in
            let progress = Self.progress(facts.id, state.recording)
            let isOld = progress.mark == state.committed && (progress.flow?.bytes ?? 0) == state.committedBytes
            return state.isEnded || isOld ? nil : progress
        }
    }

    private static func progress(_ session: SessionID, _ recording: Recording) -> RecordingStore.Progress {
        RecordingStore.Progress(session: session, mark: recording.chain.mark, flow: recording.flow, user: recording.user)
    }

    func committed(_ progress: RecordingStore.Progress) {
        state.withLockedValue { state in
            state.committed = progress.mark
            state.committedBytes = progress.flow?.bytes ?? 0
        }
    }

    /// Pipes first: they are what fills a disk, and need not be recorded in full.
    func make(room: DiskReserve.Room) {
        guard room < .ample else { return }
        state.withLockedValue { state in
            state.recording.keep(atMost: 0)
            guard room == .none, !facts.keepsBeginning, !state.isEnded, state.problem == nil else { return }
            stop(Problem(state: .failed, detail: "only its reserve is left of the controller's disk (diskReserveBytes)"), in: &state)
        }
    }

    func tick() {
        let (time, now) = (time, clock())
        let watchers = state.withLockedValue { state -> [CheckedContinuation<Void, Never>] in
            guard let skipsAfter = state.skipsAfter, now >= skipsAfter, !state.isEnded, state.problem == nil else { return [] }
            state.skipsAfter = nil
            let before = state.recording.chain
            let piece = state.recording.skipMissing(at: time)
            _ = write(piece, since: before, in: &state)
            return Self.wake(piece, &state)
        }
        for watcher in watchers { watcher.resume() }
    }

    func end(_ reason: String, state final: RecordingState) async {
        let time = time
        let ended = state.withLockedValue { state -> (Problem?, RecordingStore.Progress, [CheckedContinuation<Void, Never>])? in
            if state.isEnded { return nil }
            if state.problem == nil {
                let before = state.recording.chain
                let piece = state.recording.end(at: time)
                _ = write(piece, since: before, in: &state)
            }
            state.isEnded = true
            defer { state.watchers = [:] }
            var problem = state.problem
            if problem == nil, state.recording.isCut {
                problem = Problem(
                    state: .truncated, detail: "it has the beginning of what went through the pipes, and length and SHA-256 of all")
            }
            return (problem, Self.progress(facts.id, state.recording), Array(state.watchers.values))
        }
        guard let (problem, progress, watchers) = ended else { return }
        for watcher in watchers { watcher.resume() }
        let files = files
        await finisher.finish(
            facts, progress, state: problem?.state ?? final, detail: problem?.detail ?? "",
            endReason: reason
        ) { try files.sync() }
    }

    // MARK: Watching

    var length: Int64 { state.withLockedValue { $0.recording.chain.length } }

    func wait(beyond offset: Int64) async {
        let id = UUID()
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let isWaiting = state.withLockedValue { state in
                    guard !Task.isCancelled, !state.isEnded, state.recording.chain.length <= offset else { return false }
                    state.watchers[id] = continuation
                    return true
                }
                if !isWaiting { continuation.resume() }
            }
        } onCancel: {
            state.withLockedValue { $0.watchers.removeValue(forKey: id) }?.resume()
        }
    }
}

extension SessionNote {
    /// As they stand in the recording.
    var words: String {
        switch self {
        case .clientConnected(let address): "The client connected from \(address)."
        case .clientLost: "The client's connection was lost."
        case .agentConnected(let address): "The host connected from \(address)."
        case .agentLost: "The host's connection was lost."
        case .watcherJoined(let name): "\(name) began to watch."
        case .controllerRestarted: "The controller was restarted."
        }
    }
}
