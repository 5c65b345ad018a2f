internal import FoundationEssentials
internal import Metrics
package import MusterWire
internal import NIOConcurrencyHelpers
package import NIOCore

/// The two legs of one session, and what passes between them. [service]
///
///     client leg ─► decode, digest ─► tap ─► the same bytes ─► agent leg          acknowledgements are end to end
///     client leg ◄─ the same bytes ◄─ tap ◄─ decode, digest ◄─ agent leg
///
/// Called on the loops of the legs, for every frame: no task, no actor. What the broker has to know is reported; all else stays here.
/// Either leg may be replaced, or be away: the senders repeat what is not acknowledged, so that little is held for one that is away
/// and the rest is dropped.
package final class SessionRelay: Sendable {
    package enum Report: Sendable, Equatable {
        case lost(SessionSide)
        case agentEnding(exitCode: Int?)
        case agentCompleted(AgentMessage)
        case recordingFailed(String)
    }

    /// What a leg does with itself after a frame.
    package enum Verdict: Sendable, Equatable {
        case passed
        /// Stop reading until woken.
        case wait
        case refused(String)
    }

    /// Held for a side that is away.
    static let heldBytes = 1 << 18
    /// A hostile agent may say that it has ended as often as it likes: more than this is not passed to the broker.
    private static let maximumReports = 16

    private struct Lane {
        var leg: RelayLeg?
        var takesUnhashed = false
        var held: [ByteBuffer] = []
        var heldBytes = 0
        var highest: Int64 = -1
        var uncounted = 0
    }

    private struct State {
        var client = Lane()
        var agent = Lane()
        var tap: (any SessionTap)?
        var isOver = false
        var reports = 0
        var lastActivity: NIODeadline
        var acknowledged = AcknowledgedSequences()

        subscript(_ side: SessionSide) -> Lane {
            _read { if side == .client { yield client } else { yield agent } }
            _modify { if side == .client { yield &client } else { yield &agent } }
        }
    }

    package let id: SessionID
    private let state: NIOLockedValueBox<State>
    private let report: @Sendable (Report) -> Void
    private let now: @Sendable () -> NIODeadline

    package init(id: SessionID, now: @escaping @Sendable () -> NIODeadline = { .now() }, report: @escaping @Sendable (Report) -> Void) {
        self.id = id
        self.now = now
        self.report = report
        state = NIOLockedValueBox(State(lastActivity: now()))
    }

    // MARK: Legs

    /// What is passed on from here is seen by this tap.
    package func record(with tap: any SessionTap) {
        state.withLockedValue { $0.tap = tap }
    }

    /// The leg takes its side's place; the one that was there is returned, and passes nothing any more.
    ///
    /// - Parameter takesUnhashed: its peer says that it takes frames without a digest.
    package func attach(_ leg: RelayLeg, takesUnhashed: Bool) -> RelayLeg? {
        let start = leg.side == .client ? publication() : nil
        let former = state.withLockedValue { state -> RelayLeg? in
            let former = state[leg.side].leg
            // Before anything that the new leg can acknowledge: the agent has to know which of its frames went another way.
            if leg.side == .client, let start { _ = state.agent.leg?.offer(start, from: nil) }
            let unsent = (former?.takeQueue() ?? []) + state[leg.side].held
            state[leg.side].leg = leg
            state[leg.side].takesUnhashed = takesUnhashed
            state[leg.side].held = []
            state[leg.side].heldBytes = 0
            for frame in unsent { _ = leg.offer(takesUnhashed ? frame : frame.hashingAgentMessage(), from: nil) }
            return former
        }
        leg.attach(to: self)
        return former
    }

    private func publication() -> ByteBuffer? {
        let payload = Publication(sessionID: id)
        guard let message = try? AgentMessage(.startPublication, createdDate: .now(), payload: payload) else { return nil }
        var bytes = ByteBuffer()
        bytes.writeAgentMessage(message)
        return bytes
    }

    package func isHere(_ side: SessionSide) -> Bool {
        state.withLockedValue { $0[side].leg != nil }
    }

    /// The leg's connection has ended.
    package func detach(_ leg: RelayLeg) {
        let wasCurrent = state.withLockedValue { state -> Bool in
            guard state[leg.side].leg === leg else { return false }
            state[leg.side].leg = nil
            Self.count(&state[leg.side], leg.side)
            for frame in leg.takeQueue() { Self.hold(frame, for: leg.side, &state) }
            return !state.isOver
        }
        leg.closed()
        if wasCurrent { report(.lost(leg.side)) }
    }

    // MARK: Frames

    /// One message of a leg. On the leg's loop.
    package func received(_ bytes: ByteBuffer, from leg: RelayLeg) -> Verdict {
        let frame: AgentMessage
        do {
            var reader = bytes
            frame = try reader.readAgentMessage()
        } catch {
            Self.refuse("malformed")
            return .refused(error.description)
        }
        switch (frame.messageType, leg.side) {
        case (.inputStreamData, .client), (.outputStreamData, .agent), (.acknowledge, _):
            return pass(frame, bytes, leg)
        case (.agentSessionState, .agent), (.agentTaskComplete, .agent):
            take(frame, leg)
            return .passed
        default:
            // Legal and without meaning here, or the other side's: nothing is done with it.
            Self.refuse("unexpected")
            return .passed
        }
    }

    private func pass(_ frame: AgentMessage, _ bytes: ByteBuffer, _ leg: RelayLeg) -> Verdict {
        var failure: String?
        let isFull = state.withLockedValue { state -> Bool in
            guard !state.isOver, state[leg.side].leg === leg else { return false }
            do throws(RecordingFailure) {
                try state.tap?.pass(frame, from: leg.side)
            } catch {
                state.isOver = true
                failure = error.reason
                return false
            }
            if frame.messageType == .acknowledge {
                if leg.side == .client { state.acknowledged.saw(frame) }
            } else {
                note(frame, from: leg.side, &state)
                if leg.side == .agent, let answer = state.acknowledged.answer(to: frame) {
                    // The client has taken it, its acknowledgement was lost with a leg of the agent, and it will not say so again.
                    // It waits for itself: who repeats and does not read the answers would fill its own queue for ever.
                    return leg.offer(answer, from: leg)
                }
            }
            let side = leg.side.other
            guard let target = state[side].leg else {
                Self.hold(bytes, for: side, &state)
                return false
            }
            // The one thing that is changed in a frame: between a native end and a stock one, which has taken the place of a native one.
            let fits = frame.isHashed || state[side].takesUnhashed
            return target.offer(fits ? bytes : bytes.hashingAgentMessage(), from: leg)
        }
        if let failure { report(.recordingFailed(failure)) }
        return isFull ? .wait : .passed
    }

    /// A repeat is no sign of life: a peer that resends for ever would keep the session open for ever.
    private func note(_ frame: AgentMessage, from side: SessionSide, _ state: inout State) {
        let size = frame.payload.readableBytes
        guard frame.sequenceNumber > state[side].highest, size > 0 else { return }
        state[side].highest = frame.sequenceNumber
        guard frame.payloadType == .output || frame.payloadType == .standardError else { return }
        state.lastActivity = now()
        state[side].uncounted += size
        if state[side].uncounted >= 1 << 16 { Self.count(&state[side], side) }
    }

    /// What the agent says of the session is for the controller.
    private func take(_ frame: AgentMessage, _ leg: RelayLeg) {
        let reports = state.withLockedValue { state -> [Report] in
            guard state[leg.side].leg === leg, state.reports < Self.maximumReports else { return [] }
            state.reports += 1
            var reports: [Report] = []
            if !state.isOver {
                do throws(RecordingFailure) {
                    try state.tap?.pass(frame, from: leg.side)
                } catch {
                    state.isOver = true
                    reports.append(.recordingFailed(error.reason))
                }
            }
            if frame.messageType == .agentTaskComplete {
                reports.append(.agentCompleted(frame))
            } else if let said = try? frame.decodePayload(AgentSessionState.self), said.sessionState == .terminating {
                reports.append(.agentEnding(exitCode: said.exitCode))
            }
            return reports
        }
        for report in reports { self.report(report) }
    }

    private static func hold(_ frame: ByteBuffer, for side: SessionSide, _ state: inout State) {
        guard state[side].heldBytes + frame.readableBytes <= heldBytes else { return }
        state[side].held.append(frame)
        state[side].heldBytes += frame.readableBytes
    }

    // MARK: From the broker

    package var lastActivity: NIODeadline { state.withLockedValue { $0.lastActivity } }

    /// A frame of the controller's own. Dropped when the side is away.
    package func send(_ message: AgentMessage, to side: SessionSide) {
        var bytes = ByteBuffer()
        bytes.writeAgentMessage(message)
        state.withLockedValue { state in
            _ = state[side].leg?.offer(bytes, from: nil)
        }
    }

    /// Passes what came by the agent's control channel to the recording.
    package func note(_ frame: AgentMessage) {
        let failure = state.withLockedValue { state -> String? in
            guard !state.isOver else { return nil }
            do throws(RecordingFailure) {
                try state.tap?.pass(frame, from: .agent)
                return nil
            } catch {
                state.isOver = true
                return error.reason
            }
        }
        if let failure { report(.recordingFailed(failure)) }
    }

    package func noted(_ note: SessionNote) {
        state.withLockedValue { $0.tap }?.noted(note)
    }

    /// Nothing passes any more; what is on its way to the client still gets there.
    package func stop() {
        state.withLockedValue { $0.isOver = true }
    }

    package func close(_ side: SessionSide, _ code: WebSocketPeer.CloseCode, reason: String) {
        state.withLockedValue { $0[side].leg }?.close(code, reason: reason)
    }

    package var tap: (any SessionTap)? { state.withLockedValue { $0.tap } }

    // MARK: Metrics

    private static let counters = (
        client: Counter(label: "muster_session_bytes_total", dimensions: [("direction", "input")]),
        agent: Counter(label: "muster_session_bytes_total", dimensions: [("direction", "output")])
    )

    private static func count(_ lane: inout Lane, _ side: SessionSide) {
        guard lane.uncounted > 0 else { return }
        (side == .client ? counters.client : counters.agent).increment(by: lane.uncounted)
        lane.uncounted = 0
    }

    private static func refuse(_ kind: String) {
        Counter(label: "muster_session_frames_refused_total", dimensions: [("kind", kind)]).increment()
    }
}

extension SessionSide {
    package var other: SessionSide { self == .client ? .agent : .client }
}
