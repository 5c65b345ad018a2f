package import MusterClient
package import MusterWire

/// Follows a command until it has ended, and hands over each node's result as it arrives.
///
/// SSM has no push, so this asks: at first often, then up to once a second; the details only when the counters say that
/// there is something new.
package struct CommandFollower: Sendable {
    package let api: APIClient
    package let commandID: String
    private let reconnection: Reconnection

    package init(api: APIClient, commandID: String, reconnection: Reconnection) {
        self.api = api
        self.commandID = commandID
        self.reconnection = reconnection
    }

    /// Above this number of nodes, details are read every few seconds and at the end, instead of at each change.
    private static let eagerNodes = 200
    /// How often is looked who has not ended; of many nodes only when it is few of them.
    private static let lookingForAwaited = Duration.seconds(3)
    private static let awaitedOfMany = 20

    /// - Parameter onAwaited: those that have not ended, while it takes long.
    package func follow(
        onProgress: (Command) -> Void,
        onResult: (CommandInvocation) -> Void,
        onAwaited: ([CommandInvocation]) async -> Void = { _ in }
    ) async throws -> Command {
        var seen: Set<NodeID> = []
        var completed = 0
        var pause = Duration.milliseconds(10)
        let clock = ContinuousClock()
        var lastDetails = clock.now
        var lastAwaited = clock.now
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
            let isFew = command.targetCount <= Self.eagerNodes || command.targetCount - command.completedCount <= Self.awaitedOfMany
            if isFew, command.targetCount > 0, clock.now - lastAwaited > Self.lookingForAwaited {
                await onAwaited(try await invocations(details: false).filter { !$0.hasEnded })
                lastAwaited = clock.now
            }
            try await Task.sleep(for: pause)
            pause = min(pause * 3 / 2, .seconds(1))
        }
    }

    package func command() async throws -> Command {
        let found = try await reconnection { try await api.call(ListCommands.self, .init(commandID: commandID)).commands.first }
        guard let command = found else {
            throw APIError.invalidCommandID("There is no command \(commandID). `muster commands` lists the latest ones.")
        }
        return command
    }

    package func invocations(details: Bool = true) async throws -> [CommandInvocation] {
        var all: [CommandInvocation] = []
        var token: String?
        repeat {
            let next = token
            let page = try await reconnection {
                try await api.call(
                    ListCommandInvocations.self, .init(commandID: commandID, maxResults: 50, nextToken: next, details: details))
            }
            all += page.commandInvocations
            token = page.nextToken
        } while token != nil && token != ""
        return all
    }
}

extension CommandInvocation {
    package var hasEnded: Bool { ![.pending, .inProgress, .delayed, .cancelling].contains(status) }
}
