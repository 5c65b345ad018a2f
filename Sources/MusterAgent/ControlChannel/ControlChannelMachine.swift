package import MusterClient

/// When to connect, when to wait and when to give up the control channel. No sockets, no clock, no dice of its own.
///
///            start                    opened                       ended
///     idle ───────▶ connecting ─────────────────▶ open(since) ─────────────┐
///                    ▲    │ ended(failure)          │ identityReplaced     │
///        delayElapsed│    ▼                         ▼                      ▼
///                    └─ waiting ◀──────────────  closing ──ended──▶ connecting again at once
///
/// `stopRequested` leads to `finished` from everywhere, through an orderly close when the channel is open.
package struct ControlChannelMachine: Sendable {
    /// Why there is no channel.
    package enum Failure: Sendable, Hashable {
        case unreachable(String)
        /// The controller does not accept this identity: deregistered, quarantined, or its certificate has expired.
        case denied(String)

        package var reason: String {
            switch self {
            case .unreachable(let reason), .denied(let reason): reason
            }
        }
    }

    package enum Action: Sendable, Hashable {
        case none
        case connect
        /// Wait, then say `delayElapsed` with the ticket. A newer order makes older tickets worthless.
        case wait(Duration, ticket: Int)
        case close
        case finish
    }

    /// What people want to know; a change of it is worth a log line, a repetition is not.
    package enum Standing: Sendable, Hashable {
        case starting
        case online
        case unreachable
        case denied
    }

    private enum State: Sendable {
        case idle
        case connecting
        /// With a ticket while it is not certain that a node that was denied is accepted now. `served`: the controller has sent
        /// something meant for this node.
        case open(since: ContinuousClock.Instant, ticket: Int?, served: Bool)
        case waiting(ticket: Int)
        case closing(last: Bool)
        case finished
    }

    /// A channel that lived this long was a good one, and the back-off begins anew.
    package static let goodAfter = Duration.seconds(30)

    /// One that lived shorter, but on which the node was served, or which was not dropped within a second, begins it anew as
    /// well, so that a controller that is restarted twice is found as quickly the second time; no more often than this, so that
    /// one that crashes over and over again is not hammered. One that accepts and drops at once never does.
    package static let restartAfter = Duration.seconds(20)
    package static let notDroppedAfter = Duration.seconds(1)

    /// The controller says no after it has accepted the connection and read the first message. Only a channel that outlives this
    /// shows that a node which was denied is accepted again.
    package static let acceptedAfter = Duration.seconds(5)

    package private(set) var standing = Standing.starting
    private var state = State.idle
    private var backoff: Backoff
    private var restartedAt: ContinuousClock.Instant?
    private var ticket = 0

    package init(backoff: Backoff = Backoff()) {
        self.backoff = backoff
    }

    package var isOpen: Bool {
        if case .open = state { true } else { false }
    }

    package var isFinished: Bool {
        if case .finished = state { true } else { false }
    }

    package mutating func start() -> Action {
        guard case .idle = state else { return .none }
        // The first try at once is this one.
        _ = backoff.next(random: 0)
        state = .connecting
        return .connect
    }

    package mutating func opened(at now: ContinuousClock.Instant) -> Action {
        switch state {
        case .connecting:
            guard standing == .denied else {
                state = .open(since: now, ticket: nil, served: false)
                standing = .online
                return .none
            }
            ticket += 1
            state = .open(since: now, ticket: ticket, served: false)
            return .wait(Self.acceptedAfter, ticket: ticket)
        case .closing:
            // The order to close came while it was opening.
            return .close
        case .idle, .open, .waiting, .finished:
            return .none
        }
    }

    /// The controller has sent a job, or acknowledged a reply: it accepts this node.
    package mutating func served() {
        if case .open(let since, let ticket, served: false) = state { state = .open(since: since, ticket: ticket, served: true) }
    }

    /// Another connection has taken the place of the open one, without a gap.
    package mutating func replaced(at now: ContinuousClock.Instant) {
        guard case .open = state else { return }
        state = .open(since: now, ticket: nil, served: false)
        standing = .online
    }

    /// The channel is gone, or never came. No failure: it was closed in order, by either side.
    package mutating func ended(_ failure: Failure?, at now: ContinuousClock.Instant, random: Double) -> Action {
        switch state {
        case .open(let since, _, let served):
            let life = now - since
            let isRestartDue = restartedAt.map { now - $0 >= Self.restartAfter } ?? true
            if life >= Self.goodAfter || (served || life >= Self.notDroppedAfter) && isRestartDue {
                backoff.reset()
                restartedAt = now
            }
            return retry(after: failure, random: random)
        case .connecting:
            return retry(after: failure, random: random)
        case .closing(let last):
            state = last ? .finished : .connecting
            return last ? .finish : .connect
        case .idle, .waiting, .finished:
            return .none
        }
    }

    package mutating func delayElapsed(ticket: Int) -> Action {
        switch state {
        case .waiting(ticket):
            state = .connecting
            return .connect
        case .open(let since, ticket?, let served):
            state = .open(since: since, ticket: nil, served: served)
            standing = .online
            return .none
        default:
            return .none
        }
    }

    /// There is a new certificate: the channel has to be opened with it before the old one ends. One that is waiting need wait
    /// no longer, for the old certificate may have been what was wrong.
    package mutating func identityReplaced() -> Action {
        switch state {
        case .open:
            state = .closing(last: false)
            return .close
        case .waiting:
            state = .connecting
            return .connect
        case .idle, .connecting, .closing, .finished:
            return .none
        }
    }

    package mutating func stopRequested() -> Action {
        switch state {
        case .open:
            state = .closing(last: true)
            return .close
        case .closing:
            state = .closing(last: true)
            return .none
        case .idle, .connecting, .waiting:
            state = .finished
            return .finish
        case .finished:
            return .none
        }
    }

    private mutating func retry(after failure: Failure?, random: Double) -> Action {
        let delay: Duration
        switch failure {
        case .denied:
            standing = .denied
            delay = backoff.nextAtCap(random: random)
        case .unreachable:
            standing = .unreachable
            delay = backoff.next(random: random)
        case nil:
            // A controller that goes away in order usually comes back; until the next try fails nothing is wrong.
            delay = backoff.next(random: random)
        }
        ticket += 1
        state = .waiting(ticket: ticket)
        return .wait(delay, ticket: ticket)
    }
}
