import FoundationEssentials
import Logging
import MusterCrypto
import MusterWire
import NIOConcurrencyHelpers
import Testing

@testable import MusterController

/// The dispatcher over a real store, with agents that keep their promises and no sockets.
@Suite struct CommandDispatcherTests {
    @Test func everyTargetRunsOnceAndItsResultIsKept() async throws {
        let bench = try await DispatchBench(nodes: 20)
        defer { bench.remove() }
        let id = try await bench.withDispatcher { _, operations in
            let output = try await operations.send(.shell(targets: [Target(key: "tag:all", values: ["yes"])]), bench.context)
            #expect(output.command.status == .pending)
            #expect(output.command.targetCount == 20)
            try await bench.untilFinished(output.command.commandID)
            let shown = try await operations.getInvocation(
                .init(commandID: output.command.commandID.description, instanceID: bench.nodes[3].description), bench.context)
            #expect(shown.status == .success)
            #expect(shown.standardOutputContent == "hi\n")
            #expect(shown.responseCode == 0)
            #expect(shown.executionElapsedTime == "PT0.091S")
            #expect(shown.executionStartDateTime == "2026-11-23T12:55:23.736Z")
            #expect(shown.pluginName == "runShellScript")
            return output.command.commandID
        }
        let command = try await bench.command(id)
        #expect(
            command.progress
                == CommandProgress(status: .success, targetCount: 20, completedCount: 20, errorCount: 0, deliveryTimedOutCount: 0))
        #expect(bench.fleet.mostStarts == 1)
    }

    @Test func maxErrorsStopsTheRest() async throws {
        let bench = try await DispatchBench(nodes: 10)
        defer { bench.remove() }
        for node in bench.nodes.prefix(3) { bench.fleet[node].behaviour = .fails(7) }
        try await bench.withDispatcher { _, operations in
            let id = try await operations.send(.shell(bench.nodes, concurrency: "1", errors: "1"), bench.context).command.commandID
            try await bench.untilFinished(id)
            let states = try await bench.states(id)
            #expect(states == [.failed, .failed] + Array(repeating: .terminated, count: 8))
            let shown = try await operations.getInvocation(
                .init(commandID: id.description, instanceID: bench.nodes[0].description), bench.context)
            #expect(shown.status == .failed)
            #expect(shown.responseCode == 7)
            #expect(shown.standardErrorContent == "no\n")
            let terminated = try await operations.getInvocation(
                .init(commandID: id.description, instanceID: bench.nodes[9].description), bench.context)
            #expect(terminated.status == .cancelled && terminated.statusDetails == "Terminated")
            #expect(terminated.responseCode == -1)
            #expect(terminated.standardErrorContent.contains("error limit"))
        }
    }

    @Test func offlineNodesWaitAndDoNotHoldUpTheOthers() async throws {
        let bench = try await DispatchBench(nodes: 3)
        defer { bench.remove() }
        bench.fleet[bench.nodes[0]].isConnected = false
        try await bench.withDispatcher { dispatcher, operations in
            let id = try await operations.send(.shell(bench.nodes, concurrency: "1"), bench.context).command.commandID
            try await bench.until(id) { states, _ in states == [.pending, .success, .success] }
            await bench.fleet.connect(bench.nodes[0], dispatcher)
            try await bench.untilFinished(id)
            #expect(try await bench.command(id).progress.status == .success)
        }
    }

    @Test func cancelEndsWaitingAndRunning() async throws {
        let bench = try await DispatchBench(nodes: 3)
        defer { bench.remove() }
        for node in bench.nodes { bench.fleet[node].behaviour = .runsUntilCancelled }
        bench.fleet[bench.nodes[2]].isConnected = false
        try await bench.withDispatcher { _, operations in
            let id = try await operations.send(.shell(bench.nodes), bench.context).command.commandID
            try await bench.until(id) { states, _ in states == [.inProgress, .inProgress, .pending] }
            _ = try await operations.cancel(.init(commandID: id.description), bench.context)
            try await bench.untilFinished(id)
            #expect(try await bench.states(id) == [.cancelled, .cancelled, .cancelled])
            #expect(try await bench.command(id).progress.status == .cancelled)
        }
    }

    @Test func cancelOfOneNode() async throws {
        let bench = try await DispatchBench(nodes: 2)
        defer { bench.remove() }
        bench.fleet[bench.nodes[0]].behaviour = .runsUntilCancelled
        try await bench.withDispatcher { _, operations in
            let id = try await operations.send(.shell(bench.nodes), bench.context).command.commandID
            try await bench.until(id) { states, _ in states == [.inProgress, .success] }
            _ = try await operations.cancel(.init(commandID: id.description, instanceIDs: [bench.nodes[0].description]), bench.context)
            try await bench.untilFinished(id)
            #expect(try await bench.states(id) == [.cancelled, .success])
        }
    }

    @Test func aFullAgentIsTriedAgainWithoutAnError() async throws {
        let bench = try await DispatchBench(nodes: 2)
        defer { bench.remove() }
        bench.fleet[bench.nodes[0]].behaviour = .full
        var settings = CommandDispatcher.Settings()
        settings.timing.retry = 200
        try await bench.withDispatcher(settings) { _, operations in
            let id = try await operations.send(.shell(bench.nodes, concurrency: "1"), bench.context).command.commandID
            try await bench.until(id) { states, _ in states == [.delayed, .success] }
            bench.fleet[bench.nodes[0]].behaviour = .succeeds("late\n")
            try await bench.untilFinished(id)
            #expect(try await bench.command(id).progress.status == .success)
        }
    }

    @Test func deregisteredNodesEndUndeliverable() async throws {
        let bench = try await DispatchBench(nodes: 2)
        defer { bench.remove() }
        bench.fleet[bench.nodes[0]].isConnected = false
        try await bench.withDispatcher { dispatcher, operations in
            let id = try await operations.send(.shell(bench.nodes), bench.context).command.commandID
            try await bench.until(id) { states, _ in states == [.pending, .success] }
            await dispatcher.nodeDeregistered(bench.nodes[0])
            #expect(try await bench.states(id) == [.undeliverable, .success])
            #expect(try await bench.command(id).progress.status == .success)
        }
    }

    @Test func noMatchEndsAsNoInstancesInTag() async throws {
        let bench = try await DispatchBench(nodes: 1)
        defer { bench.remove() }
        try await bench.withDispatcher { _, operations in
            let id = try await operations.send(.shell(targets: [Target(key: "tag:role", values: ["nobody"])]), bench.context).command
                .commandID
            try await bench.untilFinished(id)
            #expect(try await bench.command(id).progress.status == .noInstancesInTag)
        }
    }

    // MARK: Restarts

    @Test func everyStopIsSurvived() async throws {
        let bench = try await DispatchBench(nodes: 30)
        defer { bench.remove() }
        // Not dispatched at all in the first life: the controller ends after the commit and before anything else.
        let logger = Self.silent
        let idle = CommandDispatcher(database: bench.database, registry: bench.fleet, logger: logger)
        let id = try await bench.operations(idle).send(.shell(bench.nodes, concurrency: "3"), bench.context).command.commandID
        var settings = CommandDispatcher.Settings()
        settings.timing.retry = 50
        for life in 0..<200 {
            let isFinished = try await bench.withDispatcher(settings) { _, _ in
                try await Task.sleep(for: .milliseconds(1 + life % 7 * 3))
                return try await bench.command(id).progress.status.isFinal
            }
            if isFinished { break }
        }
        // A life of a few milliseconds gets nothing done on a machine that is slow enough; the last one lasts.
        try await bench.withDispatcher(settings) { _, _ in try await bench.untilFinished(id) }
        #expect(try await bench.command(id).progress.status == .success)
        #expect(try await bench.command(id).progress.completedCount == 30)
        #expect(bench.fleet.mostStarts == 1)
    }

    @Test func cancelOutlivesTheController() async throws {
        let bench = try await DispatchBench(nodes: 2)
        defer { bench.remove() }
        bench.fleet[bench.nodes[0]].behaviour = .runsUntilCancelled
        bench.fleet[bench.nodes[1]].isConnected = false
        let id = try await bench.withDispatcher { _, operations in
            let id = try await operations.send(.shell(bench.nodes), bench.context).command.commandID
            try await bench.until(id) { states, _ in states[0] == .inProgress }
            return id
        }
        try await bench.database.write { tx in try CommandStore.requestCancel(of: id, in: tx) }
        try await bench.withDispatcher { _, _ in
            try await bench.untilFinished(id)
            #expect(try await bench.states(id) == [.cancelled, .cancelled])
        }
    }

    /// The frame went out and was lost with its connection. Its node says so when it is told to stop, so nobody waits.
    @Test func cancelOfWhatNeverArrived() async throws {
        let bench = try await DispatchBench(nodes: 1)
        defer { bench.remove() }
        bench.fleet[bench.nodes[0]].behaviour = .silent
        let id = try await bench.withDispatcher { _, operations in
            let id = try await operations.send(.shell(bench.nodes), bench.context).command.commandID
            try await bench.until(id) { states, _ in states == [.inProgress] }
            return id
        }
        try await bench.database.write { tx in try CommandStore.requestCancel(of: id, in: tx) }
        bench.fleet[bench.nodes[0]].behaviour = .runsUntilCancelled
        try await bench.withDispatcher { _, _ in try await bench.untilFinished(id) }
        #expect(try await bench.states(id) == [.cancelled])
        #expect(bench.fleet.mostStarts == 0)
    }

    /// What a round writes may have been decided before the wish was there.
    @Test func cancelIsNotOverwrittenByARoundThatDidNotKnow() async throws {
        let bench = try await DispatchBench(nodes: 2)
        defer { bench.remove() }
        bench.fleet[bench.nodes[0]].behaviour = .runsUntilCancelled
        bench.fleet[bench.nodes[1]].isConnected = false
        let store = OvertakenDatabase(database: bench.database)
        let id = try await bench.withDispatcher(database: store) { dispatcher, operations in
            let id = try await operations.send(.shell(bench.nodes, concurrency: "1"), bench.context).command.commandID
            try await bench.until(id) { states, _ in states[0] == .inProgress }
            // The next round ends the second target; the wish is committed before it, and nobody lives to tell.
            store.beforeNextWrite { tx in try CommandStore.requestCancel(of: id, in: tx) }
            await dispatcher.nodeDeregistered(bench.nodes[1])
            return id
        }
        #expect(try await bench.states(id) == [.inProgress, .undeliverable])
        #expect(try await bench.command(id).isCancelRequested)
        try await bench.withDispatcher { _, _ in try await bench.untilFinished(id) }
        #expect(try await bench.states(id) == [.cancelled, .undeliverable])
    }

    /// The node was away when the command was cancelled, and for longer than anybody waits for it.
    @Test func aNodeThatComesBackAfterARestartIsToldToStop() async throws {
        let bench = try await DispatchBench(nodes: 1)
        defer { bench.remove() }
        let node = bench.nodes[0]
        bench.fleet[node].behaviour = .runsUntilCancelled
        var settings = CommandDispatcher.Settings()
        settings.timing.cancellation = 1
        let id = try await bench.withDispatcher(settings) { dispatcher, operations in
            let id = try await operations.send(.shell(bench.nodes), bench.context).command.commandID
            while bench.fleet[node].jobs.isEmpty { await Task.yield() }
            await bench.fleet.disconnect(node, dispatcher)
            _ = try await operations.cancel(.init(commandID: id.description), bench.context)
            try await bench.untilFinished(id)
            return id
        }
        let shown = try await bench.invocation(id, node)
        #expect(shown.state == .cancelled && shown.isStray && shown.trace.contains("outcome is unknown"))
        try await bench.withDispatcher { dispatcher, _ in
            await bench.fleet.connect(node, dispatcher)
            // Its last words become a row, although the command is over.
            try await bench.until(id) { _, _ in bench.fleet[node].cancelled.count == 1 }
        }
        #expect(try await bench.invocation(id, node).state == .cancelled)
    }

    @Test func aFailedCommitLosesNothing() async throws {
        let bench = try await DispatchBench(nodes: 10)
        defer { bench.remove() }
        let flaky = FlakyDatabase(database: bench.database)
        try await bench.withDispatcher(database: flaky) { _, operations in
            let id = try await operations.send(.shell(bench.nodes), bench.context).command.commandID
            flaky.failEvery(3)
            try await bench.untilFinished(id)
            #expect(try await bench.command(id).progress.status == .success)
            #expect(bench.fleet.mostStarts == 1)
        }
        #expect(flaky.failures > 0)
    }

    @Test func twoDispatchersOnOneStore() async throws {
        let bench = try await DispatchBench(nodes: 1)
        defer { bench.remove() }
        await #expect(throws: FenceLost.self) {
            try await bench.withDispatcher { _, operations in
                while try await bench.database.read({ tx in try !CommandStore.holdsFence(1, in: tx) }) { await Task.yield() }
                // Another one takes over.
                _ = try await bench.database.write { tx in try CommandStore.takeFence(in: tx) }
                _ = try await operations.send(.shell(bench.nodes), bench.context)
                try await Task.sleep(for: .seconds(10))
            }
        }
        #expect(bench.fleet.mostStarts == 0)
    }

    @Test(arguments: [50, 2_000])
    func manyNodes(_ count: Int) async throws {
        let bench = try await DispatchBench(nodes: count)
        defer { bench.remove() }
        try await bench.withDispatcher { _, operations in
            let id = try await operations.send(
                .shell(targets: [Target(key: "tag-key", values: ["all"])], concurrency: "100%"), bench.context
            ).command.commandID
            try await bench.untilFinished(id)
            #expect(try await bench.command(id).progress.status == .success)
        }
    }

    static var silent: Logger {
        var logger = Logger(label: "test")
        logger.logLevel = .critical
        return logger
    }
}

/// Somebody else's commit comes just before one of the dispatcher's, which was decided without it.
private final class OvertakenDatabase: SQLDatabase {
    typealias Work = @Sendable (any SQLTransaction) throws -> Void

    private let database: any SQLDatabase
    private let work = NIOLockedValueBox<Work?>(nil)

    init(database: any SQLDatabase) { self.database = database }

    func beforeNextWrite(_ body: @escaping Work) { work.withLockedValue { $0 = body } }

    func read<T: Sendable>(_ body: @escaping @Sendable (any SQLTransaction) throws -> T) async throws -> T { try await database.read(body) }

    func write<T: Sendable>(_ body: @escaping @Sendable (any SQLTransaction) throws -> T) async throws -> T {
        let first = work.withLockedValue { work in
            defer { work = nil }
            return work
        }
        if let first { try await database.write(first) }
        return try await database.write(body)
    }
}

/// Fails commits of the dispatcher now and then, as a full disk does.
private final class FlakyDatabase: SQLDatabase {
    struct Failure: Error {}

    private let database: any SQLDatabase
    private let state = NIOLockedValueBox((every: 0, count: 0, failures: 0))

    init(database: any SQLDatabase) { self.database = database }

    func failEvery(_ count: Int) { state.withLockedValue { $0.every = count } }
    var failures: Int { state.withLockedValue { $0.failures } }

    func read<T: Sendable>(_ body: @escaping @Sendable (any SQLTransaction) throws -> T) async throws -> T { try await database.read(body) }

    func write<T: Sendable>(_ body: @escaping @Sendable (any SQLTransaction) throws -> T) async throws -> T {
        let fails = state.withLockedValue { state -> Bool in
            guard state.every > 0, state.failures < 5 else { return false }
            state.count += 1
            guard state.count % state.every == 0 else { return false }
            state.failures += 1
            return true
        }
        return try await database.write { tx in
            let result = try body(tx)
            if fails { throw Failure() }
            return result
        }
    }
}
