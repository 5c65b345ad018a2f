package import MusterWire
import Dispatch
import Glibc
import MusterClient

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
}

/// Sends a command, shows each node's result as it arrives, and says how it ended.
package struct CommandRun: Sendable {
    let caller: Operator
    let printer: Printer

    package init(caller: Operator, printer: Printer) {
        self.caller = caller
        self.printer = printer
    }

    /// - Returns: the exit status: 0 all succeeded, 1 some did not, 2 not confirmed, 130 interrupted.
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
            guard !directory.nodes.isEmpty else { throw CommandLineError("There are no managed nodes yet. `muster enroll` prints how to add one.") }
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
            input.instanceIDs = try request.nodes.map { try directory.node(named: $0).instanceID.rawValue }
        } else {
            input.targets = request.targets
        }

        let command = try await caller.api.call(SendCommand.self, input).command
        if request.detach {
            if printer.format == .json { try printer.json(command) } else { printer.out("Command \(command.commandID)") }
            return 0
        }
        let names = CommandRun.names(directory)
        // Before anything runs: a folder that cannot be written to is better known now.
        let save = try request.saveDirectory.map { try OutputFiles(directory: $0) }
        let status = try await watch(command.commandID.rawValue, names: names, follows: request.follow)
        if let save {
            let ids = try await CommandFollower(api: caller.api, commandID: command.commandID.rawValue).invocations(details: false).map(\.instanceID)
            let count = try await save.save(OutputReader(api: caller.api), command.commandID, ids, names)
            printer.note("Wrote \(count) files below \(request.saveDirectory ?? "").")
        }
        return status
    }

    /// Follows a command that runs already, as `run` does.
    package func watch(_ commandID: String, names: [NodeID: String], follows: Bool = false) async throws -> Int32 {
        let follower = CommandFollower(api: caller.api, commandID: commandID)
        var reported: Set<NodeID> = []
        while true {
            let already = reported
            let outcome = try await withThrowingTaskGroup(of: Outcome.self) { group -> Outcome in
                group.addTask {
                    var fresh: Set<NodeID> = []
                    var invocations: [CommandInvocation] = []
                    let command = try await follower.follow { command in
                        printer.progress(CommandRun.progress(command))
                    } onResult: { invocation in
                        invocations.append(invocation)
                        if !already.contains(invocation.instanceID) {
                            fresh.insert(invocation.instanceID)
                            if printer.format == .table, !follows {
                                printer.progress("")
                                printer.out(CommandRun.describe(invocation, name: names[invocation.instanceID]))
                            }
                        }
                    }
                    return .ended(command, invocations)
                }
                group.addTask {
                    for await _ in Interrupts.stream() { return .interrupted }
                    return .interrupted
                }
                if follows {
                    group.addTask {
                        try await LiveOutput(api: caller.api, commandID: commandID, names: names, printer: printer).follow()
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
                if printer.format == .json {
                    try printer.json(CommandReport(command: command, invocations: invocations))
                } else {
                    printer.out(CommandRun.summary(command))
                }
                return command.status == .success ? 0 : 1
            case .interrupted, .followed:
                guard let answer = printer.ask("\nInterrupted. Cancel the command on all nodes (c), leave it running (l) or go on watching (w)? [l]") else {
                    printer.note("The command goes on. Look at it with: muster command \(commandID)   Cancel it with: muster cancel \(commandID)")
                    return 130
                }
                switch answer.lowercased() {
                case "c", "cancel":
                    _ = try await caller.api.call(CancelCommand.self, .init(commandID: commandID))
                    printer.note("Asked \(commandID) to be cancelled.")
                    return 130
                case "w", "watch":
                    reported.formUnion(try await follower.invocations(details: false).filter(\.hasEnded).map(\.instanceID))
                default:
                    printer.note("The command goes on. Look at it with: muster command \(commandID)   Cancel it with: muster cancel \(commandID)")
                    return 130
                }
            }
        }
    }

    private enum Outcome: Sendable {
        case ended(Command, [CommandInvocation])
        case interrupted
        /// Everything that the nodes wrote has been shown.
        case followed
    }

    static func names(_ directory: NodeDirectory) -> [NodeID: String] {
        var names: [NodeID: String] = [:]
        for node in directory.nodes {
            names[node.instanceID] = node.tags?.first { $0.key == "Name" }?.value ?? node.name ?? node.computerName
        }
        return names
    }

    static func progress(_ command: Command) -> String {
        "\(command.completedCount) of \(command.targetCount) nodes done, \(command.errorCount) failed  \(command.statusDetails)"
    }

    /// One node's result: who, how it ended, and what it wrote, each line indented.
    package static func describe(_ invocation: CommandInvocation, name: String?) -> String {
        var line = invocation.instanceID.rawValue
        if let name { line += " (\(Table.printable(name)))" }
        line += "  \(invocation.statusDetails)"
        var output = ""
        for plugin in invocation.commandPlugins {
            if plugin.responseCode > 0 { line += ", exit code \(plugin.responseCode)" }
            output += plugin.output
        }
        guard !output.isEmpty else { return line }
        let lines = output.split(separator: "\n", omittingEmptySubsequences: false).map { "    " + Table.terminalSafe(String($0)) }
        return line + "\n" + (lines.last == "    " ? lines.dropLast() : lines[...]).joined(separator: "\n")
    }

    static func summary(_ command: Command) -> String {
        "\(command.statusDetails): \(command.completedCount) of \(command.targetCount) nodes done, \(command.errorCount) failed. Command \(command.commandID)"
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

    private enum CodingKeys: String, CodingKey { case invocations = "Invocations" }

    package func encode(to encoder: any Encoder) throws {
        try command.encode(to: encoder)
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(invocations, forKey: .invocations)
    }
}

/// Ctrl-C as a stream of events, while somebody listens; otherwise it ends the process as usual.
enum Interrupts {
    static func stream() -> AsyncStream<Void> {
        AsyncStream { continuation in
            signal(SIGINT, SIG_IGN)
            let source = SignalSource(SIGINT) { continuation.yield() }
            continuation.onTermination = { _ in
                source.cancel()
                signal(SIGINT, SIG_DFL)
            }
        }
    }
}

/// A signal as a Dispatch source. A Dispatch source may be cancelled from any thread (dispatch_source_cancel(3)), which its
/// Swift type on Linux does not say.
private final class SignalSource: @unchecked Sendable {
    private let source: any DispatchSourceSignal

    init(_ number: Int32, _ handler: @escaping @Sendable () -> Void) {
        source = DispatchSource.makeSignalSource(signal: number)
        source.setEventHandler(handler: handler)
        source.resume()
    }

    func cancel() { source.cancel() }
}
