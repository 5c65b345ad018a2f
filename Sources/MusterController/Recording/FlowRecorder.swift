internal import FoundationEssentials
internal import MusterCrypto
package import MusterWire
internal import NIOConcurrencyHelpers
internal import NIOCore

/// Counts and digests what a session without a terminal moves; the data itself is not kept.
///
/// Digested is the stream's data of each direction: the payloads of its data frames (type 1) in the order of their numbers, each once. Of a
/// plain port session that is what the TCP connection carried; of a multiplexed one it is the multiplexer's stream with all connections.
package final class FlowRecorder: SessionTap, OpenRecording {
    package let facts: SessionFacts
    private let finisher: RecordingFinisher
    /// One lock a direction: they do not wait for each other's digests.
    private let toNode: NIOLockedValueBox<Direction>
    private let toClient: NIOLockedValueBox<Direction>
    private let state: NIOLockedValueBox<State>

    private struct State {
        var transfers: [SessionTransfer]
        var exitCode: Int64?
        var user = ""
        var committed: RecordingMark?
        var isEnded = false
    }

    private struct Direction {
        private static let maximumEarly = 10_000
        private static let maximumEarlyBytes = 32 << 20
        /// More than any client keeps until it is acknowledged (the stock plugin 10,000).
        private static let remembered = 16_384

        var former: [FlowRecord.Stretch]
        /// Where the last run of the controller left off.
        let floor: Int64
        var first: Int64?
        var receiver: StreamReceiver?
        var bytes: Int64 = 0
        var digest = SHA256()

        init(_ former: [FlowRecord.Stretch]) {
            self.former = former
            floor = former.last?.nextFrame ?? 0
        }

        mutating func take(_ frame: AgentMessage) throws -> StreamReceiver.Outcome {
            if receiver == nil {
                // The first of a session is frame 0; a run that goes on takes what comes.
                let first = former.isEmpty ? 0 : max(floor, frame.sequenceNumber)
                self.first = first
                receiver = StreamReceiver(
                    maximumWaiting: Self.maximumEarly, maximumWaitingBytes: Self.maximumEarlyBytes, remembering: Self.remembered,
                    expected: first, takesOpeners: true, fingerprint: PayloadFingerprint())
            }
            guard var receiver else { return .refused }
            // Taken out, so that its memory is changed in place.
            self.receiver = nil
            defer { self.receiver = receiver }
            let outcome = try receiver.received(frame) { frame in
                guard frame.payloadType == .output else { return }
                bytes += Int64(frame.payload.readableBytes)
                frame.payload.withUnsafeReadableBytes { digest.update($0) }
            }
            // Those of an earlier run of the controller cannot be compared; of this run only what no honest end sends.
            if outcome == .unknownRepeat, frame.sequenceNumber >= first ?? 0 {
                throw StreamFailure.repeatDiffers(sequence: frame.sequenceNumber)
            }
            return outcome
        }

        var stretches: [FlowRecord.Stretch] {
            guard let first, let next = receiver?.expected, next > first else { return former }
            return former
                + [FlowRecord.Stretch(firstFrame: first, nextFrame: next, bytes: bytes, sha256: Hex.encode(digest.finalize()))]
        }
    }

    init(_ facts: SessionFacts, former: FlowRecord?, finisher: RecordingFinisher) {
        (self.facts, self.finisher) = (facts, finisher)
        toNode = NIOLockedValueBox(Direction(former?.toNode ?? []))
        toClient = NIOLockedValueBox(Direction(former?.toClient ?? []))
        state = NIOLockedValueBox(State(transfers: former?.transfers ?? [], exitCode: former?.exitCode))
    }

    package func pass(_ frame: AgentMessage, from side: SessionSide) throws(RecordingFailure) {
        let direction: NIOLockedValueBox<Direction>
        switch (side, frame.messageType) {
        case (.agent, .outputStreamData): direction = toClient
        case (.client, .inputStreamData): direction = toNode
        case (.agent, .agentSessionState), (.agent, .agentTaskComplete): return word(of: frame)
        default: return
        }
        let outcome: Result<StreamReceiver.Outcome, any Error> = direction.withLockedValue { direction in
            Result { try direction.take(frame) }
        }
        switch outcome {
        case .success(.refused): throw RecordingFailure("The \(side.rawValue) sent more frames out of order than can be kept.")
        case .success: return
        case .failure(let error): throw RecordingFailure("The \(side.rawValue) broke the rules of the stream: \(error)")
        }
    }

    private func word(of frame: AgentMessage) {
        guard let word = AgentWord(frame) else { return }
        state.withLockedValue { state in
            if let transfers = word.transfers { state.transfers = transfers }
            if let code = word.exitCode { state.exitCode = code }
            if let user = word.user, state.user.isEmpty { state.user = user }
        }
    }

    package func noted(_ note: SessionNote) {}

    package func ended(_ reason: String) async {
        await end(reason, state: .complete)
    }

    // MARK: Recorders

    func sync() {}
    func tick() {}
    func make(room: DiskReserve.Room) {}
    func mark(_ text: String) {}

    private var record: FlowRecord {
        let (transfers, exitCode) = state.withLockedValue { ($0.transfers, $0.exitCode) }
        return FlowRecord(
            destination: facts.properties, toNode: toNode.withLockedValue(\.stretches), toClient: toClient.withLockedValue(\.stretches),
            transfers: transfers, exitCode: exitCode)
    }

    private func progress(of record: FlowRecord) -> RecordingStore.Progress {
        let frames = (record.toNode + record.toClient).reduce(Int64(0)) { $0 + $1.nextFrame - $1.firstFrame }
        let head = (try? JSONCoding.encode(record)).map { Hex.encode(SHA256.hash($0)) } ?? ""
        let mark = RecordingMark(length: record.bytesToNode + record.bytesToClient, lines: frames, head: head)
        return RecordingStore.Progress(session: facts.id, mark: mark, flow: record, user: state.withLockedValue(\.user))
    }

    func progress() -> RecordingStore.Progress? {
        let (isEnded, committed) = state.withLockedValue { ($0.isEnded, $0.committed) }
        if isEnded { return nil }
        let progress = progress(of: record)
        return progress.mark == committed ? nil : progress
    }

    func committed(_ progress: RecordingStore.Progress) {
        state.withLockedValue { $0.committed = progress.mark }
    }

    func end(_ reason: String, state final: RecordingState) async {
        let isFirst = state.withLockedValue { state in
            defer { state.isEnded = true }
            return !state.isEnded
        }
        guard isFirst else { return }
        await finisher.finish(facts, progress(of: record), state: final, detail: "", endReason: reason) {}
    }

    // MARK: Watching

    /// There is nothing to see.
    var length: Int64 { 0 }
    func wait(beyond offset: Int64) async {}
}
