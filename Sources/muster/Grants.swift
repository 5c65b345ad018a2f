import ArgumentParser
import MusterCommandLine

struct GrantGroup: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "grant", abstract: "Gives a colleague shells or commands on some nodes, and nothing else, in one step.",
        discussion: """
            Creates the user if there is none, writes the policy and prints it, and makes a key if the user has none.

            Examples:
              muster grant shell alice --on tag:role=web --as deploy --reason
              muster grant run bob --on web1 --hours 'Mon-Fri 09:00-18:00 Europe/Berlin'
              muster grant list
              muster grant revoke alice grant-shell-role-web
            """,
        subcommands: [Shell.self, Run.self, List.self, Revoke.self])

    struct Terms: ParsableArguments {
        @Argument(help: ArgumentHelp("The user, or group/NAME.", valueName: "who")) var who: String
        @Option(
            help: ArgumentHelp(
                "Nodes: tag:KEY=VALUE[,VALUE], tag-key=KEY, or a node's id or name. Tags must all match.", valueName: "nodes"))
        var on: [String] = []
        @Option(help: ArgumentHelp("When: days, hours and zone, as 'Mon-Fri 09:00-18:00 Europe/Berlin'.", valueName: "window"))
        var hours: String?
        @Flag(help: "Only with a reason (--reason of a shell, --comment of a command).") var reason = false
        @Flag(help: "Print the policy and change nothing.") var dryRun = false
        @Flag(help: "Make no key.") var noKey = false
        @Flag(help: "Do not ask.") var yes = false

        func validate() throws {
            guard !on.isEmpty else { throw ValidationError("Say on which nodes: --on tag:KEY=VALUE, or --on NODE.") }
        }

        func request(_ kind: Grant.Kind) throws -> GrantCommands.Request {
            var request = GrantCommands.Request(try Holder(who), Grant(kind))
            request.grant.hours = hours
            request.grant.needsReason = reason
            for word in on {
                if word.contains("=") { try request.grant.add(try TargetExpression.parse(word)) } else { request.names.append(word) }
            }
            (request.isDryRun, request.makesKey, request.assumeYes) = (dryRun, !noKey, yes)
            return request
        }
    }

    struct Shell: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Lets somebody open shells on the nodes with a tag, or on named ones.",
            discussion: """
                A shell and nothing else, unless --with adds to it: exec (single commands), cp (files), ssh, forward (ports and sockets). Granting \
                the same nodes again replaces the former grant.

                --as names the user of the nodes whom the shells run as. It is the tag SSMSessionRunAs of the user, which counts for all of the \
                user's sessions; the policy then allows no shell as anybody else.

                Examples:
                  muster grant shell alice --on tag:role=web --as deploy
                  muster grant shell alice --on tag:env=staging --on tag:role=web --with exec --with cp
                  muster grant shell group/support --on tag:env=staging --hours 'Mon-Fri 09:00-18:00 Europe/Berlin'
                """)
        @OptionGroup var connection: Connection
        @OptionGroup var terms: Terms
        @Option(name: .customLong("as"), help: ArgumentHelp("The user of the nodes whom the shells run as.", valueName: "user"))
        var runAs: String?
        @Option(help: ArgumentHelp("Besides the shell: exec, cp, ssh or forward.", valueName: "kind")) var with: [Grant.Extra] = []

        func run() async throws {
            var request = try terms.request(.shell)
            request.grant.runAs = runAs
            request.grant.extras = Set(with)
            let final = request
            try await connection.with { try await GrantCommands(caller: $0, printer: $1).give(final) }
        }
    }

    struct Run: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Lets somebody run commands (AWS-RunShellScript) on the nodes with a tag, or on named ones.",
            discussion: """
                The commands run as the agent does, which is root: whoever may run them may do everything there. The results of one's own commands \
                can be read, and nobody else's.

                Example:
                  muster grant run bob --on tag:role=web --reason
                """)
        @OptionGroup var connection: Connection
        @OptionGroup var terms: Terms

        func run() async throws {
            let request = try terms.request(.run)
            try await connection.with { try await GrantCommands(caller: $0, printer: $1).give(request) }
        }
    }

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Lists what was granted to whom, as the policies say it.",
            discussion: "Policies that were written otherwise are in `muster user`, `muster group` and `muster policy`.")
        @OptionGroup var connection: Connection
        @Argument(help: ArgumentHelp("A user, or group/NAME; without it, everybody.", valueName: "who")) var who: String?

        func run() async throws {
            let holder = try who.map { try Holder($0) }
            try await connection.with { try await GrantCommands(caller: $0, printer: $1).list(holder) }
        }
    }

    struct Revoke: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Takes grants back. Sessions that they allowed end within a second.",
            discussion: """
                User and key stay: `muster user delete` and `muster key deactivate` are for those.

                Example:
                  muster grant revoke alice grant-shell-role-web
                  muster grant revoke alice --all
                """)
        @OptionGroup var connection: Connection
        @Argument(help: ArgumentHelp("The user, or group/NAME.", valueName: "who")) var who: String
        @Argument(help: "The grant's name, as `muster grant list` shows it.") var grant: [String] = []
        @Flag(help: "All grants of the user or group.") var all = false

        func validate() throws {
            guard grant.isEmpty == all else { throw ValidationError("Name the grants to take back, or pass --all.") }
        }

        func run() async throws {
            let holder = try Holder(who)
            try await connection.with { try await GrantCommands(caller: $0, printer: $1).revoke(holder, names: grant, all: all) }
        }
    }
}

extension Grant.Extra: ExpressibleByArgument {}
