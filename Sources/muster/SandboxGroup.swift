import ArgumentParser
import MusterCommandLine

struct SandboxGroup: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "sandbox",
        abstract: "A controller and agents of this machine, for trying Muster out.",
        subcommands: [Up.self, Down.self, Start.self, Stop.self, Restart.self, Status.self])

    struct Place: ParsableArguments {
        @Option(help: "The folder that holds all of its state.") var dir: String = ".muster-sandbox"
        var sandbox: Sandbox { Sandbox(directory: dir) }
    }

    struct Up: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Starts one in the background and returns when all agents are Online.")
        @OptionGroup var place: Place
        @Option(help: "How many agents.") var agents: Int = 3
        @Option(help: "The controller's port on the loopback interface; 0 takes a free one.") var port: Int = 0
        @Option(help: "How its agents reach the controller: auto, websocket or poll.") var transport: String?
        @Option(
            name: .customLong("agent-env"),
            help: "NAME=VALUE: a setting for its agents, for example MUSTER_AGENT_LOG_LEVEL=debug. May be repeated.")
        var agentEnvironment: [String] = []
        @Option(name: .customLong("controller-env"), help: "NAME=VALUE: a setting for its controller. May be repeated.")
        var controllerEnvironment: [String] = []
        func run() async throws {
            var agentSettings = try variables(agentEnvironment)
            if let transport { agentSettings["MUSTER_AGENT_TRANSPORT"] = transport }
            try await place.sandbox.up(
                agents: agents, port: port, agentSettings: agentSettings, controllerSettings: try variables(controllerEnvironment))
            Printer(format: .table).out(try place.sandbox.nextSteps())
        }

        private func variables(_ settings: [String]) throws -> [String: String] {
            var variables: [String: String] = [:]
            for setting in settings {
                guard let equals = setting.firstIndex(of: "="), equals != setting.startIndex else {
                    throw ValidationError("A setting is written NAME=VALUE, and this one is not: \(setting.prefix(40))")
                }
                variables[String(setting[..<equals])] = String(setting[setting.index(after: equals)...])
            }
            return variables
        }
    }

    struct Down: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Ends all of its processes and removes its folder.")
        @OptionGroup var place: Place
        func run() async throws { try await place.sandbox.down() }
    }

    struct Start: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Starts a stopped process; returns when it is ready.")
        @OptionGroup var place: Place
        @Argument(help: "controller or agent-0, agent-1, …") var process: String
        func run() async throws { try await place.sandbox.start(process) }
    }

    struct Stop: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Stops one process.")
        @OptionGroup var place: Place
        @Argument(help: "controller or agent-0, agent-1, …") var process: String
        func run() async throws { try await place.sandbox.stop(process) }
    }

    struct Restart: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Stops and starts one process.")
        @OptionGroup var place: Place
        @Argument(help: "controller or agent-0, agent-1, …") var process: String
        func run() async throws { try await place.sandbox.restart(process) }
    }

    struct Status: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Lists its processes.")
        @OptionGroup var place: Place
        @Option(name: [.short, .long], help: "How results are printed: table, json, yaml or csv.") var output: OutputFormat = .table
        func run() async throws { try place.sandbox.status(Printer(format: output)) }
    }
}
