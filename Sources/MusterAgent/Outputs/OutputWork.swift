package import MusterWire
import Synchronization

/// What there is to upload, told by the jobs and by the controller, and taken up by `OutputUploader`.
package final class OutputWork: Sendable {
    /// A watcher that is not renewed is forgotten; so many commands at a time.
    private static let maximumFollowed = 64

    private struct State {
        var ended: [(CommandID, [PendingUpload])] = []
        var followed: [CommandID: ContinuousClock.Instant] = [:]
    }

    private let state = Mutex(State())
    let alarm = Alarm()

    package init() {}

    /// The job is over; these streams are durable work.
    package func ended(_ id: CommandID, _ uploads: [PendingUpload]) {
        let isFollowed = state.withLock { state in
            if !uploads.isEmpty { state.ended.append((id, uploads)) }
            return state.followed[id] != nil
        }
        if !uploads.isEmpty || isFollowed { alarm.ring() }
    }

    package func follow(_ id: CommandID, for duration: Duration) {
        let until = ContinuousClock.now + duration
        state.withLock { state in
            guard state.followed[id] != nil || state.followed.count < Self.maximumFollowed else { return }
            state.followed[id] = until
        }
        alarm.ring()
    }

    func takeEnded() -> [(CommandID, [PendingUpload])] {
        state.withLock { state in
            defer { state.ended = [] }
            return state.ended
        }
    }

    func followed(at now: ContinuousClock.Instant) -> Set<CommandID> {
        state.withLock { state in
            state.followed = state.followed.filter { $0.value > now }
            return Set(state.followed.keys)
        }
    }
}
