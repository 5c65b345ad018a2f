import ArgumentParser
import MusterCommandLine

struct PolicyGroup: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "policy", abstract: "What policies say.", subcommands: [Simulate.self])

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
