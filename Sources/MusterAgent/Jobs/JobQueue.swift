package import MusterWire

/// Which jobs run and which wait. A stuck job holds its own place and no other.
package struct JobQueue: Sendable {
    private let maximumRunning: Int
    private let maximumWaiting: Int
    package private(set) var running: Set<CommandID> = []
    package private(set) var waiting: [CommandID] = []

    package init(maximumRunning: Int, maximumWaiting: Int) {
        self.maximumRunning = maximumRunning
        self.maximumWaiting = maximumWaiting
    }

    package var isFull: Bool { running.count + waiting.count >= maximumRunning + maximumWaiting }

    package func contains(_ id: CommandID) -> Bool { running.contains(id) || waiting.contains(id) }

    /// False when there is no room: the job must not be stored.
    package mutating func admit(_ id: CommandID) -> Bool {
        guard !contains(id) else { return true }
        guard !isFull else { return false }
        waiting.append(id)
        return true
    }

    /// A job that a former agent accepted has its place already, whatever the limits are today. One that was started
    /// goes on at once.
    package mutating func restore(_ id: CommandID, isStarted: Bool) {
        guard !contains(id) else { return }
        if isStarted { running.insert(id) } else { waiting.append(id) }
    }

    /// The next to start, which counts as running from now on.
    package mutating func startNext() -> CommandID? {
        guard running.count < maximumRunning, !waiting.isEmpty else { return nil }
        let id = waiting.removeFirst()
        running.insert(id)
        return id
    }

    /// Takes a job out of the waiting line to give it its end right away. False when it is not waiting.
    package mutating func pull(_ id: CommandID) -> Bool {
        guard let index = waiting.firstIndex(of: id) else { return false }
        waiting.remove(at: index)
        running.insert(id)
        return true
    }

    package mutating func remove(_ id: CommandID) {
        running.remove(id)
        waiting.removeAll { $0 == id }
    }
}
