import Glibc
import MusterClient
package import MusterWire
import NIOConcurrencyHelpers

/// What `muster run` was asked to do. [value]
package struct CommandRequest: Sendable {
    package var targets: [Target] = []
    package var nodes: [String] = []
    package var all = false
    package var document = "AWS-RunShellScript"
    package var parameters: [String: [String]] = [:]
    package var maxConcurrency: String?
    package var maxErrors: String?
    package var timeoutSeconds: Int?
    package var comment: String?
    package var detach = false
    package var assumeYes = false
    /// Print what the nodes write while they write it.
    package var follow = false
    /// A folder for one file a node and stream.
    package var saveDirectory: String?

    package init() {}

    /// Beyond what a controller takes; it says more exactly what it does not.
    private static let maximumScript = 1 << 20

    /// A script as the lines of a document's `commands`; `-` is standard input.
    package static func lines(ofScript path: String) throws -> [String] {
        let file = path == "-" ? dup(STDIN_FILENO) : open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { throw CommandLineError("Cannot read the script \(path): \(String(cString: strerror(errno))).") }
        defer { close(file) }
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 64 << 10)
        while bytes.count <= maximumScript {
            let count = read(file, &buffer, buffer.count)
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw CommandLineError("Cannot read the script \(path): \(String(cString: strerror(errno))).") }
            if count == 0 { break }
            bytes += buffer[..<count]
        }
        guard bytes.count <= maximumScript else {
            throw CommandLineError("The script \(path) is larger than 1 MiB. Copy it with `muster cp` and run it there.")
        }
        return try lines(bytes, of: path)
    }

    static func lines(_ bytes: [UInt8], of path: String) throws -> [String] {
        guard !bytes.contains(0), let text = String(validating: bytes, as: UTF8.self) else {
            throw CommandLineError("The script \(path) is no text in UTF-8. Copy programs with `muster cp` and run them there.")
        }
        // By bytes: to Swift, CR LF is one character.
        var lines = text.utf8.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false).map { String($0) ?? "" }
        if lines.last == "" { lines.removeLast() }
        guard !lines.isEmpty else { throw CommandLineError("The script \(path) is empty.") }
        return lines
    }
}

/// Sends a command, shows each node's result as it arrives, and says how it ended.
package struct CommandRun: Sendable {
    let caller: Operator
    let printer: Printer

    package init(caller: Operator, printer: Printer) {
        self.caller = caller
        self.printer = printer
    }

    /// What was asked for may be done or not: the command may be running, and must not simply be sent again.
    package static let unknown: Int32 = 3
    /// The controller knows the first answer to a call for 15 minutes; a restart is over long before.
    private static let patience = Duration.seconds(600)

    /// - Returns: the exit status: 0 all succeeded, 1 some did not, 2 not confirmed, 3 unknown, 130 interrupted.
    package func run(_ request: CommandRequest) async throws -> Int32 {
        var input = SendCommand.Input(documentName: request.document)
        input.parameters = request.parameters
        input.maxConcurrency = request.maxConcurrency
        input.maxErrors = request.maxErrors
        input.timeoutSeconds = request.timeoutSeconds
        input.comment = request.comment

        // Names for the results; on --all also the frozen set of targets.
        let directory = try await NodeDirectory.load(caller.api)
        if request.all {
            guard !directory.nodes.isEmpty else {
                throw CommandLineError("There are no managed nodes yet. `muster enroll` prints how to add one.")
            }
            if directory.nodes.count > 20, !request.assumeYes {
                guard let answer = printer.ask("Run this on all \(directory.nodes.count) managed nodes? [y/N]") else {
                    throw CommandLineError("--all means \(directory.nodes.count) managed nodes here; pass --yes to confirm that.")
                }
                guard ["y", "yes"].contains(answer.lowercased()) else { return 2 }
            }
            let ids = directory.nodes.map(\.instanceID.rawValue)
            // A call carries at most 50 ids; beyond that the controller resolves and freezes the set itself.
            if ids.count <= 50 { input.instanceIDs = ids } else { input.targets = [Target(key: "InstanceIds", values: ["*"])] }
        } else if !request.nodes.isEmpty {
            input.instanceIDs = try request.nodes.map { try directory.node(named: $0, reported: .refused).instanceID.rawValue }
        } else {
            input.targets = request.targets
        }

        // Before anything runs: a folder that cannot be written to is better known now.
        let save = try request.saveDirectory.map { try OutputFiles(directory: $0) }
        // From here on there may be a command: an interruption has to name it.
        Signals.hold()
        defer { Signals.release() }
        let reconnection = Reconnection(printer)
        let sent: (command: Command, wasInterrupted: Bool)?
        do {
            sent = try await send(input, reconnection)
        } catch let error where Self.mayHaveBeenAccepted(error) {
            printer.note(
                "muster: \(Advice.words(for: error)) It is not known whether the command was accepted; it may be running. "
                    + "`muster commands` lists the latest; look there before you send it again.")
            return Self.unknown
        }
        guard let (command, wasInterrupted) = sent else {
            printer.note("Interrupted while the command was being sent: it may have been accepted. `muster commands` lists the latest.")
            return 130
        }
        LastCommand(caller).remember(command.commandID)
        if request.detach {
            if printer.format == .table {
                printer.out("Command \(command.commandID)")
            } else {
                try printer.structured(command, CommandReport(command: command, invocations: []).summary)
            }
            return 0
        }
        // Whatever becomes of this process, of the controller or of the way there: by its id the command is found again.
        printer.note("Command \(command.commandID)")
        let names = CommandRun.names(directory)
        let id = command.commandID.rawValue
        let status: Int32
        do {
            status = try await watch(
                id, names: names, follows: request.follow, wasInterrupted: wasInterrupted, reconnection: reconnection)
        } catch let error where !(error is CancellationError) {
            return lostSight(of: id, error)
        }
        if let save {
            let ids = try await CommandFollower(api: caller.api, commandID: id, reconnection: reconnection).invocations(details: false).map(
                \.instanceID)
            let count = try await save.save(OutputReader(api: caller.api, reconnection: reconnection), command.commandID, ids, names)
            printer.note("Wrote \(count) files below \(request.saveDirectory ?? "").")
        }
        return status
    }

    /// Why a command that was accepted is not watched any more; it goes on.
    func lostSight(of id: String, _ error: any Error) -> Int32 {
        printer.note(
            "muster: \(Advice.words(for: error)) The command \(id) may be running. Look at it with: muster command \(id)")
        return Self.unknown
    }

    /// Whether a refusal is none: what was sent may have arrived, and no answer came.
    static func mayHaveBeenAccepted(_ error: any Error) -> Bool {
        switch error {
        case let error as ClientError: error.mayHaveArrived
        case let error as APIError: error.status >= 500
        default: false
        }
    }

    /// Nil when it was interrupted and no answer came within a few seconds after that.
    private func send(_ input: SendCommand.Input, _ reconnection: Reconnection) async throws -> (command: Command, wasInterrupted: Bool)? {
        try await withThrowingTaskGroup(of: SendStep.self) { group in
            group.addTask {
                .answered(
                    try await caller.api.call(SendCommand.self, input, patience: Self.patience) { reconnection.lost($0) }.command)
            }
            group.addTask {
                for await _ in Signals.stream() { break }
                return .interrupted
            }
            defer { group.cancelAll() }
            var wasInterrupted = false
            while let step = try await group.next() {
                switch step {
                case .answered(let command): return (command, wasInterrupted)
                case .interrupted:
                    wasInterrupted = true
                    group.addTask {
                        try await Task.sleep(for: .seconds(3))
                        return .givenUp
                    }
                case .givenUp: return nil
                }
            }
            return nil
        }
    }

    private enum SendStep: Sendable {
        case answered(Command)
        case interrupted
        case givenUp
    }

    /// Follows a command that runs already, as `run` does.
    package func watch(
        _ commandID: String, names: [NodeID: String], follows: Bool = false, wasInterrupted: Bool = false, reconnection: Reconnection
    ) async throws -> Int32 {
        Signals.hold()
        defer { Signals.release() }
        var isInterrupted = wasInterrupted
        let follower = CommandFollower(api: caller.api, commandID: commandID, reconnection: reconnection)
        // Outlives an interruption: what was not shown before it is shown after it.
        let reported = Reported()
        let shown = Reported()
        let awaited = AwaitedReport(caller: caller, printer: printer, names: names)
        while true {
            let outcome =
                isInterrupted
                ? .interrupted
                : try await withThrowingTaskGroup(of: Outcome.self) { group -> Outcome in
                    group.addTask {
                        var invocations: [CommandInvocation] = []
                        let command = try await follower.follow { command in
                            printer.progress(CommandRun.progress(command, awaited.words))
                        } onResult: { invocation in
                            invocations.append(invocation)
                            if reported.isNew(invocation.instanceID), printer.format == .table, !follows {
                                printer.progress("")
                                printer.out(CommandRun.describe(invocation, name: names[invocation.instanceID]))
                            }
                        } onAwaited: {
                            await awaited.take($0)
                        }
                        return .ended(command, invocations)
                    }
                    group.addTask {
                        for await _ in Signals.stream() { return .interrupted }
                        return .interrupted
                    }
                    if follows {
                        group.addTask {
                            try await LiveOutput(
                                api: caller.api, commandID: commandID, names: names, printer: printer, reconnection: reconnection,
                                onShown: { _ = shown.isNew($0) }
                            ).follow()
                            return .followed
                        }
                    }
                    defer { group.cancelAll() }
                    var ended: Outcome?
                    var isFollowed = !follows
                    while let outcome = try await group.next() {
                        switch outcome {
                        case .ended: ended = outcome
                        case .followed: isFollowed = true
                        case .interrupted: return outcome
                        }
                        if let ended, isFollowed { return ended }
                    }
                    return .interrupted
                }
            switch outcome {
            case .ended(let command, let invocations):
                printer.progress("")
                if printer.format == .table {
                    if follows {
                        // Among the lines of all nodes nobody sees which one failed, and why it wrote nothing.
                        for invocation in invocations where invocation.status != .success {
                            printer.note(
                                CommandRun.describe(
                                    invocation, name: names[invocation.instanceID], withOutput: shown.isNew(invocation.instanceID)))
                        }
                    }
                    printer.out(CommandRun.summary(command, invocations))
                } else {
                    let report = CommandReport(command: command, invocations: invocations)
                    try printer.structured(report, report.table(names: names))
                }
                return command.status == .success ? 0 : 1
            case .interrupted, .followed:
                // At the question Ctrl-C means what it always means.
                Signals.release()
                guard
                    let answer = printer.ask(
                        "\nInterrupted. Cancel the command on all nodes (c), leave it running (l) or go on watching (w)? [l]")
                else {
                    printer.note(
                        "The command goes on. Look at it with: muster command \(commandID)   Cancel it with: muster cancel \(commandID)")
                    return 130
                }
                switch answer.lowercased() {
                case "c", "cancel":
                    _ = try await caller.api.call(CancelCommand.self, .init(commandID: commandID))
                    printer.note("Asked \(commandID) to be cancelled.")
                    return 130
                case "w", "watch":
                    Signals.hold()
                    isInterrupted = false
                default:
                    printer.note(
                        "The command goes on. Look at it with: muster command \(commandID)   Cancel it with: muster cancel \(commandID)")
                    return 130
                }
            }
        }
    }

    /// The nodes of which something has been shown.
    private final class Reported: Sendable {
        private let nodes = NIOLockedValueBox<Set<NodeID>>([])

        func isNew(_ node: NodeID) -> Bool { nodes.withLockedValue { $0.insert(node).inserted } }
    }

    private enum Outcome: Sendable {
        case ended(Command, [CommandInvocation])
        case interrupted
        /// Everything that the nodes wrote has been shown.
        case followed
    }

    static func names(_ directory: NodeDirectory) -> [NodeID: String] {
        directory.givenNames
    }

    static func progress(_ command: Command, _ awaited: String? = nil) -> String {
        "\(command.completedCount) of \(command.targetCount) nodes ended, \(command.errorCount) failed  \(command.statusDetails)"
            + (awaited.map { ", waits for \($0)" } ?? "")
    }

    /// One node's result: who, how it ended, and what it wrote, each line indented; and the reason where the node had none to write.
    package static func describe(_ invocation: CommandInvocation, name: String?, withOutput: Bool = true) -> String {
        var line = invocation.instanceID.rawValue
        if let name { line += " (\(Table.printable(name)))" }
        line += "  \(invocation.statusDetails)"
        var output = ""
        for plugin in invocation.commandPlugins {
            if plugin.responseCode > 0 {
                line += ", exit code \(plugin.responseCode)"
                if invocation.commandPlugins.count > 1 { line += " of \(Table.printable(plugin.name))" }
            }
            if withOutput { output += plugin.output }
        }
        let trace = invocation.traceOutput
        if !trace.isEmpty, !output.contains(trace) {
            if !output.isEmpty, !output.hasSuffix("\n") { output += "\n" }
            output += trace
        }
        guard !output.isEmpty else { return line }
        // Without output of its own, the title of the error part stands first, after an empty line.
        let lines = DisplayText.outputLines(output).drop(while: \.isEmpty).map { "    " + $0 }
        return line + "\n" + (lines.last == "    " ? lines.dropLast() : lines[...]).joined(separator: "\n")
    }

    static func summary(_ command: Command, _ invocations: [CommandInvocation]) -> String {
        "\(command.statusDetails): \(CommandTally(invocations, targets: command.targetCount).words). Command \(command.commandID)"
    }
}

/// A command and its invocations as one JSON object.
package struct CommandReport: Encodable, Sendable {
    let command: Command
    let invocations: [CommandInvocation]

    package init(command: Command, invocations: [CommandInvocation]) {
        self.command = command
        self.invocations = invocations
    }

    /// A row for each node.
    func table(names: [NodeID: String]) -> Table {
        var table = Table(["NODE", "NAME", "STATUS", "EXIT CODE", "OUTPUT"])
        for invocation in invocations {
            let code = invocation.commandPlugins.map(\.responseCode).last { $0 >= 0 }
            table.add([
                invocation.instanceID.rawValue, names[invocation.instanceID] ?? "", invocation.statusDetails, code.map { "\($0)" } ?? "",
                invocation.commandPlugins.map(\.output).joined(),
            ])
        }
        return table
    }

    /// The command alone.
    var summary: Table {
        var table = Table(["COMMAND", "REQUESTED", "DOCUMENT", "STATUS"])
        table.add([command.commandID.rawValue, command.requestedDateTime.iso8601, command.documentName, command.statusDetails])
        return table
    }

    private enum CodingKeys: String, CodingKey { case invocations = "Invocations" }

    package func encode(to encoder: any Encoder) throws {
        try command.encode(to: encoder)
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(invocations, forKey: .invocations)
    }
}
