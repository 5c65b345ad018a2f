import ArgumentParser
import MusterCommandLine

struct Shell: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Opens a shell on a node.",
        discussion: """
            On a terminal, after a newline: ~. ends the session, ~^Z suspends muster, ~? lists these. If the connection is lost, muster connects \
            again and the session goes on where it was. Without a terminal, what is read is typed and what is shown is written.

            Examples:
              muster shell web1
              muster shell mi-0123456789abcdef0 --reason "ticket 4711"
              muster shell web1 --document AWS-StartInteractiveCommand --param command=top

            Ends with the shell's own status; 255 if the session ended before the shell did; 2 if it was refused.
            """)

    @OptionGroup var connection: SessionConnection
    @Argument(help: "A node's id, Name tag or name.", completion: .nodes) var node: String
    @Option(help: "The session document, instead of the default shell.") var document: String?
    @Option(help: ArgumentHelp("A parameter of the document; repeat it for a list.", valueName: "key=value")) var param: [String] = []
    @Option(help: "Why, for the record.") var reason: String?

    func run() async throws {
        let request = SessionRequest(node: node, document: document, parameters: try KeyValue.lists(param), reason: reason)
        try await connection.with { try await AttachedSession(.shell).run(request, by: $0) }
    }
}

struct Exec: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Runs one command on a node, with this terminal's input, output and errors.",
        usage: "muster exec [--profile NAME] [--reason TEXT] [-n | -t] NODE -- COMMAND [ARGUMENT …]",
        discussion: """
            The words are executed as they are, without a shell: what needs one is given to one. Bytes go through unchanged in both \
            directions, so pipes work. Ctrl-C interrupts the command there; a third one ends the session. With -t the command gets a terminal, as \
            for `muster shell`: what is full-screen or asks for passwords needs it.

            Examples:
              muster exec web1 -- systemctl status nginx
              muster exec web1 -- sh -c 'df -h | sort'
              tar c site | muster exec web1 -- tar x -C /srv
              muster exec db1 -- pg_dump shop > shop.sql
              muster exec -t web1 -- top

            Ends with the command's own status: 127 if there is no such command, 128 and the number if a signal ended it; 255 if the session \
            ended before the command did; 2 if it was refused.
            """)

    @OptionGroup var connection: SessionConnection
    @Argument(help: "A node's id, Name tag or name.", completion: .nodes) var node: String
    @Option(help: "Why, for the record.") var reason: String?
    @Flag(name: [.customShort("n"), .long], help: "Give the command no input.") var noInput = false
    @Flag(name: [.customShort("t"), .customLong("tty")], help: "Give the command a terminal; this one's, if there is one.") var terminal =
        false
    @Argument(parsing: .postTerminator, help: "What to run, and its arguments.") var command: [String] = []

    func validate() throws {
        guard !noInput || !terminal else { throw ValidationError("Give one of -n and -t: a terminal is input.") }
        guard !command.isEmpty else { throw ValidationError("Say what to run: muster exec \(node) -- COMMAND.") }
    }

    func run() async throws {
        let request = SessionRequest(
            node: node, document: terminal ? "AWS-StartInteractiveCommand" : "AWS-StartNonInteractiveCommand",
            parameters: ["command": [ShellWords.join(command)]], reason: reason)
        try await connection.with {
            try await AttachedSession(terminal ? .shell : .command, takesInput: !noInput).run(request, by: $0)
        }
    }
}

/// Sessions print what they carry, so they have no format.
struct SessionConnection: ParsableArguments {
    @Option(help: "The AWS profile that names controller and keys.")
    var profile: String?

    func with(_ body: (Operator) async throws -> Int32) async throws {
        let status = try await Operator.with(profile: profile, body)
        if status != 0 { throw ExitCode(status) }
    }
}
