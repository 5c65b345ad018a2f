import ArgumentParser
import MusterCommandLine

struct ApprovalGroup: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "approvals", abstract: "Access requests: what waits for whose approval, and the decisions.",
        subcommands: [List.self, Show.self, Grant.self, Refuse.self, Revoke.self], defaultSubcommand: List.self)

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Lists what waits and what is granted.",
            discussion: """
                With --wait it returns when something waits for approval, and with a request's id when that is decided: it ends with 0 if it is \
                granted, 1 if it is refused or over, 124 if --timeout was over before.

                Examples:
                  muster approvals --wait
                  muster approvals --wait oi-0123456789ab && muster shell web1 --reason OPS-12
                """)

        @OptionGroup var connection: Connection
        @Flag(help: "Also what has ended.") var all = false
        @Flag(help: "Wait until something needs approval, or until the named request is decided.") var wait = false
        @Option(help: "With --wait: seconds after which waiting ends.") var timeout: Int?
        @Argument(help: "With --wait: the request's id, oi-…") var request: String?

        func validate() throws {
            guard wait || (timeout == nil && request == nil) else {
                throw ValidationError("A request's id and --timeout go with --wait. To see one: muster approvals show ID.")
            }
            guard !wait || !all else {
                throw ValidationError("--all lists what has ended, and --wait waits for what has not: pass one of them.")
            }
            if let timeout, timeout < 0 { throw ValidationError("--timeout takes seconds.") }
        }

        func run() async throws {
            try await connection.with { caller, printer in
                let approvals = ApprovalCommands(caller: caller, printer: printer)
                return wait ? try await approvals.wait(for: request, timeout: timeout) : try await approvals.list(all: all)
            }
        }
    }

    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Shows a request with its parameters: what would be run, where, and why.")

        @OptionGroup var connection: Connection
        @Argument(help: "The request's id, oi-…") var request: String

        func run() async throws {
            try await connection.with { try await ApprovalCommands(caller: $0, printer: $1).show(request) }
        }
    }

    struct Grant: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Agrees. The call that asked succeeds from then on until the grant ends; a command once.")

        @OptionGroup var connection: Connection
        @Argument(help: "The request's id, oi-…") var request: String
        @Option(help: "How long the grant lasts, if less than the policy allows.") var minutes: Int?

        func run() async throws {
            try await connection.with { try await ApprovalCommands(caller: $0, printer: $1).grant(request, minutes: minutes) }
        }
    }

    struct Refuse: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Refuses. One refusal is the end of a request.")

        @OptionGroup var connection: Connection
        @Argument(help: "The request's id, oi-…") var request: String
        @Option(help: "What whoever asked is told.") var reason: String

        func run() async throws {
            try await connection.with { try await ApprovalCommands(caller: $0, printer: $1).refuse(request, reason: reason) }
        }
    }

    struct Revoke: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Takes a grant back: its live sessions end at once.")

        @OptionGroup var connection: Connection
        @Argument(help: "The request's id, oi-…") var request: String

        func run() async throws {
            try await connection.with { try await ApprovalCommands(caller: $0, printer: $1).revoke(request) }
        }
    }
}
