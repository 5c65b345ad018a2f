package import MusterWire
package import NIOCore

/// The life of one session: what happened goes in, what is to be done comes out. [value]
///
///     waitingForClient ──clientOpened──► waitingForAgent ──agentOpened──► running ──any end──► ending ──agentCompleted──► over
///            │                                 │                                                │ or its deadline
///            └──── never came: Failed ─────────┴────────────────────────────────────────────────┘
///
/// Every phase but `over` has a deadline, so a session always ends. `finish` is ordered once. Times are of a steady clock: a wall
/// clock that jumps must not end everybody's sessions.
package struct SessionMachine: Sendable, Equatable {
    package struct Timing: Sendable, Equatable {
        /// From StartSession to the client's WebSocket, and from there to the agent's.
        package var clientStart = TimeAmount.seconds(60)
        package var agentStart = TimeAmount.seconds(20)
        /// How long one side may be away. An agent that restarts, or a link that is cut for half a minute, is back before.
        package var clientGone = TimeAmount.seconds(120)
        package var agentGone = TimeAmount.seconds(120)
        /// How long the host may take to say that everything has ended there.
        package var unconfirmed = TimeAmount.seconds(10)
        package var idle: TimeAmount
        package var maximum: TimeAmount?

        package init(idleMinutes: Int = 20, maximumMinutes: Int? = nil) {
            idle = .minutes(Int64(idleMinutes))
            maximum = maximumMinutes.map { .minutes(Int64($0)) }
        }
    }

    package enum Phase: Sendable, Equatable {
        case waitingForClient(until: NIODeadline)
        case waitingForAgent(until: NIODeadline)
        case running
        case ending(End, until: NIODeadline)
        case over(End)
    }

    /// How it ended, as its row will tell.
    package struct End: Sendable, Equatable {
        package var status: SessionStatus
        package var reason: String

        package init(_ status: SessionStatus, _ reason: String) {
            self.status = status
            self.reason = reason
        }
    }

    package enum Event: Sendable, Equatable {
        case clientOpened
        case clientLost
        case agentOpened
        case agentLost
        /// The node's control channel is open (again): what was sent over a former one may be lost.
        case nodeConnected
        /// `agent_session_state` Terminating: the shell or the command has ended, and its output has been acknowledged.
        case agentEnding
        case agentCompleted(isFailure: Bool, output: String)
        case terminateRequested(String)
        case recordingFailed(String)
        case nodeDeregistered
        case timePassed(lastActivity: NIODeadline)
    }

    package enum Action: Sendable, Equatable {
        /// `interactive_shell`. The agent takes a second one for a session it has as no news.
        case order
        case pause(SessionSide)
        case resume(SessionSide)
        /// `channel_closed` with these words, behind everything that is on its way to the client.
        case closeClient(String)
        /// `channel_closed` over both of the agent's channels.
        case closeAgent
        /// End the recording, then write the row. Nothing follows.
        case finish(End)
    }

    package let timing: Timing
    package private(set) var phase: Phase
    package private(set) var isClientHere = false
    package private(set) var isAgentHere = false
    private var clientGoneSince: NIODeadline?
    private var agentGoneSince: NIODeadline?
    private var lastActivity: NIODeadline
    private let endsBy: NIODeadline?

    /// A session that has just been accepted.
    package init(timing: Timing, now: NIODeadline) {
        self.timing = timing
        phase = .waitingForClient(until: now + timing.clientStart)
        lastActivity = now
        endsBy = timing.maximum.map { now + $0 }
    }

    /// A session of a controller that was restarted. Nobody is here yet; who does not come back in time ends it.
    ///
    /// - Parameters:
    ///   - isOrdered: the agent may have heard of it.
    ///   - age: since StartSession.
    package init(restored status: SessionStatus, isOrdered: Bool, reason: String, age: TimeAmount, timing: Timing, now: NIODeadline) {
        self.timing = timing
        lastActivity = now
        endsBy = timing.maximum.map { now + max(.zero, $0 - age) }
        switch status {
        case .connecting where !isOrdered:
            phase = .waitingForClient(until: now + max(.zero, timing.clientStart - age))
        case .connecting:
            phase = .waitingForAgent(until: now + timing.agentStart)
            clientGoneSince = now
        case .connected, .disconnected:
            phase = .running
            (clientGoneSince, agentGoneSince) = (now, now)
        case .terminating:
            phase = .ending(End(.terminated, reason), until: now + timing.unconfirmed)
        case .terminated, .failed:
            phase = .over(End(status, reason))
        }
    }

    package var status: SessionStatus {
        switch phase {
        case .waitingForClient, .waitingForAgent: .connecting
        case .running: isClientHere && isAgentHere ? .connected : .disconnected
        case .ending: .terminating
        case .over(let end): end.status
        }
    }

    package var isOver: Bool {
        if case .over = phase { true } else { false }
    }

    /// When `timePassed` is due.
    package var deadline: NIODeadline? {
        switch phase {
        case .over: nil
        case .ending(_, let until): until
        case .waitingForClient(let until): earliest(until, endsBy)
        case .waitingForAgent(let until): earliest(until, endsBy, clientGoneSince.map { $0 + timing.clientGone })
        case .running:
            earliest(
                lastActivity + timing.idle, endsBy, clientGoneSince.map { $0 + timing.clientGone },
                agentGoneSince.map { $0 + timing.agentGone })
        }
    }

    private func earliest(_ times: NIODeadline?...) -> NIODeadline? {
        times.compactMap { $0 }.min()
    }

    // MARK: What happened

    package mutating func handle(_ event: Event, now: NIODeadline) -> [Action] {
        if case .over = phase { return [] }
        switch event {
        case .clientOpened: return clientOpened(now)
        case .clientLost: return clientLost(now)
        case .agentOpened: return agentOpened(now)
        case .agentLost: return agentLost(now)
        case .nodeConnected: return nodeConnected()
        case .agentEnding: return agentEnding(now)
        case .agentCompleted(let isFailure, let output): return agentCompleted(isFailure, output)
        case .terminateRequested(let words): return end(End(.terminated, words), now)
        case .recordingFailed(let words): return end(End(.failed, words), now)
        case .nodeDeregistered: return finish(End(.terminated, "The node has been deregistered."))
        case .timePassed(let activity): return timePassed(activity, now)
        }
    }

    private mutating func clientOpened(_ now: NIODeadline) -> [Action] {
        let isReturning = clientGoneSince != nil
        isClientHere = true
        clientGoneSince = nil
        switch phase {
        case .waitingForClient:
            phase = .waitingForAgent(until: now + timing.agentStart)
            return [.order]
        case .running:
            return isReturning && isAgentHere ? [.resume(.agent)] : []
        case .ending(let end, _):
            return [.closeClient(end.reason)]
        case .waitingForAgent, .over:
            return []
        }
    }

    private mutating func clientLost(_ now: NIODeadline) -> [Action] {
        guard isClientHere else { return [] }
        isClientHere = false
        clientGoneSince = now
        guard case .running = phase, isAgentHere else { return [] }
        return [.pause(.agent)]
    }

    private mutating func agentOpened(_ now: NIODeadline) -> [Action] {
        let isReturning = agentGoneSince != nil
        isAgentHere = true
        agentGoneSince = nil
        switch phase {
        case .waitingForAgent, .waitingForClient:
            phase = .running
            lastActivity = max(lastActivity, now)
            return isClientHere ? [] : [.pause(.agent)]
        case .running:
            if !isClientHere { return [.pause(.agent)] }
            return isReturning ? [.resume(.client)] : []
        case .ending:
            // It has not heard of the end yet.
            return [.closeAgent]
        case .over:
            return []
        }
    }

    private mutating func agentLost(_ now: NIODeadline) -> [Action] {
        guard isAgentHere else { return [] }
        isAgentHere = false
        agentGoneSince = now
        guard case .running = phase, isClientHere else { return [] }
        return [.pause(.client)]
    }

    private func nodeConnected() -> [Action] {
        switch phase {
        case .waitingForAgent: [.order]
        case .ending: [.closeAgent]
        case .waitingForClient, .running, .over: []
        }
    }

    private mutating func agentEnding(_ now: NIODeadline) -> [Action] {
        switch phase {
        case .waitingForClient, .waitingForAgent, .running:
            phase = .ending(End(.terminated, ""), until: now + timing.unconfirmed)
            return [.closeClient("")]
        case .ending, .over:
            return []
        }
    }

    private mutating func agentCompleted(_ isFailure: Bool, _ output: String) -> [Action] {
        switch phase {
        case .waitingForClient, .waitingForAgent:
            return finish(End(isFailure ? .failed : .terminated, output))
        case .running:
            return finish(End(.terminated, output))
        case .ending(let end, _):
            phase = .over(end)
            return [.finish(end)]
        case .over:
            return []
        }
    }

    private mutating func timePassed(_ activity: NIODeadline, _ now: NIODeadline) -> [Action] {
        lastActivity = max(lastActivity, activity)
        if case .ending(let end, let until) = phase {
            guard until <= now else { return [] }
            phase = .over(end)
            // Once more: what has not confirmed may not have heard.
            return [.closeAgent, .finish(end)]
        }
        if let endsBy, endsBy <= now {
            let minutes = (timing.maximum ?? .zero).nanoseconds / TimeAmount.minutes(1).nanoseconds
            return end(End(.terminated, "The session reached its maximum duration of \(minutes) minutes."), now)
        }
        switch phase {
        case .waitingForClient(let until) where until <= now:
            return finish(End(.failed, "No client opened the session within \(Self.seconds(timing.clientStart)) seconds."))
        case .waitingForAgent(let until) where until <= now:
            return [.closeAgent]
                + finish(End(.failed, "The host did not open the session within \(Self.seconds(timing.agentStart)) seconds."))
        case .running where lastActivity + timing.idle <= now:
            let minutes = timing.idle.nanoseconds / TimeAmount.minutes(1).nanoseconds
            return end(End(.terminated, "The session ended because it was idle for \(minutes) minutes."), now)
        case .waitingForClient, .waitingForAgent, .running, .ending, .over:
            break
        }
        if let since = clientGoneSince, since + timing.clientGone <= now {
            return end(End(.terminated, "The client was away for \(Self.seconds(timing.clientGone)) seconds."), now)
        }
        if let since = agentGoneSince, since + timing.agentGone <= now {
            return [.closeAgent] + finish(End(.terminated, "The host was out of reach for \(Self.seconds(timing.agentGone)) seconds."))
        }
        return []
    }

    private static func seconds(_ time: TimeAmount) -> Int64 {
        time.nanoseconds / 1_000_000_000
    }

    // MARK: Ends

    /// From here: the client is told at once, and the row waits for the host's confirmation.
    private mutating func end(_ end: End, _ now: NIODeadline) -> [Action] {
        switch phase {
        case .waitingForClient:
            return finish(end)
        case .waitingForAgent, .running:
            phase = .ending(end, until: now + timing.unconfirmed)
            return [.closeClient(end.reason), .closeAgent]
        case .ending, .over:
            return []
        }
    }

    private mutating func finish(_ end: End) -> [Action] {
        let former = phase
        phase = .over(end)
        if case .ending(let first, _) = former {
            phase = .over(first)
            return [.finish(first)]
        }
        return [.closeClient(end.reason), .finish(end)]
    }
}
