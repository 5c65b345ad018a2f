package import MusterClient
package import MusterWire

/// Follows a command until it has ended, and hands over each node's result as it arrives.
///
/// SSM has no push, so this asks: at first often, then up to once a second; the details only when the counters say that
/// there is something new.
package struct CommandFollower: Sendable {
    package let api: APIClient
    package let commandID: String

    package init(api: APIClient, commandID: String) {
        self.api = api
        self.commandID = commandID
    }

    /// Above this number of nodes, details are read every few seconds and at the end, instead of at each change.
    private static let eagerNodes = 200

    package func follow(
        onProgress: (Command) -> Void,
        onResult: (CommandInvocation) -> Void
    ) async throws -> Command {
        var seen: Set<NodeID> = []
        var completed = 0
        var pause = Duration.milliseconds(10)
        let clock = ContinuousClock()
        var lastDetails = clock.now
        while true {
            let command = try await self.command()
            onProgress(command)
            let ended = ![.pending, .inProgress, .cancelling].contains(command.status)
            let due = command.targetCount <= CommandFollower.eagerNodes || clock.now - lastDetails > .seconds(3)
            if ended || (command.completedCount > completed && due) {
                for invocation in try await invocations() where invocation.hasEnded && seen.insert(invocation.instanceID).inserted {
                    onResult(invocation)
                }
                completed = command.completedCount
                lastDetails = clock.now
            }
            if ended { return command }
            try await Task.sleep(for: pause)
            pause = min(pause * 3 / 2, .seconds(1))
        }
    }

    package func command() async throws -> Command {
        guard let command = try await api.call(ListCommands.self, .init(commandID: commandID)).commands.first else {
            throw APIError.invalidCommandID("There is no command \(commandID). `muster commands` lists the latest ones.")
        }
        return command
    }

    package func invocations(details: Bool = true) async throws -> [CommandInvocation] {
        var all: [CommandInvocation] = []
        var token: String?
        repeat {
            let page = try await api.call(
                ListCommandInvocations.self, .init(commandID: commandID, maxResults: 50, nextToken: token, details: details))
            all += page.commandInvocations
            token = page.nextToken
        } while token != nil && token != ""
        return all
    }
}

extension CommandInvocation {
    package var hasEnded: Bool { ![.pending, .inProgress, .delayed, .cancelling].contains(status) }
}
