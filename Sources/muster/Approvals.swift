import ArgumentParser
import MusterCommandLine

struct ApprovalGroup: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "approvals", abstract: "Access requests: what waits for whose approval, and the decisions.",
        subcommands: [List.self, Show.self, Grant.self, Refuse.self, Revoke.self], defaultSubcommand: List.self)

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Lists what waits and what is granted.")

        @OptionGroup var connection: Connection
        @Flag(help: "Also what has ended.") var all = false

        func run() async throws {
            try await connection.with { try await ApprovalCommands(caller: $0, printer: $1).list(all: all) }
        }
    }

    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Shows one, with its parameters.")

        @OptionGroup var connection: Connection
        @Argument(help: "oi-…") var request: String

        func run() async throws {
            try await connection.with { try await ApprovalCommands(caller: $0, printer: $1).show(request) }
        }
    }

    struct Grant: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Agrees. The call that asked succeeds from then on until the grant ends; a command once.")

        @OptionGroup var connection: Connection
        @Argument(help: "oi-…") var request: String
        @Option(help: "For less time than the policy allows.") var minutes: Int?

        func run() async throws {
            try await connection.with { try await ApprovalCommands(caller: $0, printer: $1).grant(request, minutes: minutes) }
        }
    }

    struct Refuse: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Refuses. One is enough.")

        @OptionGroup var connection: Connection
        @Argument(help: "oi-…") var request: String
        @Option(help: "What whoever asked is told.") var reason: String

        func run() async throws {
            try await connection.with { try await ApprovalCommands(caller: $0, printer: $1).refuse(request, reason: reason) }
        }
    }

    struct Revoke: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Takes a grant back: its live sessions end at once.")

        @OptionGroup var connection: Connection
        @Argument(help: "oi-…") var request: String

        func run() async throws {
            try await connection.with { try await ApprovalCommands(caller: $0, printer: $1).revoke(request) }
        }
    }
}
