internal import FoundationEssentials
package import MusterWire
internal import NIOConcurrencyHelpers

/// Which commands are being watched, and who waits for news of them. Nothing here outlives its watchers by more than a minute.
package final class OutputFollowers: Sendable {
    private struct Followed {
        var version: UInt64 = 0
        var seen: ContinuousClock.Instant
        /// When each node has to be asked again to upload while its steps run.
        var leases: [NodeID: ContinuousClock.Instant] = [:]
        var waiters: [UUID: CheckedContinuation<Void, Never>] = [:]
    }

    private static let maximumCommands = 1_024
    private static let forgottenAfter = Duration.seconds(60)
    static let leaseSeconds = 60

    private let commands = NIOLockedValueBox<[CommandID: Followed]>([:])

    package init() {}

    /// Nil when too many commands are being watched.
    func version(_ command: CommandID) -> UInt64? {
        let now = ContinuousClock.now
        return commands.withLockedValue { commands in
            commands = commands.filter { !$0.value.waiters.isEmpty || now - $0.value.seen < Self.forgottenAfter }
            if commands[command] == nil, commands.count >= Self.maximumCommands {
                // Who asks once for each of a thousand commands keeps nobody else from watching one.
                guard let oldest = commands.filter({ $0.value.waiters.isEmpty }).min(by: { $0.value.seen < $1.value.seen })?.key else {
                    return nil
                }
                commands.removeValue(forKey: oldest)
            }
            commands[command, default: Followed(seen: now)].seen = now
            return commands[command]?.version
        }
    }

    package func changed(_ command: CommandID) {
        let waiters = commands.withLockedValue { commands -> [CheckedContinuation<Void, Never>] in
            guard let followed = commands[command] else { return [] }
            commands[command]?.version += 1
            commands[command]?.waiters = [:]
            return Array(followed.waiters.values)
        }
        for waiter in waiters { waiter.resume() }
    }

    /// Those of `nodes` that have to be told (again) now.
    func due(_ nodes: [NodeID], of command: CommandID) -> [NodeID] {
        let now = ContinuousClock.now
        return commands.withLockedValue { commands in
            guard let followed = commands[command] else { return [] }
            let due = nodes.filter { (followed.leases[$0] ?? now) <= now }
            for node in due { commands[command]?.leases[node] = now + .seconds(Self.leaseSeconds / 3) }
            return due
        }
    }

    /// A node that comes back knows nothing of who watches.
    package func connected(_ node: NodeID) {
        let affected = commands.withLockedValue { commands in
            let affected = commands.keys.filter { commands[$0]?.leases[node] != nil }
            for command in affected { commands[command]?.leases.removeValue(forKey: node) }
            return affected
        }
        for command in affected { changed(command) }
    }

    /// Returns at the next change after `version`, or when the caller is cancelled.
    func wait(_ command: CommandID, after version: UInt64) async {
        let id = UUID()
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let isWaiting = commands.withLockedValue { commands in
                    guard !Task.isCancelled, commands[command]?.version == version else { return false }
                    commands[command]?.waiters[id] = continuation
                    return true
                }
                if !isWaiting { continuation.resume() }
            }
        } onCancel: {
            commands.withLockedValue { $0[command]?.waiters.removeValue(forKey: id) }?.resume()
        }
    }
}
