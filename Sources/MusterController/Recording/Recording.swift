internal import FoundationEssentials
internal import MusterCrypto
internal import MusterDocuments
package import MusterWire
internal import NIOCore

/// Turns a session's frames into the lines of its recording, each sequence number once and in order. [value]
///
///     frame ──► StreamReceiver ──► payload ──► RecordingText ──► events ──► lines, each with its link in the chain
///
/// Everything it goes on with after a restart is in the lines and links themselves: see `restore`.
package struct Recording: Sendable {
    /// What is to be written, to the recording and to its chain.
    package struct Piece: Sendable, Equatable {
        package var cast: [UInt8] = []
        package var links: [UInt8] = []
    }

    /// Frames that come before their turn: as many as the stock plugin holds, and as many bytes as a session may have in memory here.
    private static let maximumEarly = 10_000
    private static let maximumEarlyBytes = 16 << 20
    /// How far back a repeat can be compared. 32 bytes each, in both directions.
    static let remembered = 16_384

    package private(set) var chain: RecordingChain
    package private(set) var exitCode: Int64?
    /// The client's or the agent's frames that wait for one that is missing.
    package var isWaiting: Bool { (fromAgent?.waitingCount ?? 0) > 0 || (fromClient?.waitingCount ?? 0) > 0 }
    private let facts: SessionFacts
    /// Nil until the first frame after a restart, when what came before was only counted.
    private var fromAgent: StreamReceiver?
    /// Nil until its first frame: input that is not recorded leaves no trace to go on with.
    private var fromClient: StreamReceiver?
    private var output: [String: RecordingText] = [:]
    private var input = RecordingText(.input)
    private var stream = Self.standardOutput
    /// Nil where everything is kept.
    private var pipes: PipeTotals?
    /// Who the session runs as, as the host has said.
    package private(set) var user = ""
    private var lastTime: Int64 = 0

    private static let standardOutput = "stdout"
    private static let standardError = "stderr"

    package init(_ facts: SessionFacts) {
        self.facts = facts
        chain = RecordingChain(facts.id)
        fromAgent = Self.receiver(expecting: 0)
        if facts.inputRecorded { fromClient = Self.receiver(expecting: 0) }
        if facts.keepsBeginning { pipes = PipeTotals() }
    }

    private static func receiver(expecting number: Int64) -> StreamReceiver {
        StreamReceiver(
            maximumWaiting: maximumEarly, maximumWaitingBytes: maximumEarlyBytes, remembering: remembered, expected: number,
            takesOpeners: true)
    }

    // MARK: Pipes

    /// Of each stream of a command, no more is recorded than that; of all of it length and digest are kept.
    package mutating func keep(atMost bytes: Int64) { pipes?.keep(atMost: bytes) }

    /// Of a command: what went through its pipes.
    package var flow: FlowRecord? {
        pipes?.flow(
            agentNext: fromAgent?.expected ?? 0, clientNext: fromClient?.expected ?? 0, properties: facts.properties, exitCode: exitCode)
    }

    /// Something of it is not in the recording.
    package var isCut: Bool { pipes?.isCut ?? false }

    /// After a restart.
    package mutating func resumePipes(after flow: FlowRecord?) {
        guard var pipes, pipes.resume(after: flow, agentNext: fromAgent?.expected ?? 0, clientNext: fromClient?.expected ?? 0) else {
            return
        }
        fromAgent = nil
        fromClient = nil
        pipes.begins(.agent, at: .max)
        pipes.begins(.client, at: .max)
        self.pipes = pipes
    }

    private mutating func resumed(_ side: SessionSide, at number: Int64) -> StreamReceiver {
        var first = max(0, number)
        if side == .agent || facts.inputRecorded, let floor = side == .agent ? pipes?.floorOfAgent : pipes?.floorOfClient {
            first = max(first, floor)
            pipes?.begins(side, at: first)
        }
        return Self.receiver(expecting: first)
    }

    // MARK: Lines

    /// The first line. Its size is a guess: the client tells its own as soon as it hears from the host.
    package mutating func header() throws -> Piece {
        let header = RecordingHeader(facts)
        let line = try JSONCoding.encode(header) + [0x0a]
        return Piece(cast: line, links: chain.append(line, .none))
    }

    /// - Parameter time: microseconds since the start of the session.
    package mutating func marker(_ text: String, at time: Int64) -> Piece {
        write([RecordingEvent(time: advance(time), .marker, text)], .none)
    }

    package mutating func received(
        _ frame: AgentMessage, from side: SessionSide, at time: Int64
    ) throws(RecordingFailure) -> Piece {
        let time = advance(time)
        switch (side, frame.messageType) {
        case (.agent, .outputStreamData), (.client, .inputStreamData): return try data(frame, side, time)
        case (.agent, .agentSessionState), (.agent, .agentTaskComplete): return state(frame, time)
        default: return Piece()
        }
    }

    /// What has begun and will not be ended, and what came early and whose turn never came.
    package mutating func end(at time: Int64) -> Piece {
        let time = advance(time)
        var piece = skip(.agent, time, "it never came")
        piece += skip(.client, time, "it never came")
        for name in output.keys.sorted() {
            let events = output[name]?.end(time: time) ?? []
            piece += write(switched(to: name, events, time), .none)
        }
        piece += write(input.end(time: time), .none)
        return piece
    }

    /// Frames that the end of the controller before this one took along: those behind them go on.
    package mutating func skipMissing(at time: Int64) -> Piece {
        let time = advance(time)
        let reason = "it was passed on just before the controller's machine went down, and not kept"
        var piece = skip(.agent, time, reason)
        piece += skip(.client, time, reason)
        return piece
    }

    private mutating func advance(_ time: Int64) -> Int64 {
        lastTime = max(lastTime, time)
        return lastTime
    }

    // MARK: Frames

    private mutating func data(_ frame: AgentMessage, _ side: SessionSide, _ time: Int64) throws(RecordingFailure) -> Piece {
        var next: [AgentMessage] = []
        let outcome: StreamReceiver.Outcome
        do {
            switch side {
            case .agent:
                if fromAgent == nil { fromAgent = resumed(.agent, at: frame.sequenceNumber) }
                outcome = try fromAgent?.received(frame) { next.append($0) } ?? .refused
            case .client:
                var receiver = fromClient ?? resumed(.client, at: frame.sequenceNumber)
                // Taken out, so that its memory is changed in place.
                fromClient = nil
                defer { fromClient = receiver }
                outcome = try receiver.received(frame) { next.append($0) }
            }
        } catch {
            throw RecordingFailure("The \(side.rawValue) broke the rules of the stream: \(error)")
        }
        switch outcome {
        case .delivered:
            var piece = Piece()
            for frame in next { piece += lines(of: frame, side, time) }
            return piece
        case .waiting:
            // The receiver at the other end may keep and acknowledge it at once, so that it never comes again.
            guard keeps(side) else { return Piece() }
            return write([RecordingEvent(time: time, .early, EarlyFrame(frame, side).text)], .none)
        case .repeated:
            return Piece()
        case .unknownRepeat:
            // Its bytes cannot be compared any more. A client whose input is not recorded has nothing to hide in it.
            guard keeps(side) else { return Piece() }
            // Those of an earlier run of the controller that were only counted.
            if let pipes, frame.sequenceNumber < (side == .agent ? pipes.firstFromAgent : pipes.firstFromClient) { return Piece() }
            throw RecordingFailure("The \(side.rawValue) repeated frame \(frame.sequenceNumber), which is too old to be compared.")
        case .refused:
            throw RecordingFailure("The \(side.rawValue) sent more frames out of order than can be kept.")
        }
    }

    private func keeps(_ side: SessionSide) -> Bool { side == .agent || facts.inputRecorded }

    private mutating func lines(of frame: AgentMessage, _ side: SessionSide, _ time: Int64) -> Piece {
        var events: [RecordingEvent] = []
        let bytes = { Array(frame.payload.readableBytesView) }
        if let stream = Self.pipe(side, frame.payloadType), pipes != nil, keeps(side) {
            switch pipes?.take(frame.payload, stream) {
            case .kept, nil: break
            case .cut: return cut(stream, time)
            case .leftOut: return Piece()
            }
        }
        switch (side, frame.payloadType) {
        case (.agent, .output):
            events = shown(bytes(), on: Self.standardOutput, time)
        case (.agent, .standardError):
            events = shown(bytes(), on: Self.standardError, time)
        case (.agent, .exitCode):
            if let code = ExitCode(payload: frame.payload)?.value { events = exited(Int64(code), time) }
        case (.client, .output):
            if facts.inputRecorded { events = input.events(of: bytes(), time: time) }
        case (.client, .size):
            if let size = try? JSONCoding.decode(TerminalSize.self, from: bytes()), (1...65_535).contains(size.columns),
                (1...65_535).contains(size.rows)
            {
                events = [RecordingEvent(time: time, .resize, "\(size.columns)x\(size.rows)")]
            }
        default:
            break
        }
        guard keeps(side) else { return write(events, .none) }
        if events.isEmpty {
            let text = "type \(frame.payloadType.rawValue), \(frame.payload.readableBytes) bytes"
            events = [RecordingEvent(time: time, .silent, text)]
        }
        return write(events, Self.place(frame, side))
    }

    private static func pipe(_ side: SessionSide, _ type: PayloadType) -> PipeTotals.Stream? {
        switch (side, type) {
        case (.agent, .output): .output
        case (.agent, .standardError): .errors
        case (.client, .output): .input
        default: nil
        }
    }

    /// Says in the recording where it stops, and ends what has begun of a character.
    private mutating func cut(_ stream: PipeTotals.Stream, _ time: Int64) -> Piece {
        var piece = Piece()
        switch stream {
        case .input: piece += write(input.end(time: time), .none)
        case .output, .errors:
            let name = stream == .output ? Self.standardOutput : Self.standardError
            let events = output[name]?.end(time: time) ?? []
            piece += write(switched(to: name, events, time), .none)
        }
        let words = "From here on \(stream.rawValue) is not recorded: of all of it length and SHA-256 are kept."
        piece += write([RecordingEvent(time: time, .marker, words)], .none)
        return piece
    }

    private static func place(_ frame: AgentMessage, _ side: SessionSide) -> RecordingPlace {
        let digest = frame.payloadDigest.prefix(RecordingPlace.digestBytes)
        return side == .agent
            ? .agent(frame.sequenceNumber, digest: digest, kind: frame.kind)
            : .client(frame.sequenceNumber, digest: digest, kind: frame.kind)
    }

    private mutating func shown(_ bytes: [UInt8], on name: String, _ time: Int64) -> [RecordingEvent] {
        let events = output[name, default: RecordingText(.output)].events(of: bytes, time: time)
        return switched(to: name, events, time)
    }

    private mutating func switched(to name: String, _ events: [RecordingEvent], _ time: Int64) -> [RecordingEvent] {
        guard !events.isEmpty, name != stream else { return events }
        stream = name
        return [RecordingEvent(time: time, .stream, name)] + events
    }

    private mutating func exited(_ code: Int64, _ time: Int64) -> [RecordingEvent] {
        guard exitCode == nil else { return [] }
        exitCode = code
        return [RecordingEvent(time: time, .exit, String(code))]
    }

    private mutating func state(_ frame: AgentMessage, _ time: Int64) -> Piece {
        guard let word = AgentWord(frame) else { return Piece() }
        var piece = Piece()
        if let name = word.user, user.isEmpty {
            user = name
            piece += write([RecordingEvent(time: time, .marker, "The session runs as \(name), says the host.")], .none)
        }
        if let code = word.exitCode { piece += write(exited(code, time), .none) }
        return piece
    }

    /// Takes what waits for a missing frame as if that had come, and says so.
    private mutating func skip(_ side: SessionSide, _ time: Int64, _ reason: String) -> Piece {
        guard keeps(side), var receiver = side == .agent ? fromAgent : fromClient,
            receiver.waitingCount > 0
        else { return Piece() }
        var piece = Piece()
        while true {
            var frames: [AgentMessage] = []
            guard let missing = receiver.skipMissing(deliver: { frames.append($0) }) else { break }
            let numbers = missing.count == 1 ? "\(missing.lowerBound)" : "\(missing.lowerBound) to \(missing.upperBound - 1)"
            piece += write([RecordingEvent(time: time, .marker, "Frame \(numbers) of the \(side.rawValue) is missing: \(reason).")], .none)
            for frame in frames { piece += lines(of: frame, side, time) }
        }
        if side == .agent { fromAgent = receiver } else { fromClient = receiver }
        return piece
    }

    // MARK: Writing

    private mutating func write(_ events: [RecordingEvent], _ place: RecordingPlace) -> Piece {
        var piece = Piece()
        for (index, event) in events.enumerated() {
            let start = piece.cast.count
            event.write(to: &piece.cast)
            chain.append(piece.cast[start...], index == events.count - 1 ? place : .goesOn, to: &piece.links)
        }
        return piece
    }

    /// Takes back lines that could not be written.
    package mutating func rewind(to chain: RecordingChain) { self.chain = chain }

    // MARK: Restoring

    /// Reads one frame's lines of what is on the disk, in their order; then `restored`.
    package struct Restoration: Sendable {
        private var recording: Recording
        private var agentNext: Int64 = 0
        private var clientNext: Int64?
        private var agentFrames: [Known] = []
        private var clientFrames: [Known] = []
        private var early: [(frame: AgentMessage, side: SessionSide)] = []
        private var shown = RecordingBytes(.output)
        private var typed = RecordingBytes(.input)

        private typealias Known = (digest: [UInt8], kind: FrameKind?)

        package init(_ facts: SessionFacts) { recording = Recording(facts) }

        package var chain: RecordingChain { recording.chain }

        /// False when the line is not what the chain says.
        package mutating func take(_ line: [UInt8], _ link: RecordingLink) -> Bool {
            _ = recording.chain.append(line, link.place)
            guard recording.chain.head == link.head else { return false }
            switch link.place {
            case .agent(let number, let digest, let kind):
                agentNext = number + 1
                Self.keep((digest, kind), in: &agentFrames)
            case .client(let number, let digest, let kind):
                clientNext = number + 1
                Self.keep((digest, kind), in: &clientFrames)
            case .none, .goesOn:
                break
            }
            if recording.chain.lines > 1, let event = RecordingEvent(line: line) { take(event) }
            return true
        }

        private static func keep(_ frame: Known, in frames: inout [Known]) {
            frames.append(frame)
            // Cut now and then, not with every frame.
            if frames.count >= 2 * Recording.remembered { frames.removeFirst(frames.count - Recording.remembered) }
        }

        private mutating func take(_ event: RecordingEvent) {
            recording.lastTime = max(recording.lastTime, event.time)
            if recording.pipes != nil {
                count(shown.take(event), recording.stream == Recording.standardOutput ? .output : .errors)
                count(typed.take(event), .input)
            }
            switch event.known {
            case .begunCharacter:
                if let begun = RecordingBytes.payload(event, .output) {
                    recording.output[recording.stream] = RecordingText(.output, begun: begun)
                } else if let begun = RecordingBytes.payload(event, .input) {
                    recording.input = RecordingText(.input, begun: begun)
                }
            case .output: recording.output[recording.stream] = RecordingText(.output)
            case .input: recording.input = RecordingText(.input)
            case .stream: recording.stream = event.data
            case .exit: recording.exitCode = Int64(event.data)
            case .early: if let frame = EarlyFrame(event.data) { early.append((frame.message, frame.side)) }
            default: break
            }
        }

        private mutating func count(_ bytes: [UInt8], _ stream: PipeTotals.Stream) {
            if !bytes.isEmpty { _ = bytes.withUnsafeBytes { recording.pipes?.take($0, stream) } }
        }

        /// With what is still to be written: early frames whose turn came just before the end, and was not written down.
        package func restored() -> (recording: Recording, piece: Piece) {
            var recording = recording
            recording.user = ""
            var agent = Self.receiver(agentNext, agentFrames)
            var client = recording.facts.inputRecorded ? Self.receiver(clientNext ?? 0, clientFrames) : nil
            var piece = Piece()
            for (frame, side) in early {
                // Those whose turn has come since are repeats.
                var due: [AgentMessage] = []
                if side == .agent {
                    _ = try? agent.received(frame) { due.append($0) }
                } else {
                    _ = try? client?.received(frame) { due.append($0) }
                }
                for frame in due { piece += recording.lines(of: frame, side, recording.lastTime) }
            }
            (recording.fromAgent, recording.fromClient) = (agent, client)
            // Begun characters were counted with their frame, and stand in an event only with the rest.
            for (name, stream) in [(Recording.standardOutput, PipeTotals.Stream.output), (Recording.standardError, .errors)] {
                if let begun = recording.output[name]?.begun, !begun.isEmpty {
                    _ = begun.withUnsafeBytes { recording.pipes?.take($0, stream) }
                }
            }
            if !recording.input.begun.isEmpty { _ = recording.input.begun.withUnsafeBytes { recording.pipes?.take($0, .input) } }
            return (recording, piece)
        }

        private static func receiver(_ next: Int64, _ frames: [Known]) -> StreamReceiver {
            var receiver = Recording.receiver(expecting: next)
            for (digest, kind) in frames.suffix(Recording.remembered) {
                // A receiver compares the half that a place has.
                let padding = [UInt8](repeating: 0, count: 32 - digest.count)
                if let digest = PayloadDigest(bytes: digest + padding) { receiver.remember(digest, kind) }
            }
            return receiver
        }
    }
}

extension Recording.Piece {
    static func += (piece: inout Self, more: Self) {
        if piece.cast.isEmpty { return piece = more }
        piece.cast += more.cast
        piece.links += more.links
    }
}

/// The header line: what asciicast v2 asks for, and the session's facts, which players skip.
private struct RecordingHeader: Encodable {
    let version = 2
    let width = 80
    let height = 24
    let timestamp: Int64
    let title: String
    let env = ["TERM": "xterm-256color"]
    let muster: Facts

    struct Facts: Encodable {
        let format = 1
        let session: SessionID
        let node: NodeID
        let owner: String
        let document: String
        let sessionType: String
        let reason: String
        let started: String
        let inputRecorded: Bool
    }

    init(_ facts: SessionFacts) {
        timestamp = facts.started.milliseconds / 1000
        title = "\(facts.ownerName) on \(facts.node)"
        muster = Facts(
            session: facts.id, node: facts.node, owner: facts.ownerARN, document: facts.document, sessionType: facts.sessionType,
            reason: facts.reason, started: facts.started.iso8601, inputRecorded: facts.inputRecorded)
    }
}

/// A frame that came before its turn, as text: side and number, payload type, flags, payload.
private struct EarlyFrame {
    let message: AgentMessage
    let side: SessionSide

    init(_ message: AgentMessage, _ side: SessionSide) { (self.message, self.side) = (message, side) }

    var text: String {
        let bytes = Base64.encode(Array(message.payload.readableBytesView))
        return "\(side == .agent ? "a" : "c")\(message.sequenceNumber) \(message.payloadType.rawValue) \(message.flags) \(bytes)"
    }

    init?(_ text: String) {
        let parts = text.split(separator: " ", omittingEmptySubsequences: false)
        guard parts.count == 4, let letter = parts[0].first, letter == "a" || letter == "c", let number = Int64(parts[0].dropFirst()),
            let type = UInt32(parts[1]), let flags = UInt64(parts[2]), let bytes = Base64.decode(String(parts[3]))
        else { return nil }
        side = letter == "a" ? .agent : .client
        message = AgentMessage(
            messageType: letter == "a" ? .outputStreamData : .inputStreamData, createdDate: .now(), sequenceNumber: number, flags: flags,
            payloadType: PayloadType(rawValue: type), payload: ByteBuffer(bytes: bytes))
    }
}

/// What an agent says of the end of a session, in `agent_session_state` or `agent_task_complete`, as far as a recording keeps it.
struct AgentWord: Decodable {
    let exitCode: Int64?
    let transfers: [SessionTransfer]?
    /// Who the session runs as.
    let user: String?

    private enum CodingKeys: String, CodingKey {
        case exitCode = "ExitCode"
        case transfers = "Transfers"
        case user = "RunAsUser"
    }

    /// A host may say a lot: what a row keeps of it is bounded.
    private static let maximumBytes = 256 << 10

    init?(_ frame: AgentMessage) {
        guard frame.payload.readableBytes <= Self.maximumBytes,
            let word = try? frame.decodePayload(AgentWord.self)
        else { return nil }
        exitCode = word.exitCode
        transfers = word.transfers.map { Array($0.prefix(SessionTransfer.largestList)) }
        user = word.user.flatMap { SessionPreferences.isUserName($0) ? $0 : nil }
    }

    init(from decoder: any Decoder) throws {
        let values = try decoder.container(keyedBy: CodingKeys.self)
        exitCode = try? values.decodeIfPresent(Int64.self, forKey: .exitCode)
        transfers = try? values.decodeIfPresent([SessionTransfer].self, forKey: .transfers)
        user = try? values.decodeIfPresent(String.self, forKey: .user)
    }
}
