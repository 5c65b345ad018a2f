import FoundationEssentials
import Glibc
import Logging
import MusterAgent
import MusterClient
import MusterWire
import NIOCore
import NIOPosix

/// Everything that is measured of one size of fleet, against one controller.
struct Measurement: Sendable {
    struct Options: Sendable {
        var executable: String
        var scratch: String
        var delayMilliseconds: Int64 = 0
        var idleSeconds = 10
        var commands = 3
        /// Keeps the controller at rest for so long before the end, to be looked at from outside.
        var holdSeconds = 0
    }

    /// In the order in which they are measured; printed by `Report`.
    struct Figures: Sendable {
        let agents: Int
        var values: [Figure: Double] = [:]
    }

    let options: Options
    let group: MultiThreadedEventLoopGroup
    let logger: Logger
    private let clock = ContinuousClock()

    init(options: Options, group: MultiThreadedEventLoopGroup, logger: Logger) {
        self.options = options
        self.group = group
        self.logger = logger
    }

    func run(_ count: Int) async throws -> Figures {
        let home = ControllerProcess.Home(executable: options.executable, directory: "\(options.scratch)/\(count)")
        try FileManager.default.createDirectory(atPath: home.directory, withIntermediateDirectories: true)
        try await home.prepare()
        let controller = try await ControllerProcess.start(home)
        do {
            let figures = try await run(count, home, controller)
            try FileManager.default.removeItem(atPath: home.directory)
            return figures
        } catch {
            await controller.end(SIGKILL)
            let words = home.words()
            try? FileManager.default.removeItem(atPath: home.directory)
            throw SwarmError("\(error)\nThe controller's last words:\n\(words)")
        }
    }

    private func run(_ count: Int, _ home: ControllerProcess.Home, _ first: ControllerProcess) async throws -> Figures {
        var figures = Figures(agents: count)
        let console = try Console(profileDirectory: home.profile, endpoint: first.endpoint, group: group)
        defer { console.api.shutdown() }
        _ = try await console.look()
        try await Task.sleep(for: .seconds(2))
        let empty = first.memory()
        figures.values[.emptyResident] = Double(empty.resident) / 1024

        var begun = clock.now
        var used = first.processorTime()
        let identities = try await Enrolment(console: console, group: group, parallel: 32, logger: logger).run(count)
        figures.values[.enrolmentRate] = Double(count) / seconds(since: begun)
        figures.values[.enrolmentProcessor] = (first.processorTime() - used) * 1000 / Double(count)

        let plans = SwarmPlans()
        let agents = identities.enumerated().map { index, identity in
            SwarmAgent(
                identity, plans: plans, delay: .milliseconds(options.delayMilliseconds), heartbeat: .seconds(300), loop: group.next(),
                logger: logger)
        }
        return try await withThrowingTaskGroup(of: Void.self) { tasks in
            begun = clock.now
            used = first.processorTime()
            for agent in agents { tasks.addTask { await agent.run() } }
            try await untilConnected(count, console, within: .seconds(120))
            figures.values[.connected] = seconds(since: begun)
            try await untilBeaten(count, console)
            figures.values[.connectedProcessor] = first.processorTime() - used

            try await idle(first, empty, count, &figures)
            try await commands(count, console, first, &figures)
            try await heartbeats(agents, console, first, &figures)
            let second = try await restart(count, home, first, console, &figures)
            try await commandAfterRestart(count, console, empty, second, &figures)
            if options.holdSeconds > 0 {
                print("The controller is process \(second.pid); it stays for \(options.holdSeconds) s.")
                try await Task.sleep(for: .seconds(options.holdSeconds))
            }
            // The agents first: a controller that has gone is nothing that they should be busy with.
            tasks.cancelAll()
            try? await tasks.waitForAll()
            await second.end(SIGTERM)
            return figures
        }
    }

    private func idle(_ controller: ControllerProcess, _ empty: ControllerProcess.Memory, _ count: Int, _ figures: inout Figures)
        async throws
    {
        try await Task.sleep(for: .seconds(5))
        let memory = controller.memory()
        figures.values[.residentPerAgent] = Double(memory.resident - empty.resident) / Double(count)
        figures.values[.anonymousPerAgent] = Double(memory.anonymous - empty.anonymous) / Double(count)
        let (used, begun) = (controller.processorTime(), clock.now)
        try await Task.sleep(for: .seconds(options.idleSeconds))
        figures.values[.idleProcessor] = (controller.processorTime() - used) / seconds(since: begun) * 100
    }

    private func commands(_ count: Int, _ console: Console, _ controller: ControllerProcess, _ figures: inout Figures) async throws {
        var took: [Double] = []
        let used = controller.processorTime()
        for _ in 0..<options.commands {
            took.append(seconds(try await console.command(maxConcurrency: "100%", expecting: count, within: .seconds(300))))
        }
        figures.values[.commandProcessor] = (controller.processorTime() - used) / Double(options.commands)
        figures.values[.command] = took.sorted()[took.count / 2]
        figures.values[.commandWorst] = took.max()
        figures.values[.commandOfFifty] = seconds(try await console.command(maxConcurrency: "50", expecting: count, within: .seconds(300)))
    }

    private func heartbeats(
        _ agents: [SwarmAgent], _ console: Console, _ controller: ControllerProcess, _ figures: inout Figures
    ) async throws {
        let (before, used) = (try await beats(console), controller.processorTime())
        for agent in agents { agent.beat() }
        let deadline = clock.now + .seconds(120)
        while try await beats(console) < before + agents.count {
            guard clock.now < deadline else { throw SwarmError("Not all heartbeats have arrived after two minutes.") }
            try await Task.sleep(for: .milliseconds(100))
        }
        figures.values[.heartbeatProcessor] = (controller.processorTime() - used) * 1000 / Double(agents.count)
    }

    /// Killed, not stopped: nothing says goodbye, and nothing is told to anyone.
    private func restart(
        _ count: Int, _ home: ControllerProcess.Home, _ former: ControllerProcess, _ console: Console, _ figures: inout Figures
    ) async throws -> ControllerProcess {
        let own = ControllerProcess.processorTime(of: "self")
        let begun = clock.now
        await former.end(SIGKILL)
        let controller = try await ControllerProcess.start(home, port: former.endpoint.port)
        figures.values[.restarted] = seconds(since: begun)
        do {
            // Somebody sits down now and wants to know what is going on.
            let worst = try await withThrowingTaskGroup(of: Double.self) { tasks in
                tasks.addTask {
                    var worst = 0.0
                    while !Task.isCancelled {
                        if let took = try? await console.look() { worst = max(worst, seconds(took)) }
                        try? await Task.sleep(for: .milliseconds(200))
                    }
                    return worst
                }
                try await untilConnected(count, console, within: .seconds(180))
                figures.values[.reconnected] = seconds(since: begun)
                figures.values[.reconnectedProcessor] = controller.processorTime()
                figures.values[.reconnectedOwnProcessor] = ControllerProcess.processorTime(of: "self") - own
                tasks.cancelAll()
                return try await tasks.next() ?? 0
            }
            figures.values[.operatorDuringReconnect] = worst
        } catch {
            await controller.end(SIGKILL)
            throw error
        }
        return controller
    }

    /// What a restarted controller has to be able to do as well, and what is left of the rush in its memory.
    private func commandAfterRestart(
        _ count: Int, _ console: Console, _ empty: ControllerProcess.Memory, _ controller: ControllerProcess, _ figures: inout Figures
    ) async throws {
        do {
            _ = try await console.command(maxConcurrency: "100%", expecting: count, within: .seconds(300))
            try await Task.sleep(for: .seconds(10))
            let memory = controller.memory()
            figures.values[.residentPerAgentLater] = Double(memory.resident - empty.resident) / Double(count)
            figures.values[.anonymousPerAgentLater] = Double(memory.anonymous - empty.anonymous) / Double(count)
        } catch {
            await controller.end(SIGKILL)
            throw error
        }
    }

    // MARK: Waiting

    private func untilConnected(_ count: Int, _ console: Console, within limit: Duration) async throws {
        let deadline = clock.now + limit
        while true {
            let connected = (try? await console.connected()) ?? 0
            if connected >= count { return }
            guard clock.now < deadline else { throw SwarmError("\(connected) of \(count) agents are connected after \(limit).") }
            try await Task.sleep(for: .milliseconds(50))
        }
    }

    /// Each agent says what it is when it has connected; that is part of the rush, and not of the rest after it.
    private func untilBeaten(_ count: Int, _ console: Console) async throws {
        let deadline = clock.now + .seconds(120)
        while try await beats(console) < count {
            guard clock.now < deadline else { throw SwarmError("Not all agents have told what they are after two minutes.") }
            try await Task.sleep(for: .milliseconds(100))
        }
    }

    private func beats(_ console: Console) async throws -> Int {
        let text = try await console.get("/metrics")
        let line = text.split(separator: "\n").first {
            $0.hasPrefix("muster_operations_total{") && $0.contains("UpdateInstanceInformation") && $0.contains("success")
        }
        return line?.split(separator: " ").last.flatMap { Double($0) }.map { Int($0) } ?? 0
    }

    private func seconds(since begun: ContinuousClock.Instant) -> Double { seconds(clock.now - begun) }

    private func seconds(_ duration: Duration) -> Double {
        Double(duration.components.seconds) + Double(duration.components.attoseconds) / 1e18
    }
}
