internal import MusterCrypto
internal import MusterWire
internal import NIOCore

/// What went through the pipes of a command without a terminal: of each stream the beginning is recorded, of all of it length and digest
/// are. [value]
///
/// Input is counted only where it is recorded: the digest of something short can be guessed.
struct PipeTotals: Sendable {
    enum Verdict: Sendable {
        case kept
        /// From this frame on it is not recorded any more.
        case cut
        case leftOut
    }

    enum Stream: String, CaseIterable, Sendable {
        case output = "standard output"
        case errors = "standard error"
        case input = "standard input"
    }

    private struct Count: Sendable {
        var bytes: Int64 = 0
        var digest = SHA256()
        var isCut = false
    }

    /// Bytes of each stream that are recorded, to the end of a frame.
    private(set) var limit = Int64.max
    private var counts: [Count] = Stream.allCases.map { _ in Count() }
    /// Of earlier runs of the controller.
    private var former: [[FlowRecord.Stretch]] = Stream.allCases.map { _ in [] }
    private(set) var firstFromAgent: Int64 = 0
    private(set) var firstFromClient: Int64 = 0

    mutating func keep(atMost bytes: Int64) { limit = min(limit, bytes) }

    mutating func take(_ payload: ByteBuffer, _ stream: Stream) -> Verdict {
        payload.withUnsafeReadableBytes { take($0, stream) }
    }

    mutating func take(_ payload: UnsafeRawBufferPointer, _ stream: Stream) -> Verdict {
        let index = stream.index
        let isOver = counts[index].bytes >= limit
        counts[index].bytes += Int64(payload.count)
        counts[index].digest.update(payload)
        guard isOver else { return .kept }
        defer { counts[index].isCut = true }
        return counts[index].isCut ? .leftOut : .cut
    }

    var isCut: Bool { counts.contains(where: \.isCut) || former.contains { !$0.isEmpty } }

    /// Goes on after a restart of the controller with what was recorded before, if that was everything. If it was not, what was only counted
    /// between is in no digest: another stretch begins, with the first frame that comes. Returns whether it does.
    mutating func resume(after flow: FlowRecord?, agentNext: Int64, clientNext: Int64) -> Bool {
        let stretches = [flow?.toClient ?? [], flow?.toClientErrors ?? [], flow?.toNode ?? []]
        let counted = [agentNext, agentNext, clientNext]
        guard counts.contains(where: { $0.bytes >= limit }) || zip(stretches, counted).contains(where: { ($0.last?.nextFrame ?? 0) > $1 })
        else { return false }
        for stream in Stream.allCases {
            let (index, next) = (stream.index, counted[stream.index])
            // What was committed is more, or the same, than what was written down.
            if (stretches[index].last?.nextFrame ?? 0) >= next || next == 0 {
                former[index] = stretches[index]
            } else if counts[index].bytes > 0 {
                former[index] = [stretch(index, 0, next)]
            }
            counts[index] = Count()
        }
        // There is a gap: nothing behind it is kept.
        limit = 0
        return true
    }

    /// The number from which on frames are taken after such a restart.
    var floorOfAgent: Int64 { max(former[0].last?.nextFrame ?? 0, former[1].last?.nextFrame ?? 0) }
    var floorOfClient: Int64 { former[2].last?.nextFrame ?? 0 }

    mutating func begins(_ side: SessionSide, at number: Int64) {
        if side == .agent { firstFromAgent = number } else { firstFromClient = number }
    }

    private func stretch(_ index: Int, _ first: Int64, _ next: Int64) -> FlowRecord.Stretch {
        FlowRecord.Stretch(
            firstFrame: first, nextFrame: next, bytes: counts[index].bytes, sha256: Hex.encode(counts[index].digest.finalize()))
    }

    func flow(agentNext: Int64, clientNext: Int64, properties: [String: String], exitCode: Int64?) -> FlowRecord {
        func all(_ stream: Stream, _ first: Int64, _ next: Int64) -> [FlowRecord.Stretch] {
            let index = stream.index
            return former[index] + (next > first && counts[index].bytes > 0 ? [stretch(index, first, next)] : [])
        }
        return FlowRecord(
            destination: [:], toNode: all(.input, firstFromClient, clientNext), toClient: all(.output, firstFromAgent, agentNext),
            toClientErrors: all(.errors, firstFromAgent, agentNext), exitCode: exitCode)
    }
}

extension PipeTotals.Stream {
    fileprivate var index: Int { self == .output ? 0 : self == .errors ? 1 : 2 }
}
