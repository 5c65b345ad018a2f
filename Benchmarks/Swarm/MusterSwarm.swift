import ArgumentParser
import FoundationEssentials
import Glibc
import Logging
import NIOCore
import NIOPosix
import UnixSignals

/// Thousands of agents in this one process against a real controller in another; what it costs is printed.
@main
struct MusterSwarm: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "muster-swarm",
        abstract: "Measure a controller with thousands of agents, each with its own key, certificate and TLS connection.")

    @Option(help: "Sizes of the fleet, separated by commas. Each gets a controller of its own.")
    var agents = "500,1000,2000"

    @Option(help: "The muster-controller to measure; the one beside this program unless it is named.")
    var controller: String?

    @Option(help: "How long a job seems to run, in milliseconds.")
    var delay: Int64 = 0

    @Option(help: "Where the controllers' folders are made. They are removed at the end.")
    var scratch: String?

    @Option(help: "Threads of the agents.")
    var threads = 2

    @Option(help: "How often the no-op goes to all.")
    var commands = 3

    @Option(help: "Seconds that the controller is left alone at the end, for looking at it with other tools.")
    var hold = 0

    func run() async throws {
        let sizes = agents.split(separator: ",").compactMap { Int($0) }
        guard !sizes.isEmpty, sizes.allSatisfy({ (1...15_000).contains($0) }) else {
            throw ValidationError("--agents takes numbers from 1 to 15000, as in 500,1000,2000.")
        }
        Self.raiseFileLimit()
        let folder = try Self.makeFolder(in: scratch ?? ProcessInfo.processInfo.environment["TMPDIR"] ?? "/tmp")
        defer { try? FileManager.default.removeItem(atPath: folder) }
        var options = Measurement.Options(executable: controller ?? Self.beside("muster-controller"), scratch: folder)
        options.delayMilliseconds = delay
        options.commands = max(1, commands)
        options.holdSeconds = hold
        let group = MultiThreadedEventLoopGroup(numberOfThreads: max(1, threads))
        var logger = Logger(label: "swarm", factory: { StreamLogHandler.standardError(label: $0) })
        logger.logLevel = .error

        let measurement = Measurement(options: options, group: group, logger: logger)
        try await withThrowingTaskGroup(of: [Measurement.Figures]?.self) { tasks in
            tasks.addTask {
                var all: [Measurement.Figures] = []
                for size in sizes {
                    all.append(try await measurement.run(size))
                    print("\(size) agents are measured.")
                }
                return all
            }
            // Somebody has had enough: everything is taken down in order.
            tasks.addTask {
                for await _ in await UnixSignalsSequence(trapping: [.sigterm, .sigint]) { return nil }
                return nil
            }
            let figures = try await tasks.next() ?? nil
            tasks.cancelAll()
            guard let figures else { throw SwarmError("Stopped before the end.") }
            print(Report(all: figures).render())
        }
        try await group.shutdownGracefully()
    }

    private static func beside(_ name: String) -> String {
        let own = (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")) ?? CommandLine.arguments[0]
        return own.split(separator: "/").dropLast().reduce("") { $0 + "/" + $1 } + "/" + name
    }

    private static func makeFolder(in parent: String) throws -> String {
        var template = Array("\(parent)/muster-swarm.XXXXXX".utf8CString)
        guard let made = mkdtemp(&template) else {
            throw SwarmError("Cannot make a folder in \(parent): \(String(cString: strerror(errno))).")
        }
        return String(cString: made)
    }

    private static func raiseFileLimit() {
        var limit = rlimit()
        guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return }
        limit.rlim_cur = limit.rlim_max
        setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
    }
}
