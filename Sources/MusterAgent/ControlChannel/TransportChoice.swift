import MusterClient

/// By which transport the control channel is opened next: by WebSocket, or by polling where no WebSocket gets through. [value]
///
///     auto:  webSocket ──refused, or dying before it was of use──▶ poll ──opened──▶ a WebSocket is tried beside it, after a
///                ▲                                                   │               pause that doubles while that fails
///                ├───────────────────── neither gets through ────────┘                          │
///                └──────────────────────────────────────────────────────── it opens ────────────┘
///
/// A network that is down says nothing about WebSockets. Only what happens after TLS has been agreed does.
package struct TransportChoice: Sendable {
    package enum Preference: String, Sendable, CaseIterable, Decodable {
        case auto, websocket, poll
    }

    package enum Transport: Sendable, Hashable {
        case webSocket, poll
    }

    /// How a WebSocket ended, or did not begin.
    package enum End: Sendable, Hashable {
        /// An HTTP answer other than 101.
        case refused
        /// TLS was agreed, and then no answer came.
        case unanswered
        /// It broke. `useful` is the time from its opening to the last sign of life on it.
        case broke(useful: Duration, isSilent: Bool)
        /// Something that would befall a poll as well: no route, an orderly end.
        case other
    }

    /// A WebSocket that lived this long gets through. Two that did not are found out within a minute.
    package static let usefulAfter = Duration.seconds(25)
    package static let longestRetry = Duration.seconds(3600)

    private static let enough = 2

    private let preference: Preference
    private let firstRetry: Duration
    private var retry: Duration
    private var strikes = 0
    /// Whether the WebSocket that is open came by a trial beside a poll.
    private var isOnTrial = false

    package private(set) var next: Transport

    package init(_ preference: Preference, firstRetry: Duration = .seconds(60)) {
        self.preference = preference
        self.firstRetry = firstRetry
        retry = firstRetry
        next = preference == .poll ? .poll : .webSocket
    }

    /// Polling has begun. The pause after which a WebSocket is tried beside it; nil: never.
    package func pollOpened() -> Duration? {
        preference == .auto ? retry : nil
    }

    /// The poll broke, or did not begin: the other way is as good.
    package mutating func pollEnded() {
        guard preference == .auto else { return }
        next = .webSocket
        // One more failure is enough: that it was of no use has been shown.
        strikes = max(strikes, Self.enough - 1)
    }

    /// A new certificate: what was refused before was perhaps not the WebSocket.
    package mutating func restart() {
        guard preference == .auto else { return }
        next = .webSocket
        strikes = 0
    }

    /// The pause before the next trial; nil: there is none.
    package mutating func trialFailed() -> Duration? {
        guard preference == .auto else { return nil }
        retry = min(retry * 2, Self.longestRetry)
        return retry
    }

    package mutating func trialOpened() {
        next = .webSocket
        isOnTrial = true
        strikes = Self.enough - 1
    }

    /// Returns true when the next connection is a poll because of this end.
    @discardableResult
    package mutating func webSocketEnded(_ end: End) -> Bool {
        guard preference == .auto else { return false }
        switch end {
        case .other:
            break
        case .refused:
            strikes = Self.enough
        case .unanswered:
            strikes += 1
        case .broke(let useful, _) where useful >= Self.usefulAfter:
            strikes = 0
            retry = firstRetry
            isOnTrial = false
        case .broke(_, let isSilent):
            // That it was dead took most of a minute to find out.
            strikes += isSilent ? Self.enough : 1
        }
        guard strikes >= Self.enough else { return false }
        if isOnTrial { retry = min(retry * 2, Self.longestRetry) }
        isOnTrial = false
        next = .poll
        return true
    }
}

extension TransportChoice.End {
    /// What a WebSocket that was not opened says about WebSockets.
    package init(unopened error: any Error) {
        guard let error = error as? ClientError, error.isSecured else {
            self = .other
            return
        }
        switch error.kind {
        // Too many, of whatever kind.
        case .refused(status: 429): self = .other
        case .refused, .denied: self = .refused
        case .closed, .timedOut, .protocolViolation: self = .unanswered
        default: self = .other
        }
    }
}
