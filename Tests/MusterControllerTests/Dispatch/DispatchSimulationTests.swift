import Testing

@testable import MusterController

/// One controller, its rows, a lossy network and agents that keep to the agent's promises, on a manual clock. Every
/// choice comes from the seed, so a failing schedule can be run again: `Simulation(seed: …).run()`.
@Suite struct DispatchSimulationTests {
    @Test(arguments: 0..<8)
    func randomSchedules(_ part: UInt64) {
        for seed in part * 500..<(part + 1) * 500 {
            let simulation = Simulation(seed: seed)
            simulation.run()
            if let violation = simulation.violation {
                Issue.record("seed \(seed): \(violation)")
                return
            }
        }
    }
}

private struct SeededRandom: RandomNumberGenerator {
    var state: UInt64

    /// SplitMix64.
    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }
}

private final class Simulation {
    enum Event {
        case jobArrives(Int, connection: Int, transmission: Int)
        case cancelArrives(Int, connection: Int)
        case acknowledgement(Int, DispatchMachine.Acknowledgement, transmission: Int)
        case cancelAcknowledged(Int)
        case reply(Int, DispatchMachine.Outcome?, connection: Int)
        case jobEnds(Int)
        case disconnect(Int)
        case connect(Int)
        case cancel([Int]?)
        case deregister(Int)
        case newGeneration(Int)
        case commit
        case wake
        case crash
        case restart
    }

    struct Agent {
        var isConnected = false
        var connection = 0
        var generation = 1
        var isRegistered = true
        var hasJob = false
        var isRunning = false
        var outcome: DispatchMachine.Outcome?
        var isReplyAcknowledged = false
        var starts = 0
        var willEnd: DispatchMachine.Outcome = .success
        var refuses: String?
        var busyUntil: Int64 = 0
        var deafUntil: Int64 = 0
    }

    struct Row {
        var status = InvocationState.pending
        var reason: InvocationReason?
        var isStray = false
    }

    let seed: UInt64
    var random: SeededRandom
    var now: Int64 = 0
    var order = 0
    var events: [(time: Int64, order: Int, event: Event)] = []
    var agents: [Agent] = []
    var violation: String?

    // What survives a crash
    var rows: [Row] = []
    var progress: CommandProgress?
    var isCancelRequested = false
    /// Frames ever sent to each target; stands for the random ids of frames.
    var transmissions: [Int] = []

    // What does not
    var machine: DispatchMachine?
    var inbox: [Event] = []
    var isCommitPlanned = false
    var firstOfLife: [Int] = []
    var life = 0

    let maximumConcurrency: RateControl.Limit
    let maximumErrors: RateControl.Limit
    let startBy: Int64
    let deadline: Int64
    var graceUntil: Int64 = 0
    let limits: RateControl

    init(seed: UInt64) {
        self.seed = seed
        random = SeededRandom(state: seed)
        let count = Int.random(in: 0...30, using: &random)
        maximumConcurrency =
            Bool.random(using: &random) ? .number(.random(in: 1...12, using: &random)) : .percent(.random(in: 1...100, using: &random))
        maximumErrors =
            Bool.random(using: &random) ? .number(.random(in: 0...8, using: &random)) : .percent(.random(in: 0...100, using: &random))
        limits = RateControl(maximumConcurrency: maximumConcurrency, maximumErrors: maximumErrors, targets: count)
        startBy = .random(in: 30_000...200_000, using: &random)
        deadline = startBy + .random(in: 5_000...200_000, using: &random)
        rows = Array(repeating: Row(), count: count)
        let badness = Double.random(in: 0...1, using: &random)
        let trouble = Double.random(in: 0...1, using: &random)
        for position in 0..<count {
            var agent = Agent()
            agent.willEnd = chance(badness * 0.5) ? (chance(0.5) ? .failed : .timedOut) : .success
            if chance(trouble * 0.1) { agent.refuses = "51408" }
            if chance(trouble * 0.3) { agent.busyUntil = .random(in: 0...60_000, using: &random) }
            if chance(trouble * 0.2) { agent.deafUntil = .random(in: 0...250_000, using: &random) }
            agents.append(agent)
            if !chance(trouble * 0.4) {
                later(0, .connect(position))
            } else if chance(0.7) {
                later(.random(in: 0...250_000, using: &random), .connect(position))
            }
            while chance(trouble * 0.4) { later(.random(in: 0...300_000, using: &random), .disconnect(position)) }
            if chance(trouble * 0.03) { later(.random(in: 0...100_000, using: &random), .deregister(position)) }
            if chance(trouble * 0.03) { later(.random(in: 0...100_000, using: &random), .newGeneration(position)) }
        }
        while chance(0.3), count > 0 {
            let time = Int64.random(in: 0...150_000, using: &random)
            later(time, .cancel(chance(0.5) ? nil : (0..<3).map { _ in .random(in: 0..<count, using: &random) }))
        }
        while chance(0.6) { later(.random(in: 0...250_000, using: &random), .crash) }
    }

    func chance(_ probability: Double) -> Bool { Double.random(in: 0..<1, using: &random) < probability }

    func latency() -> Int64 { chance(0.05) ? .random(in: 0...8_000, using: &random) : .random(in: 0...40, using: &random) }

    func later(_ delay: Int64, _ event: Event) {
        order += 1
        events.append((now + delay, order, event))
        var child = events.count - 1
        while child > 0, before(child, (child - 1) / 2) {
            events.swapAt(child, (child - 1) / 2)
            child = (child - 1) / 2
        }
    }

    private func before(_ a: Int, _ b: Int) -> Bool { (events[a].time, events[a].order) < (events[b].time, events[b].order) }

    private func nextEvent() -> Event? {
        guard let first = events.first else { return nil }
        let last = events.removeLast()
        if !events.isEmpty {
            events[0] = last
            var parent = 0
            while true {
                var least = parent
                for child in [2 * parent + 1, 2 * parent + 2] where child < events.count && before(child, least) { least = child }
                if least == parent { break }
                events.swapAt(parent, least)
                parent = least
            }
        }
        now = max(now, first.time)
        return first.event
    }

    func fail(_ text: String) { violation = violation ?? "at \(now) ms: \(text)" }

    // MARK: Running

    func run() {
        start()
        var steps = 0
        while violation == nil, let event = nextEvent() {
            steps += 1
            if steps > 200_000 { return fail("no end in sight") }
            handle(event)
            if now > max(deadline, graceUntil) + 10_000, machine != nil, !isCommitPlanned { break }
        }
        guard violation == nil else { return }
        check(rows.allSatisfy(\.status.isFinal), "not every target is accounted for: \(rows.map(\.status))")
        check(progress?.status.isFinal == true, "the command has not ended: \(String(describing: progress))")
        check(progress?.completedCount == rows.count && progress?.targetCount == rows.count, "counters: \(String(describing: progress))")
        check(progress?.errorCount == rows.count { $0.status.isError }, "error counter")
        for (position, row) in rows.enumerated() {
            let agent = agents[position]
            switch row.status {
            case .deliveryTimedOut where row.reason == nil:
                check(agent.starts == 0, "target \(position) is not started by its own word and ran")
            case .terminated: check(agent.starts == 0, "target \(position) is Terminated and ran")
            case .success, .failed, .executionTimedOut:
                if row.reason == nil { check(agent.starts == 1, "target \(position) has a result and never ran") }
            default: break
            }
            if row.reason == .notDelivered || row.reason == .neverSent {
                check(agent.starts == 0, "target \(position) is \(row.status.details) as not delivered and ran")
            }
        }
    }

    func check(_ holds: Bool, _ text: @autoclosure () -> String) {
        if !holds { fail(text()) }
    }

    func start() {
        life += 1
        var recorded: [DispatchMachine.Recorded] = []
        for row in rows { recorded.append(.init(generation: 1, status: row.status, isStray: row.isStray)) }
        let isRestart = life > 1
        if isRestart { graceUntil = max(graceUntil, min(now + 60_000, deadline + 120_000)) }
        machine = DispatchMachine(
            targets: recorded, maximumConcurrency: maximumConcurrency, maximumErrors: maximumErrors,
            startBy: startBy, deadline: max(deadline, graceUntil), isCancelRequested: isCancelRequested, shown: progress, at: now)
        if transmissions.isEmpty { transmissions = Array(repeating: 0, count: rows.count) }
        if isCancelRequested { machine?.cancel(nil, at: now) }
        firstOfLife = transmissions
        inbox = []
        isCommitPlanned = false
        planCommit()
    }

    func planCommit() {
        guard machine != nil, !isCommitPlanned else { return }
        isCommitPlanned = true
        later(.random(in: 0...5, using: &random), .commit)
    }

    func tell(_ event: Event) {
        guard machine != nil else { return }
        inbox.append(event)
        planCommit()
    }

    func handle(_ event: Event) {
        switch event {
        case .commit: commit()
        case .wake: if machine != nil { planCommit() }
        case .crash:
            guard machine != nil else { return }
            machine = nil
            for position in agents.indices where agents[position].isConnected { agents[position].isConnected = false }
            later(.random(in: 0...20_000, using: &random), .restart)
        case .restart:
            start()
            for position in agents.indices where agents[position].isRegistered {
                later(.random(in: 0...20_000, using: &random), .connect(position))
            }
        case .connect(let position):
            guard machine != nil, agents[position].isRegistered, !agents[position].isConnected else { return }
            agents[position].isConnected = true
            agents[position].connection += 1
            tell(event)
            sendReply(position)
        case .disconnect(let position):
            guard agents[position].isConnected else { return }
            agents[position].isConnected = false
            tell(event)
            if chance(0.8) { later(.random(in: 0...90_000, using: &random), .connect(position)) }
        case .jobArrives(let position, let connection, let transmission): jobArrives(position, connection, transmission)
        case .cancelArrives(let position, let connection): cancelArrives(position, connection)
        case .jobEnds(let position):
            guard agents[position].isRunning else { return }
            ended(position, agents[position].willEnd)
        case .reply(let position, let outcome, let connection):
            guard agents[position].isConnected, agents[position].connection == connection else { return }
            tell(event)
            if outcome != nil, chance(0.1) { tell(event) }
        case .cancel(let positions):
            // The wish is durable before the dispatcher hears of it. That for single targets is not modelled after a crash.
            if positions == nil { isCancelRequested = true }
            tell(event)
        case .acknowledgement, .cancelAcknowledged:
            tell(event)
        case .deregister(let position):
            agents[position].isRegistered = false
            agents[position].isConnected = false
            // Told again after a crash, since it is written down elsewhere.
            if machine == nil { later(30_000, event) } else { tell(event) }
        case .newGeneration(let position):
            agents[position].generation = 2
            agents[position].isConnected = false
            later(100, .connect(position))
        }
    }

    // MARK: The controller

    func commit() {
        isCommitPlanned = false
        guard var machine else { return }
        let batch = inbox
        inbox = []
        machine.timeReached(at: now)
        for event in batch { apply(event, to: &machine) }
        let actions = machine.takeActions(at: now)
        if chance(0.02) {
            // The process ends before the commit.
            self.machine = machine
            return handle(.crash)
        }
        // Durable from here on.
        let errors = rows.count { $0.status.isError }
        for update in actions.updates {
            let old = rows[update.target].status
            check(!old.isFinal, "target \(update.target) changed from \(old) to \(update.status)")
            if !old.isInFlight, update.status.isInFlight {
                check(errors <= limits.allowedErrors, "a send after the budget was spent")
                check(now < startBy, "a send after start-by")
            }
            rows[update.target] = Row(status: update.status, reason: update.reason, isStray: update.isStray)
        }
        if let command = actions.command { progress = command }
        let inFlight = rows.count { $0.status.isInFlight }
        check(inFlight <= limits.maximumConcurrency, "\(inFlight) in flight, allowed are \(limits.maximumConcurrency)")
        check(inFlight == machine.rate.inFlight, "slots: \(machine.rate.inFlight) held, \(inFlight) in the rows")
        self.machine = machine
        if chance(0.01) { return handle(.crash) }
        for case .reply(let position, .some, _) in batch { agents[position].isReplyAcknowledged = true }
        for position in actions.jobs {
            check(rows[position].status.isInFlight, "a frame before its row")
            transmissions[position] += 1
            let agent = agents[position]
            guard agent.isConnected else {
                self.machine?.sendFailed(position, at: now)
                planCommit()
                continue
            }
            later(latency(), .jobArrives(position, connection: agent.connection, transmission: transmissions[position]))
        }
        for position in actions.cancellations where agents[position].isConnected {
            later(latency(), .cancelArrives(position, connection: agents[position].connection))
        }
        if let next = machine.nextDeadline { later(max(1, next - now), .wake) }
    }

    func apply(_ event: Event, to machine: inout DispatchMachine) {
        switch event {
        case .connect(let position): machine.connected(position, generation: agents[position].generation, at: now)
        case .disconnect(let position): machine.disconnected(position)
        case .acknowledgement(let position, let answer, let transmission):
            // A refusal of a frame from a former life cannot be told apart and is left alone.
            if answer == .accepted || transmission > firstOfLife[position] { machine.acknowledged(position, answer, at: now) }
        case .cancelAcknowledged(let position): machine.cancelAcknowledged(position)
        case .reply(let position, let outcome, _):
            if let outcome { machine.finished(position, outcome) } else { machine.progressed(position) }
        case .cancel(let positions): machine.cancel(positions, at: now)
        case .deregister(let position): machine.deregistered(position)
        default: break
        }
    }

    // MARK: The agents

    func jobArrives(_ position: Int, _ connection: Int, _ transmission: Int) {
        let agent = agents[position]
        guard agent.isConnected, agent.connection == connection, now >= agent.deafUntil else { return }
        let answer: DispatchMachine.Acknowledgement
        if agent.hasJob {
            answer = .accepted
            sendReply(position)
        } else if let code = agent.refuses {
            answer = .refused(code: code)
        } else if now < agent.busyUntil {
            answer = .noRoom
        } else {
            answer = .accepted
            agents[position].hasJob = true
            if now >= startBy {
                ended(position, .expired)
            } else {
                agents[position].isRunning = true
                agents[position].starts += 1
                check(agents[position].starts == 1, "two starts on target \(position)")
                check(rows[position].status.isInFlight || rows[position].status.isFinal, "a start without its row")
                later(chance(0.1) ? .random(in: 0...400_000, using: &random) : .random(in: 0...3_000, using: &random), .jobEnds(position))
            }
        }
        guard !chance(0.05) else { return }
        later(latency(), .acknowledgement(position, answer, transmission: transmission))
        if answer == .accepted, chance(0.5) { later(latency(), .reply(position, nil, connection: connection)) }
    }

    func cancelArrives(_ position: Int, _ connection: Int) {
        let agent = agents[position]
        guard agent.isConnected, agent.connection == connection, now >= agent.deafUntil else { return }
        if !chance(0.1) { later(latency(), .cancelAcknowledged(position)) }
        if agent.isRunning, !chance(0.1) { ended(position, .cancelled) }
    }

    func ended(_ position: Int, _ outcome: DispatchMachine.Outcome) {
        agents[position].isRunning = false
        agents[position].outcome = outcome
        sendReply(position)
    }

    func sendReply(_ position: Int) {
        let agent = agents[position]
        guard let outcome = agent.outcome, agent.isConnected, !agent.isReplyAcknowledged, !chance(0.02) else { return }
        later(latency(), .reply(position, outcome, connection: agent.connection))
    }
}
