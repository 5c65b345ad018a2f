/// How one session went.
package struct SessionResult: Sendable, Equatable {
    package var isSuccess: Bool
    /// Of the shell or the command.
    package var exitCode: Int?
    /// For the user.
    package var output: String

    package init(isSuccess: Bool = true, exitCode: Int? = nil, output: String = "") {
        self.isSuccess = isSuccess
        self.exitCode = exitCode
        self.output = output
    }

    package static func failed(_ output: String) -> SessionResult { SessionResult(isSuccess: false, output: output) }
}

/// The life of a session at the agent. No sockets, no processes, no clock.
///
///     waiting ──connected──▶ shaking hands ──▶ running ──workEnded──▶ draining ──drained──▶ over
///        └──────────────(sessions without)──────▲                        │
///     closed, gone, or a failure lead to `over` from everywhere, by way of the end of what runs.
package struct SessionMachine: Sendable {
    package enum Action: Sendable, Equatable {
        case none
        case requestHandshake
        /// The client may send now; then start the work.
        case completeHandshake
        case startWork
        /// Send the end of the output, and wait until the client has it.
        case drain(SessionResult)
        /// End what runs; `workEnded` is not awaited.
        case abandon(SessionResult)
        case finish(SessionResult)
    }

    private enum State: Sendable, Equatable {
        case waiting
        case shakingHands
        case running
        case draining(SessionResult)
        case over
    }

    private let shakesHands: Bool
    private let isHandshakeNeeded: Bool
    private var state = State.waiting

    /// - Parameter isHandshakeNeeded: false where a client that does not answer, or sends something else, goes on without.
    package init(shakesHands: Bool, isHandshakeNeeded: Bool = true) {
        self.shakesHands = shakesHands
        self.isHandshakeNeeded = isHandshakeNeeded
    }

    package var isOver: Bool { state == .over }
    /// Input is for the work; before that it is acknowledged and thrown away, as the stock agent does.
    package var takesInput: Bool { state == .running }
    package var awaitsHandshake: Bool { state == .shakingHands }
    package var isDraining: Bool { if case .draining = state { true } else { false } }

    package mutating func connected() -> Action {
        guard state == .waiting else { return .none }
        state = shakesHands ? .shakingHands : .running
        return shakesHands ? .requestHandshake : .startWork
    }

    package mutating func handshakeAnswered(refusal: String?) -> Action {
        guard state == .shakingHands else { return .none }
        if let refusal { return end(.failed(refusal)) }
        state = .running
        return .completeHandshake
    }

    package mutating func handshakeTimedOut() -> Action {
        guard state == .shakingHands else { return .none }
        guard isHandshakeNeeded else { return handshakeSkipped() }
        return end(.failed("The client did not answer the handshake of the session in time."))
    }

    /// The client sends what it has to send, so it knows what the session is.
    package mutating func handshakeSkipped() -> Action {
        guard state == .shakingHands, !isHandshakeNeeded else { return .none }
        state = .running
        return .startWork
    }

    package mutating func workEnded(_ result: SessionResult) -> Action {
        guard state == .running else { return .none }
        state = .draining(result)
        return .drain(result)
    }

    /// Everything has arrived, or the client takes nothing any more.
    package mutating func drained() -> Action {
        guard case .draining(let result) = state else { return .none }
        state = .over
        return .finish(result)
    }

    /// The controller ended it, or the client did.
    package mutating func closed() -> Action {
        if case .draining(let result) = state { return end(result) }
        return end(SessionResult())
    }

    /// There is no way back to the controller.
    package mutating func gone(_ reason: String) -> Action {
        if case .draining(let result) = state { return end(result) }
        return end(.failed(reason))
    }

    private mutating func end(_ result: SessionResult) -> Action {
        guard state != .over else { return .none }
        state = .over
        return .abandon(result)
    }
}
