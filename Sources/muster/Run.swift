import ArgumentParser
import MusterCommandLine

struct Run: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Runs a command on nodes and shows each result as it arrives.",
        usage: """
            muster run (--target tag:KEY=VALUE … | --node NODE … | --all) [options] -- COMMAND …
            muster run (--target … | --node … | --all) [options] --file SCRIPT
            muster run (--target … | --node … | --all) --document NAME --param KEY=VALUE …
            """,
        discussion: """
            Quoting: your shell reads the line first, then the words after -- are joined by single spaces, and the shell of each node (sh) reads the \
            result. So `-- ls -l /tmp` needs no quotes; what the nodes' shell is to expand or to run needs them: `-- 'echo $HOSTNAME | wc -c'`. \
            A word with blanks in it falls apart unless it is quoted twice: `-- "grep 'a b' /etc/hosts"`.

            Ctrl-C asks whether to cancel the command, to leave it running or to go on watching; off a terminal it is left running.

            The command's id is on standard error as soon as the controller has accepted it. A controller that restarts meanwhile is waited for.

            Ends with 0 if all nodes succeeded, 1 if not, 2 on wrong usage or a refusal (nothing runs), 3 if it is not known whether the command was \
            accepted or how it ended (it may be running: look with `muster commands` before you send it again), 130 if interrupted.
            """)

    @OptionGroup var connection: Connection
    @Option(
        help: ArgumentHelp("Nodes by tag:KEY=VALUE[,VALUE], tag-key=KEY or InstanceIds=ID; several must all match.", valueName: "target"))
    var target: [String] = []
    @Option(help: "A node's id, Name tag or name.", completion: .nodes) var node: [String] = []
    @Flag(help: "All managed nodes; more than 20 are asked about first.") var all = false
    @Option(help: "The document to run.") var document: String = "AWS-RunShellScript"
    @Option(help: ArgumentHelp("A parameter of the document; repeat it for a list.", valueName: "key=value")) var param: [String] = []
    @Option(
        help: ArgumentHelp(
            "Run this script instead of -- COMMAND; - reads standard input. The shell of each node reads it.", valueName: "script"),
        completion: .file())
    var file: String?
    @Option(help: "Nodes at a time: a number or N% (default 50).") var maxConcurrency: String?
    @Option(help: "Errors after which no more nodes are started: a number or N% (default 0).") var maxErrors: String?
    @Option(help: "Seconds within which each node has to start (30 to 2592000, default 3600).") var timeout: Int?
    @Option(help: "A comment for the command's record.") var comment: String?
    @Flag(help: "Print the command's id and do not wait.") var detach = false
    @Flag(help: "Do not ask.") var yes = false
    @Flag(help: "Print what the nodes write while they write it, each line with its node.") var follow = false
    @Option(help: ArgumentHelp("Write each node's complete output to NODE.stdout and NODE.stderr in this folder.", valueName: "dir"))
    var save: String?
    @Argument(parsing: .postTerminator, help: "What to run; the words are joined by spaces and given to the shell.") var command: [String] =
        []

    func validate() throws {
        let ways = [!target.isEmpty, !node.isEmpty, all].filter { $0 }.count
        guard ways == 1 else { throw ValidationError("Say where to run it: exactly one of --target, --node and --all.") }
        guard command.isEmpty || file == nil else { throw ValidationError("Give one of -- COMMAND and --file.") }
        guard !command.isEmpty || file != nil || !param.isEmpty || document != "AWS-RunShellScript" else {
            throw ValidationError("Say what to run: -- COMMAND, --file SCRIPT, or --document with --param.")
        }
        guard !detach || (!follow && save == nil) else {
            throw ValidationError("--detach does not wait, so it goes with neither --follow nor --save.")
        }
        guard (command.isEmpty && file == nil) || document == "AWS-RunShellScript" else {
            throw ValidationError("-- COMMAND and --file go with AWS-RunShellScript; give other documents their parameters with --param.")
        }
    }

    func run() async throws {
        var request = CommandRequest()
        request.targets = try target.map(TargetExpression.parse)
        request.nodes = node
        request.all = all
        request.document = document
        request.parameters = try KeyValue.lists(param)
        let lines = try file.map(CommandRequest.lines(ofScript:)) ?? (command.isEmpty ? nil : [command.joined(separator: " ")])
        if let lines {
            guard request.parameters.updateValue(lines, forKey: "commands") == nil else {
                throw ValidationError("What to run is given twice: leave out --param commands=….")
            }
        }
        request.maxConcurrency = maxConcurrency
        request.maxErrors = maxErrors
        request.timeoutSeconds = timeout
        request.comment = comment
        request.detach = detach
        request.assumeYes = yes
        request.follow = follow
        request.saveDirectory = save
        let final = request
        try await connection.with { caller, printer in try await CommandRun(caller: caller, printer: printer).run(final) }
    }
}

struct Commands: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Lists the latest commands.")

    @OptionGroup var connection: Connection
    @Option(help: "How many.") var limit: Int = 20

    func run() async throws {
        try await connection.with { caller, printer in try await CommandRecords(caller: caller, printer: printer).list(limit: limit) }
    }
}

struct ShowCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "command", abstract: "Shows a command and each node's result.")

    @OptionGroup var connection: Connection
    @OptionGroup var command: CommandName
    @Option(help: ArgumentHelp("Print this node's complete standard output, byte for byte.", valueName: "node"), completion: .nodes)
    var outputOf: String?
    @Flag(help: "With --output-of: standard error instead.") var stderr = false
    @Option(help: "With --output-of: which step, if the document has several.") var step: String?
    @Flag(help: "Print what the nodes write while they write it, until the command is over.") var follow = false

    func validate() throws {
        guard outputOf != nil || (!stderr && step == nil) else { throw ValidationError("--stderr and --step go with --output-of.") }
        guard outputOf == nil || !follow else { throw ValidationError("Give one of --output-of and --follow.") }
    }

    func run() async throws {
        try await connection.with { caller, printer in
            let records = CommandRecords(caller: caller, printer: printer)
            let id = try command.id(caller)
            if let outputOf {
                return try await records.output(id, node: outputOf, standardError: stderr, step: step)
            }
            return follow ? try await records.follow(id) : try await records.show(id)
        }
    }
}

struct Wait: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Waits until a command has ended on all of its nodes.",
        discussion: """
            A controller that restarts meanwhile is waited for.

            Ends with 0 if all nodes succeeded, 1 if not, 2 on wrong usage or a refusal, 3 if it can no longer be seen how the command ends, 124 if \
            --timeout was over before.
            """)

    @OptionGroup var connection: Connection
    @OptionGroup var command: CommandName
    @Option(help: "Seconds after which waiting ends; the command goes on.") var timeout: Int?

    func run() async throws {
        try await connection.with { caller, printer in
            try await CommandRecords(caller: caller, printer: printer).wait(try command.id(caller), timeout: timeout)
        }
    }
}

struct Cancel: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Cancels a command on all nodes, or on some.")

    @OptionGroup var connection: Connection
    @Argument(help: "The command's id.", completion: .commands) var id: String
    @Option(help: "A node's id, Name tag or name.", completion: .nodes) var node: [String] = []

    func run() async throws {
        try await connection.with { caller, printer in try await CommandRecords(caller: caller, printer: printer).cancel(id, nodes: node) }
    }
}

/// Which command: its id, or the one that was sent last.
struct CommandName: ParsableArguments {
    @Argument(help: "The command's id.", completion: .commands) var id: String?
    @Flag(help: "The command that was sent last from here, instead of an id.") var last = false

    func validate() throws {
        guard (id != nil) != last else { throw ValidationError("Say which command: its id, or --last.") }
    }

    func id(_ caller: Operator) throws -> String {
        if let id { return id }
        return try LastCommand(caller).id()
    }
}
