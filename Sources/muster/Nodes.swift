import ArgumentParser
import MusterCommandLine

struct Nodes: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Lists the managed nodes.")

    @OptionGroup var connection: Connection
    @Flag(help: "Keep the table current on a terminal; elsewhere print a line for each change. Ctrl-C ends it.") var watch = false

    func run() async throws {
        try await connection.with { caller, printer in
            watch
                ? try await NodeWatch(caller: caller, printer: printer).run()
                : try await NodeCommands(caller: caller, printer: printer).list()
        }
    }
}

struct Enroll: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Prints the one line that joins a server.",
        discussion:
            "Creates an activation. The code in the line is shown this once, and works until it expires or has been used --limit times.")

    @OptionGroup var connection: Connection
    @Option(help: "How many servers may join with it (1 to 1000).") var limit: Int = 1
    @Option(help: "Hours until it expires (1 to 720).") var hours: Int = 24
    @Option(help: "The name the nodes are listed under.") var name: String?
    @Option(help: "Tags of the nodes, KEY=VALUE.") var tag: [String] = []
    @Option(help: "sha256:HEX of the controller's CA instead of the one that the controller names.") var pin: String?
    @Option(help: "The address agents reach, https://HOST:PORT, if it is not the one you use.") var controller: String?

    func run() async throws {
        try await connection.with { caller, printer in
            try await NodeCommands(caller: caller, printer: printer)
                .enroll(limit: limit, hours: hours, name: name, tags: tag, pin: pin, controller: controller)
        }
    }
}

struct Deregister: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Removes a node: its certificate stops working at once, its open invocations end as Undeliverable.")

    @OptionGroup var connection: Connection
    @Argument(help: "A node's id, Name tag or name.", completion: .nodes) var node: String
    @Flag(help: "Do not ask.") var yes = false

    func run() async throws {
        try await connection.with { caller, printer in
            try await NodeCommands(caller: caller, printer: printer).deregister(node, assumeYes: yes)
        }
    }
}

struct TagNodes: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "tag", abstract: "Sets (KEY=VALUE) and removes (KEY-) tags of a node, or shows them.")

    @OptionGroup var connection: Connection
    @Argument(help: "A node's id, Name tag or name.", completion: .nodes) var node: String
    @Argument(help: "KEY=VALUE sets, KEY- removes.") var changes: [String] = []

    func run() async throws {
        try await connection.with { caller, printer in try await NodeCommands(caller: caller, printer: printer).tag(node, changes) }
    }
}
