import NIOCore

@testable import MusterWire

/// Our own end.
struct MusterEnd: StreamEnd {
    var stream: ReliableStream
    private var input = ByteBuffer()
    private(set) var output: [UInt8] = []
    private(set) var failure: StreamFailure?
    private let largestWrite: Int
    /// Sends nothing before it has got something.
    private let isQuietAtFirst: Bool

    init(
        _ role: ReliableStream.Role, _ limits: ReliableStream.Limits, largestWrite: Int = 100_000, isQuietAtFirst: Bool = false
    ) {
        self.isQuietAtFirst = isQuietAtFirst
        self.stream = ReliableStream(role: role, limits: limits)
        self.largestWrite = largestWrite
    }

    mutating func start(_ bytes: [UInt8]) { self.input = ByteBuffer(bytes: bytes) }

    mutating func pump(now: NIODeadline) -> [AgentMessage] {
        var frames: [AgentMessage] = []
        if self.isQuietAtFirst, self.output.isEmpty { return [] }
        while self.input.readableBytes > 0, self.stream.room > 0 {
            guard let piece = self.input.readSlice(length: min(self.stream.room, self.input.readableBytes, self.largestWrite)) else {
                break
            }
            frames += self.stream.send(.output, piece, now: now, date: StreamTime.date)
        }
        return frames + self.stream.flushed(now: now)
    }

    mutating func received(_ message: AgentMessage, isReady: Bool, now: NIODeadline) -> [AgentMessage] {
        let step = self.stream.received(message, isReady: isReady, now: now, date: StreamTime.date)
        for delivery in step.deliver { self.output += delivery.payload.readableBytesView }
        if let failure = step.failure { self.failure = failure }
        return step.send
    }

    mutating func due(now: NIODeadline) -> [AgentMessage] { self.stream.due(now: now) }
    mutating func disconnected() { self.stream.disconnected() }
    mutating func receivedInVain(_ messages: [AgentMessage]) {}
    mutating func reconnected(now: NIODeadline) -> [AgentMessage] { self.stream.reconnected(now: now) }
    var nextDeadline: NIODeadline? { self.stream.nextDeadline }
    var isDrained: Bool { self.input.readableBytes == 0 && self.stream.isDrained }
    var held: Int { max(self.stream.unacknowledgedBytes, self.stream.reordered.bytes) }
}

/// What session-manager-plugin and amazon-ssm-agent do, as far as the other end can see it (protocol.md 2.1.4, 2.1.5, 2.2.3).
struct StockEnd: StreamEnd {
    private struct Sent {
        var message: AgentMessage
        var at: NIODeadline
        var repeats = 0
    }

    let role: ReliableStream.Role
    private let maximumOutgoing: Int
    private let maximumEarly: Int
    private var input = ByteBuffer()
    private(set) var output: [UInt8] = []
    private var next: Int64 = 0
    private var sent: [Sent] = []
    private var expected: Int64 = 0
    private var early: [Int64: AgentMessage] = [:]
    private var roundTrip = RoundTrip(longest: .seconds(1))
    private var scan: NIODeadline?
    private var isPaused = false
    private(set) var isFailing = false

    init(_ role: ReliableStream.Role) {
        self.role = role
        self.maximumOutgoing = role == .client ? 10_000 : 100_000
        self.maximumEarly = role == .client ? 10_000 : 100_000
    }

    mutating func start(_ bytes: [UInt8]) { self.input = ByteBuffer(bytes: bytes) }

    mutating func pump(now: NIODeadline) -> [AgentMessage] {
        guard !self.isPaused else { return [] }
        var frames: [AgentMessage] = []
        // The client evicts its oldest frame when it has 10,000: a person does not type that much ahead, and this model not either.
        while self.input.readableBytes > 0, self.sent.count < 2000 {
            guard let piece = self.input.readSlice(length: min(1024, self.input.readableBytes)) else { break }
            let message = AgentMessage(
                messageType: self.role.outgoing, createdDate: StreamTime.date, sequenceNumber: self.next,
                flags: self.role == .agent && self.next == 0 ? 1 : 0, payloadType: .output, payload: piece)
            self.next += 1
            self.sent.append(Sent(message: message, at: now))
            if self.scan == nil { self.scan = now + .milliseconds(100) }
            frames.append(message)
        }
        return frames
    }

    mutating func received(_ message: AgentMessage, isReady: Bool, now: NIODeadline) -> [AgentMessage] {
        switch message.messageType {
        case self.role.incoming:
            self.isPaused = false
            let sequence = message.sequenceNumber
            if sequence == self.expected {
                guard isReady else { return [] }
                self.take(message)
                while let following = self.early.removeValue(forKey: self.expected) { self.take(following) }
                return [.acknowledging(message, createdDate: StreamTime.date)]
            }
            if sequence > self.expected {
                guard self.early.count < self.maximumEarly else { return [] }
                self.early[sequence] = message
                return [.acknowledging(message, createdDate: StreamTime.date)]
            }
            return self.role == .client ? [] : [.acknowledging(message, createdDate: StreamTime.date)]
        case .acknowledge:
            self.isPaused = false
            guard let content = try? message.decodePayload(AcknowledgeContent.self),
                let index = self.sent.firstIndex(where: { $0.message.sequenceNumber == content.sequenceNumber })
            else { return [] }
            self.roundTrip.measured(now - self.sent[index].at)
            self.sent.remove(at: index)
            if self.sent.isEmpty { self.scan = nil }
            return []
        case .pausePublication:
            self.isPaused = self.role == .agent
            return []
        case .startPublication:
            self.isPaused = false
            return []
        default:
            return []
        }
    }

    private mutating func take(_ message: AgentMessage) {
        self.expected += 1
        self.output += message.payload.readableBytesView
    }

    mutating func due(now: NIODeadline) -> [AgentMessage] {
        guard self.scan != nil else { return [] }
        self.scan = now + .milliseconds(100)
        guard !self.isPaused, let first = self.sent.first, now - first.at > self.roundTrip.timeout else { return [] }
        if self.role == .agent { self.sent[0].at = now }
        self.sent[0].repeats += 1
        return [first.message]
    }

    mutating func disconnected() {}

    /// The plugin shows a frame before it acknowledges it, and counts it only when the acknowledgement could be written.
    mutating func receivedInVain(_ messages: [AgentMessage]) {
        guard self.role == .client, let next = messages.first(where: { $0.sequenceNumber == self.expected }) else { return }
        self.output += next.payload.readableBytesView
    }

    mutating func reconnected(now: NIODeadline) -> [AgentMessage] {
        self.isPaused = false
        return []
    }
    var nextDeadline: NIODeadline? { self.sent.isEmpty ? nil : self.scan }
    var isDrained: Bool { self.input.readableBytes == 0 && self.sent.isEmpty }
    var held: Int { 0 }
}
