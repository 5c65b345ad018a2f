import ArgumentParser
import MusterCommandLine

struct PolicyGroup: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "policy", abstract: "Policies: save them, say who has them, and ask what they decide.",
        discussion: """
            A policy says who may do what where, when and why, in IAM's language. `muster grant` writes the usual ones.

            Example:
              muster policy put office-shells office-shells.json
              muster policy attach office-shells --group support
              muster policy simulate --user alice --action ssm:StartSession --resource ARN
            """,
        subcommands: [List.self, Show.self, Put.self, Attach.self, Detach.self, Delete.self, Simulate.self], defaultSubcommand: List.self)

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Lists the policies and who has them.")
        @OptionGroup var connection: Connection

        func run() async throws { try await connection.with { try await PolicyCommands(caller: $0, printer: $1).list() } }
    }

    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Prints a policy.", discussion: "With --user or --group, one of those that `muster user` calls \"its own\".")
        @OptionGroup var connection: Connection
        @Argument(help: "The policy's name.") var name: String
        @Option(help: "The user who alone has it.") var user: String?
        @Option(help: "The group that alone has it.") var group: String?

        func validate() throws {
            guard user == nil || group == nil else { throw ValidationError("Pass --user or --group, not both.") }
        }

        func run() async throws {
            let holder: Holder? = user.map { .user($0) } ?? group.map { .group($0) }
            try await connection.with { try await PolicyCommands(caller: $0, printer: $1).show(name, of: holder) }
        }
    }

    struct Put: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Saves a policy, or another in its place.", discussion: "What is not understood is refused, and nothing changes.")
        @OptionGroup var connection: Connection
        @Argument(help: "The policy's name.") var name: String
        @Argument(help: "A JSON file.", completion: .file()) var file: String

        func run() async throws { try await connection.with { try await PolicyCommands(caller: $0, printer: $1).put(name, file: file) } }
    }

    struct Attach: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Gives a policy to a user or a group.")
        @OptionGroup var connection: Connection
        @Argument(help: "The policy's name.") var name: String
        @OptionGroup var holder: HolderOptions

        func run() async throws {
            let holder = try holder.holder()
            try await connection.with { try await PolicyCommands(caller: $0, printer: $1).attach(name, to: holder) }
        }
    }

    struct Detach: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Takes a policy from a user or a group.")
        @OptionGroup var connection: Connection
        @Argument(help: "The policy's name.") var name: String
        @OptionGroup var holder: HolderOptions

        func run() async throws {
            let holder = try holder.holder()
            try await connection.with { try await PolicyCommands(caller: $0, printer: $1).detach(name, from: holder) }
        }
    }

    struct Delete: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Deletes a policy that nobody has any more.")
        @OptionGroup var connection: Connection
        @Argument(help: "The policy's name.") var name: String

        func run() async throws { try await connection.with { try await PolicyCommands(caller: $0, printer: $1).delete(name) } }
    }

    struct Simulate: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Asks whether something would be allowed, and which statement decides. Ends with 0 if it would, 1 if not.",
            discussion: "For a user the tags of user and node, the time and your address are filled in; --context replaces them.")

        @OptionGroup var connection: Connection
        @Option(help: "Whose policies.") var user: String?
        @Option(help: "A group of the user, as whose role it is asked.") var role: String?
        @Option(help: "A file with a policy, instead of a user's.") var policy: String?
        @Option(help: "For example ssm:StartSession.") var action: String
        @Option(help: "An ARN, or *.") var resource: String = "*"
        @Option(help: "A key of conditions, KEY=VALUE.") var context: [String] = []

        func run() async throws {
            try await connection.with { caller, printer in
                try await PolicyCommands(caller: caller, printer: printer)
                    .simulate(user: user, role: role, file: policy, action: action, resource: resource, context: context)
            }
        }
    }
}

struct HolderOptions: ParsableArguments {
    @Option(help: "The user.") var user: String?
    @Option(help: "The group.") var group: String?

    func validate() throws { _ = try holder() }

    func holder() throws -> Holder {
        switch (user, group) {
        case (let user?, nil): .user(user)
        case (nil, let group?): .group(group)
        default: throw ValidationError("Pass either --user or --group.")
        }
    }
}
