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
        func run() async throws {
            try await place.sandbox.up(agents: agents, port: port)
            print(try place.sandbox.nextSteps())
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
