import NIOCore

@testable import MusterWire

/// The same numbers for the same seed (SplitMix64, Steele, Lea and Flood 2014).
struct SeededGenerator: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) { self.state = seed }

    mutating func next() -> UInt64 {
        self.state &+= 0x9e37_79b9_7f4a_7c15
        var z = self.state
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }
}

/// What goes wrong between the two ends of a session.
struct Weather {
    var latency = TimeAmount.milliseconds(20)
    /// Of one direction; frames queue for it.
    var bytesPerSecond: Int?
    var loss = 0.0
    var duplication = 0.0
    /// Frames that take up to five times as long.
    var straggling = 0.0
    /// A connection lives about so long; what is on its way then is gone.
    var connectionLife: TimeAmount?
    /// About so often the other leg is away: the relay says so and drops what comes.
    var pauses: TimeAmount?
    /// How long the readers of the two ends are not ready at first.
    var unready = TimeAmount.zero
}

/// One end of a session, as the link sees it.
protocol StreamEnd {
    mutating func start(_ bytes: [UInt8])
    /// Called whenever something happened: takes from what is to be sent as much as there is room for.
    mutating func pump(now: NIODeadline) -> [AgentMessage]
    mutating func received(_ message: AgentMessage, isReady: Bool, now: NIODeadline) -> [AgentMessage]
    mutating func due(now: NIODeadline) -> [AgentMessage]
    mutating func disconnected()
    /// What it had received when its connection broke, and can answer no more.
    mutating func receivedInVain(_ messages: [AgentMessage])
    mutating func reconnected(now: NIODeadline) -> [AgentMessage]
    var nextDeadline: NIODeadline? { get }
    var output: [UInt8] { get }
    var isDrained: Bool { get }
    /// Payload bytes that are held, unacknowledged or out of order.
    var held: Int { get }
}

/// Time that only moves when there is nothing left to do at a moment.
struct LossyLink<Client: StreamEnd, Agent: StreamEnd> {
    struct Report {
        var took = TimeAmount.zero
        var frames = 0
        var bytes = 0
        var mostHeld = 0
        var isFinished = false
        var connections = 1
    }

    private struct Flight {
        var at: NIODeadline
        var toAgent: Bool
        var message: AgentMessage
        var connection: Int
    }

    var client: Client
    var agent: Agent
    private let weather: Weather
    private var random: SeededGenerator
    private var flights: [Flight] = []
    private var now = NIODeadline.uptimeNanoseconds(1_000_000_000)
    private var linkIsFree: [NIODeadline] = [.uptimeNanoseconds(0), .uptimeNanoseconds(0)]
    private var lastArrival: [NIODeadline] = [.uptimeNanoseconds(0), .uptimeNanoseconds(0)]
    private var connection = 0
    private var reconnectAt: NIODeadline?
    private var disconnectAt: NIODeadline?
    private var pauseAt: NIODeadline?
    private var resumeAt: NIODeadline?
    private(set) var report = Report()

    init(client: Client, agent: Agent, weather: Weather, seed: UInt64) {
        self.client = client
        self.agent = agent
        self.weather = weather
        self.random = SeededGenerator(seed: seed)
    }

    mutating func run(upstream: [UInt8], downstream: [UInt8], atMost: TimeAmount, untilDrained: Bool) {
        let start = self.now
        self.client.start(upstream)
        self.agent.start(downstream)
        self.planTrouble()
        self.pump()
        while self.now - start < atMost {
            if self.client.output.count >= downstream.count, self.agent.output.count >= upstream.count,
                !untilDrained || (self.client.isDrained && self.agent.isDrained)
            {
                self.report.isFinished = true
                break
            }
            guard let next = self.nextEvent() else { break }
            self.now = max(self.now, next)
            self.step(start)
            self.report.mostHeld = max(self.report.mostHeld, self.client.held, self.agent.held)
        }
        self.report.took = self.now - start
    }

    private func nextEvent() -> NIODeadline? {
        var times = [self.reconnectAt, self.disconnectAt, self.pauseAt, self.resumeAt].compactMap { $0 }
        if let first = self.flights.first { times.append(first.at) }
        if self.reconnectAt == nil {
            times += [self.client.nextDeadline, self.agent.nextDeadline].compactMap { $0 }
        }
        return times.min()
    }

    private mutating func step(_ start: NIODeadline) {
        if let at = self.disconnectAt, at <= self.now {
            self.disconnectAt = nil
            self.connection += 1
            self.report.connections += 1
            self.client.receivedInVain(self.flights.prefix(8).filter { !$0.toAgent }.map(\.message))
            self.client.disconnected()
            self.agent.disconnected()
            self.reconnectAt = self.now + .milliseconds(Int64.random(in: 1...500, using: &self.random))
        }
        if let at = self.reconnectAt, at <= self.now {
            self.reconnectAt = nil
            self.planTrouble()
            self.fly(self.client.reconnected(now: self.now), toAgent: true)
            self.fly(self.agent.reconnected(now: self.now), toAgent: false)
        }
        if let at = self.pauseAt, at <= self.now {
            self.pauseAt = nil
            self.resumeAt = self.now + .milliseconds(Int64.random(in: 1...2000, using: &self.random))
            self.fly([self.publication(.pausePublication)], toAgent: true)
            self.fly([self.publication(.pausePublication)], toAgent: false)
        }
        if let at = self.resumeAt, at <= self.now {
            self.resumeAt = nil
            self.fly([self.publication(.startPublication)], toAgent: true)
            self.fly([self.publication(.startPublication)], toAgent: false)
            if let pauses = self.weather.pauses { self.pauseAt = self.now + self.about(pauses) }
        }
        let isReady = self.now - start >= self.weather.unready
        while let first = self.flights.first, first.at <= self.now {
            self.flights.removeFirst()
            guard first.connection == self.connection, self.reconnectAt == nil else { continue }
            if first.toAgent {
                self.fly(self.agent.received(first.message, isReady: isReady, now: self.now), toAgent: false)
            } else {
                self.fly(self.client.received(first.message, isReady: isReady, now: self.now), toAgent: true)
            }
        }
        if self.reconnectAt == nil {
            if let at = self.client.nextDeadline, at <= self.now { self.fly(self.client.due(now: self.now), toAgent: true) }
            if let at = self.agent.nextDeadline, at <= self.now { self.fly(self.agent.due(now: self.now), toAgent: false) }
        }
        self.pump()
    }

    private mutating func pump() {
        self.fly(self.client.pump(now: self.now), toAgent: true)
        self.fly(self.agent.pump(now: self.now), toAgent: false)
    }

    private mutating func planTrouble() {
        if let life = self.weather.connectionLife { self.disconnectAt = self.now + self.about(life) }
        if let pauses = self.weather.pauses, self.pauseAt == nil, self.resumeAt == nil { self.pauseAt = self.now + self.about(pauses) }
    }

    private mutating func about(_ time: TimeAmount) -> TimeAmount {
        .nanoseconds(Int64.random(in: time.nanoseconds / 2...time.nanoseconds * 3 / 2, using: &self.random))
    }

    private func publication(_ type: MessageType) -> AgentMessage {
        AgentMessage(messageType: type, createdDate: StreamTime.date, payload: ByteBuffer(string: "{}"))
    }

    private mutating func fly(_ messages: [AgentMessage], toAgent: Bool) {
        let direction = toAgent ? 0 : 1
        for message in messages {
            self.report.frames += 1
            self.report.bytes += message.payload.readableBytes
            guard self.reconnectAt == nil else { continue }
            let isPublication = message.messageType == .pausePublication || message.messageType == .startPublication
            if !isPublication {
                if self.resumeAt != nil { continue }
                if Double.random(in: 0..<1, using: &self.random) < self.weather.loss { continue }
            }
            var at = max(self.now, self.linkIsFree[direction])
            if let rate = self.weather.bytesPerSecond {
                let bytes = message.payload.readableBytes + AgentMessage.payloadOffset
                at = at + .nanoseconds(Int64(bytes) * 1_000_000_000 / Int64(rate))
                self.linkIsFree[direction] = at
            }
            at = at + self.weather.latency
            if Double.random(in: 0..<1, using: &self.random) < self.weather.straggling {
                at = at + .nanoseconds(Int64.random(in: 0...self.weather.latency.nanoseconds * 5, using: &self.random))
            } else {
                at = max(at, self.lastArrival[direction])
                self.lastArrival[direction] = at
            }
            self.land(Flight(at: at, toAgent: toAgent, message: message, connection: self.connection))
            if Double.random(in: 0..<1, using: &self.random) < self.weather.duplication {
                self.land(
                    Flight(at: at + self.weather.latency, toAgent: toAgent, message: message, connection: self.connection))
            }
        }
    }

    private mutating func land(_ flight: Flight) {
        // Almost always last.
        var index = self.flights.endIndex
        while index > self.flights.startIndex, self.flights[index - 1].at > flight.at { index -= 1 }
        self.flights.insert(flight, at: index)
    }
}

enum StreamTime {
    static let date = Timestamp(milliseconds: 1_700_000_000_123)
}
