import MusterClient
package import MusterWire

/// `muster commands`, `command` and `cancel`. Each returns the exit status.
package struct CommandRecords: Sendable {
    let caller: Operator
    let printer: Printer

    package init(caller: Operator, printer: Printer) {
        self.caller = caller
        self.printer = printer
    }

    package func list(limit: Int) async throws -> Int32 {
        guard limit > 0 else { throw CommandLineError("--limit takes a number above 0.") }
        var commands: [Command] = []
        var token: String?
        repeat {
            let page = try await caller.api.call(ListCommands.self, .init(maxResults: min(50, limit - commands.count), nextToken: token))
            commands += page.commands
            token = page.nextToken
        } while token != nil && token != "" && commands.count < limit
        var table = Table(
            ["COMMAND", "REQUESTED", "DOCUMENT", "STATUS", "DONE", "FAILED", "COMMENT"],
            yielding: ["COMMENT", "DOCUMENT", "REQUESTED"])
        for command in commands {
            table.add([
                command.commandID.rawValue, command.requestedDateTime.iso8601, command.documentName, command.statusDetails,
                "\(command.completedCount)/\(command.targetCount)", "\(command.errorCount)", command.comment,
            ])
        }
        try printer.data(commands, table)
        return 0
    }

    package func show(_ id: String) async throws -> Int32 {
        let follower = CommandFollower(api: caller.api, commandID: id, reconnection: Reconnection(printer, firstPatience: .zero))
        let command = try await follower.command()
        let invocations = try await follower.invocations()
        let names = await names()
        if printer.format != .table {
            let report = CommandReport(command: command, invocations: invocations)
            try printer.structured(report, report.table(names: names))
            return 0
        }
        for invocation in invocations { printer.out(CommandRun.describe(invocation, name: names[invocation.instanceID])) }
        printer.out(CommandRun.summary(command, invocations))
        return 0
    }

    /// Waits until a command has ended on all of its nodes, and says how.
    ///
    /// - Returns: 0 all succeeded, 1 some did not, 3 when it cannot be seen any more, 124 when `timeout` seconds were over before.
    package func wait(_ id: String, timeout: Int?) async throws -> Int32 {
        if let timeout, timeout < 1 { throw CommandLineError("--timeout takes a number of seconds above 0.") }
        return try await watching(id) { try await wait(id, timeout: timeout, $0) }
    }

    /// Who waits for a controller that restarts does so for a minute before its first answer, and then as long as it takes.
    private static let firstPatience = Duration.seconds(60)

    /// What ends the watching of a command that is known, and is no answer about it, leaves open how it ends.
    private func watching(_ id: String, _ body: (Reconnection) async throws -> Int32) async throws -> Int32 {
        let reconnection = Reconnection(printer, firstPatience: Self.firstPatience)
        do {
            _ = try await CommandFollower(api: caller.api, commandID: id, reconnection: reconnection).command()
        } catch let error where Reconnection.isPassing(error) {
            return CommandRun(caller: caller, printer: printer).lostSight(of: id, error)
        }
        do {
            return try await body(reconnection)
        } catch let error where error is APIError || error is ClientError {
            return CommandRun(caller: caller, printer: printer).lostSight(of: id, error)
        }
    }

    private func wait(_ id: String, timeout: Int?, _ reconnection: Reconnection) async throws -> Int32 {
        let follower = CommandFollower(api: caller.api, commandID: id, reconnection: reconnection)
        let awaited = AwaitedReport(caller: caller, printer: printer, names: await names())
        let ended = try await withThrowingTaskGroup(of: Command?.self) { group -> Command? in
            group.addTask {
                try await follower.follow {
                    printer.progress(CommandRun.progress($0, awaited.words))
                } onResult: { _ in
                } onAwaited: {
                    await awaited.take($0)
                }
            }
            if let timeout {
                group.addTask {
                    try await Task.sleep(for: .seconds(timeout))
                    return nil
                }
            }
            defer { group.cancelAll() }
            return try await group.next().flatMap { $0 }
        }
        printer.progress("")
        guard let command = ended else {
            printer.note("Command \(id) still goes on after \(timeout ?? 0) s. Look at it with: muster command \(id)")
            return 124
        }
        let invocations = try await follower.invocations()
        if printer.format == .table {
            printer.out(CommandRun.summary(command, invocations))
        } else {
            let report = CommandReport(command: command, invocations: invocations)
            try printer.structured(report, report.table(names: await names()))
        }
        return command.status == .success ? 0 : 1
    }

    /// Nothing, for who may not see them: what waits or was asked for by id needs none.
    private func names() async -> [NodeID: String] {
        (try? await NodeDirectory.load(caller.api)).map(CommandRun.names) ?? [:]
    }

    /// The complete bytes of one stream, as they are.
    package func output(_ id: String, node word: String, standardError: Bool, step: String?) async throws -> Int32 {
        let stream = standardError ? OutputStream.standardError : .standardOutput
        guard let command = CommandID(id) else { throw CommandLineError("\(id) is no command id.") }
        let node: NodeID
        if let exact = NodeID(word) {
            node = exact
        } else {
            node = try await NodeDirectory.load(caller.api).node(named: word, reported: .told(printer.note)).instanceID
        }
        let reconnection = Reconnection(printer, firstPatience: .zero)
        let reader = OutputReader(api: caller.api, reconnection: reconnection)
        let known = try await reader.outputs(command, node)
        let found = known.outputs.filter { $0.stream == stream && (step == nil || $0.step == step) }
        guard let output = found.first else { throw CommandLineError("The command has no such step.") }
        guard found.count == 1 else {
            throw CommandLineError("The command has several steps: name one of \(found.map(\.step).joined(separator: ", ")) with --step.")
        }
        try await reader.copy(output, command, node) { printer.bytes($0) }
        if let words = OutputReader.words(output, hasEnded: known.ended) {
            printer.note("muster: \(word), \(output.step), \(stream): \(words)")
            if output.state == .unknown, known.ended {
                let all = try await CommandFollower(api: caller.api, commandID: id, reconnection: reconnection).invocations()
                for invocation in all where invocation.instanceID == node { printer.note(CommandRun.describe(invocation, name: nil)) }
            }
        }
        return output.state == .complete ? 0 : 1
    }

    /// Shows what its nodes write while they write it, until it is over.
    package func follow(_ id: String) async throws -> Int32 {
        try await watching(id) {
            try await CommandRun(caller: caller, printer: printer).watch(id, names: await names(), follows: true, reconnection: $0)
        }
    }

    package func cancel(_ id: String, nodes: [String]) async throws -> Int32 {
        let directory = nodes.isEmpty ? nil : try await NodeDirectory.load(caller.api)
        let ids = try directory.map { directory in
            try nodes.map { try directory.node(named: $0, reported: .told(printer.note)).instanceID.rawValue }
        }
        _ = try await caller.api.call(CancelCommand.self, .init(commandID: id, instanceIDs: ids))
        printer.note("Asked \(id) to be cancelled\(ids.map { " on \($0.joined(separator: ", "))" } ?? "").")
        return 0
    }
}
