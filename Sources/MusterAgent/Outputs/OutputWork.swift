package import MusterWire
import NIOConcurrencyHelpers

/// What there is to upload, told by the jobs and by the controller, and taken up by `OutputUploader`.
package final class OutputWork: Sendable {
    /// A watcher that is not renewed is forgotten; so many commands at a time.
    private static let maximumFollowed = 64

    private struct State {
        var ended: [(CommandID, [PendingUpload])] = []
        var followed: [CommandID: ContinuousClock.Instant] = [:]
    }

    private let state = NIOLockedValueBox(State())
    let alarm = Alarm()

    package init() {}

    /// The job is over; these streams are durable work.
    package func ended(_ id: CommandID, _ uploads: [PendingUpload]) {
        let isFollowed = state.withLockedValue { state in
            if !uploads.isEmpty { state.ended.append((id, uploads)) }
            return state.followed[id] != nil
        }
        if !uploads.isEmpty || isFollowed { alarm.ring() }
    }

    package func follow(_ id: CommandID, for duration: Duration) {
        let until = ContinuousClock.now + duration
        state.withLockedValue { state in
            guard state.followed[id] != nil || state.followed.count < Self.maximumFollowed else { return }
            state.followed[id] = until
        }
        alarm.ring()
    }

    func takeEnded() -> [(CommandID, [PendingUpload])] {
        state.withLockedValue { state in
            defer { state.ended = [] }
            return state.ended
        }
    }

    func followed(at now: ContinuousClock.Instant) -> Set<CommandID> {
        state.withLockedValue { state in
            state.followed = state.followed.filter { $0.value > now }
            return Set(state.followed.keys)
        }
    }
}
