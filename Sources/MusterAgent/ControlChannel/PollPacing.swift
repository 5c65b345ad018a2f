import MusterWire

/// How long a poll is asked to be held, and when the polls have failed. [value]
///
/// Boxes on the way cut connections that are quiet for longer than they like. A poll that was cut after some time is not an
/// error: the next one is asked to be shorter. After a number of good ones it is asked to be longer again.
package struct PollPacing: Sendable, Equatable {
    package enum Verdict: Sendable, Equatable {
        case again
        case giveUp
    }

    /// Cut sooner than this it says nothing about quiet connections.
    package static let shortestCut = Duration.seconds(2)
    package static let goodInARow = 20
    private static let failuresInARow = 2

    package private(set) var waitSeconds = GetMessages.longestWaitSeconds
    private var good = 0
    private var failures = 0

    package init() {}

    package mutating func answered() {
        failures = 0
        good += 1
        guard good >= Self.goodInARow, waitSeconds < GetMessages.longestWaitSeconds else { return }
        good = 0
        waitSeconds = min(waitSeconds * 2, GetMessages.longestWaitSeconds)
    }

    /// The connection broke under a poll after so long.
    package mutating func cut(after duration: Duration) -> Verdict {
        good = 0
        failures += 1
        if duration >= Self.shortestCut {
            waitSeconds = max(1, min(waitSeconds - 1, Int(duration.components.seconds * 2 / 3)))
        }
        return failures > Self.failuresInARow ? .giveUp : .again
    }
}
