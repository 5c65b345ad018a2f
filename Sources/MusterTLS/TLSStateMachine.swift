/// The life of a TLS connection. Events come from the channel and from OpenSSL; the actions are the handler's orders.
///
///     idle ─connected─► handshaking ─completed─► open ─output closed─► outputClosed
///                            │                     │                        │
///                            │      close requested, close_notify received  │
///                            │                     └────────► closing ◄─────┘
///                            └── failed, input ended ──► closed ◄──┘   (from any state)
struct TLSStateMachine {
    private enum State {
        case idle, handshaking, open
        /// We have said close_notify and still read.
        case outputClosed
        /// Nothing is read any more; the channel closes as soon as our last bytes are written.
        case closing
        case closed
    }

    enum Action: Equatable {
        case none
        case handshake
        case decrypt
        case announceHandshake
        /// Send close_notify, then end the channel's output.
        case closeOutput
        /// Send close_notify, then close the channel.
        case closeGracefully
        case close
        case reportInterruptedHandshake
        /// The stream ended without close_notify.
        case reportTruncation
    }

    enum WriteAction: Equatable {
        case hold, encrypt, refuse
    }

    private var state = State.idle

    /// Of a connection that another handler has opened.
    static var adopted: TLSStateMachine {
        var machine = TLSStateMachine()
        machine.state = .open
        return machine
    }

    mutating func connected() -> Action {
        guard state == .idle else { return .none }
        state = .handshaking
        return .handshake
    }

    func ciphertextReceived() -> Action {
        switch state {
        case .handshaking: .handshake
        case .open, .outputClosed: .decrypt
        case .idle, .closing, .closed: .none
        }
    }

    mutating func handshakeCompleted() -> Action {
        guard state == .handshaking else { return .none }
        state = .open
        return .announceHandshake
    }

    mutating func closeNotifyReceived() -> Action {
        switch state {
        case .open, .outputClosed:
            state = .closing
            return .closeGracefully
        case .idle, .handshaking, .closing, .closed:
            return .none
        }
    }

    /// The peer sends nothing more, or the channel is gone.
    mutating func inputEnded() -> Action {
        switch state {
        case .idle:
            state = .closed
            return .close
        case .handshaking:
            state = .closed
            return .reportInterruptedHandshake
        case .open, .outputClosed:
            state = .closed
            return .reportTruncation
        case .closing, .closed:
            return .none
        }
    }

    mutating func closeRequested() -> Action {
        switch state {
        case .open, .outputClosed:
            state = .closing
            return .closeGracefully
        case .closing:
            return .none
        case .idle, .handshaking, .closed:
            state = .closed
            return .close
        }
    }

    mutating func outputCloseRequested() -> Action {
        switch state {
        case .open:
            state = .outputClosed
            return .closeOutput
        case .idle, .handshaking:
            state = .closed
            return .close
        case .outputClosed, .closing, .closed:
            return .none
        }
    }

    /// Whether this failure is news.
    mutating func failed() -> Bool {
        defer { state = .closed }
        return state != .closed
    }

    func writeRequested() -> WriteAction {
        switch state {
        case .idle, .handshaking: .hold
        case .open: .encrypt
        case .outputClosed, .closing, .closed: .refuse
        }
    }

    var isHandshaking: Bool { state == .handshaking }

    var hasPeer: Bool {
        switch state {
        case .open, .outputClosed, .closing: true
        case .idle, .handshaking, .closed: false
        }
    }
}
