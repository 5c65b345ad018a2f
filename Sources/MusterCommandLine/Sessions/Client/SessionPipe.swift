import Glibc
import MusterClient
import MusterWire
import NIOCore

/// A session's data channel between threads that may wait: what comes goes into sinks, what is to go is sent while there is room.
///
///     DataChannel ─deliver, on the event loop─▶ SessionPipe ─▶ SessionSink ─thread─▶ terminal, pipe, copy
///     DataChannel ◀─write─────────────────────── SessionPipe ◀─send── thread that reads
///
/// Answers the handshake of the sessions that begin with one.
///
/// Sendable: every variable is read and written inside of `condition.locked` only.
final class SessionPipe: DataChannelReceiver, @unchecked Sendable {
    enum News: Sendable {
        case lost
        case back
        case nodeAway
        case nodeBack
        case message(String)
        case connectFailed(String)
    }

    let channel: DataChannel
    private let awaitsHandshake: Bool
    private let news: @Sendable (News) -> Void
    private let condition = Condition()
    private var sinks: [PayloadType: any SessionSink] = [:]
    /// Counts the times that there may have become room.
    private var chances = 0
    private var waiting = 0
    private var roomWatcher: (@Sendable () -> Void)?
    private var isOpen: Bool
    private var isOver = false
    private var wasConnected = false
    private var wasPaused = false
    private var isPaused = false
    private var code: Int?
    private var hasBegun = false
    /// Why the connection failed that the node speaks of next.
    private var words = ""

    /// - Parameter awaitsHandshake: nothing is sent before it is done.
    init(channel: DataChannel, awaitsHandshake: Bool, news: @escaping @Sendable (News) -> Void) {
        self.channel = channel
        self.awaitsHandshake = awaitsHandshake
        self.news = news
        isOpen = !awaitsHandshake
    }

    /// Before the channel runs.
    func connect(_ type: PayloadType, to sink: any SessionSink) { condition.locked { sinks[type] = sink } }

    /// Called when there may have become room, for whoever cannot wait in `send`. Before the channel runs.
    func watchRoom(_ body: @escaping @Sendable () -> Void) { condition.locked { roomWatcher = body } }

    /// Of the shell or the command, once it has been told.
    var exitCode: Int? { condition.locked { code } }
    /// Anything came from the other side.
    var isBegun: Bool { condition.locked { hasBegun } }

    // MARK: Out

    /// Waits for room. False once the session is over.
    @discardableResult
    func send(_ type: PayloadType, _ payload: ByteBuffer, isLast: Bool = false) -> Bool {
        var rest = payload
        while true {
            let seen: Int? = condition.locked {
                while !isOpen, !isOver { condition.wait() }
                return isOver ? nil : chances
            }
            guard let seen else { return false }
            if channel.write(type, &rest, isLast: isLast) { return true }
            condition.locked {
                waiting += 1
                while chances == seen, !isOver { condition.wait() }
                waiting -= 1
            }
        }
    }

    /// Waits until the other side is ready. False if the session ended before.
    func awaitOpening() -> Bool {
        condition.locked {
            while !isOpen, !isOver { condition.wait() }
            return !isOver
        }
    }

    /// Waits for the end, but no longer than that. Returns whether it has come.
    func awaitEnd(milliseconds: Int) -> Bool {
        condition.locked {
            let deadline = Condition.deadline(milliseconds: milliseconds)
            while !isOver {
                if !condition.wait(until: deadline) { break }
            }
            return isOver
        }
    }

    /// The channel is over: nobody waits any more.
    func end() {
        condition.locked {
            isOver = true
            condition.wake()
        }
    }

    /// A sink has room again.
    func sinkDrained() {
        condition.locked {
            guard isPaused, !sinks.values.contains(where: \.isFull) else { return }
            isPaused = false
            channel.resumeDelivery()
        }
    }

    // MARK: DataChannelReceiver

    func acknowledged() {
        let paused = channel.isPaused
        let (changed, watcher) = condition.locked {
            chances += 1
            if waiting > 0 { condition.wake() }
            defer { wasPaused = paused }
            return (wasPaused != paused && hasBegun, roomWatcher)
        }
        watcher?()
        if changed { news(paused ? .nodeAway : .nodeBack) }
    }

    func deliver(_ incoming: DataChannel.Incoming) {
        switch incoming {
        case .connected:
            let isBack = condition.locked {
                defer { wasConnected = true }
                return wasConnected
            }
            if isBack { news(.back) }
        case .disconnected:
            news(.lost)
        case .data(let type, let payload, _):
            data(type, payload)
        case .channelClosed, .message:
            break
        }
    }

    private func data(_ type: PayloadType, _ payload: ByteBuffer) {
        switch type {
        case .handshakeRequest:
            answer(payload)
        case .handshakeComplete:
            condition.locked {
                isOpen = true
                hasBegun = true
                condition.wake()
            }
            guard payload.readableBytes <= 65_536,
                let complete = try? JSONCoding.decode(HandshakeComplete.self, from: Array(payload.readableBytesView)),
                !complete.customerMessage.isEmpty
            else { return }
            news(.message(complete.customerMessage))
        case .exitCode:
            guard let value = ExitCode(payload: payload)?.value else { return }
            condition.locked {
                hasBegun = true
                code = value
            }
        case .flag:
            guard StreamFlag(payload: payload) == .connectToPortError else { return }
            let why = condition.locked {
                defer { words = "" }
                return words
            }
            news(.connectFailed(why))
        case .error:
            condition.locked { words = SessionWords.read(payload) }
        default:
            let sink = condition.locked {
                hasBegun = true
                return sinks[type]
            }
            guard let sink else { return }
            sink.take(payload)
            guard sink.isFull else { return }
            condition.locked {
                // It may have drained in the meantime, before it could tell.
                guard !isPaused, sink.isFull else { return }
                isPaused = true
                channel.pauseDelivery()
            }
        }
    }

    private func answer(_ payload: ByteBuffer) {
        guard payload.readableBytes <= 65_536,
            let request = try? JSONCoding.decode(HandshakeRequest.self, from: Array(payload.readableBytesView)),
            let bytes = try? JSONCoding.encode(HandshakeResponse(answering: request))
        else { return }
        var answer = ByteBuffer(bytes: bytes)
        // The first thing that is sent at all: there is room.
        _ = channel.write(.handshakeResponse, &answer)
    }
}

extension HandshakeResponse {
    /// We do what ours asks for, and say so of everything else.
    init(answering request: HandshakeRequest) {
        self.init(
            clientVersion: ClientVersion.current,
            processedClientActions: request.requestedClientActions.map { action in
                action.actionType == .sessionType
                    ? Action(actionType: .sessionType, actionStatus: Status.success)
                    : Action(actionType: action.actionType, actionStatus: Status.unsupported, error: "muster does not know this action.")
            })
    }
}
