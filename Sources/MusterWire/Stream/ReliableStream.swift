import FoundationEssentials
package import NIOCore

/// One direction out and one direction in of a session's data channel: sequence, acknowledge, reorder, resend, pause. The same for the
/// agent, for our client and, in tests, for models of the stock ones. It knows no socket and no clock: what came in is told to it, what
/// has to go out is its answer.
///
/// What is sent is kept until it is acknowledged, by the other end and nobody between (a receiver that is not ready stays silent on
/// purpose). It is sent again
///
/// - after a connection was lost, in order, up to a window; the rest as acknowledgements come in;
/// - when frames sent after it have been acknowledged: a WebSocket keeps order, so it got lost on the way (as RFC 8985 has it). At most
///   two such frames go out for each acknowledgement, so that recovery doubles each round trip and never bursts;
/// - when nothing has been acknowledged for a round-trip timeout: the first one, alone; the others may wait for it at the other end, with
///   no room to be taken. To a stock client, the one that was sent longest ago. The timeout starts again with
///   every acknowledgement (RFC 6298, 5.3), and doubles up to a bound that grows with the frame: a slow link is not filled with repeats.
///
/// The last byte of a frame's MessageId counts its copies. Receivers give the id back, so that it is certain which copy arrived: a late
/// acknowledgement of the first one is a round trip, not a loss.
///
/// The stock ends send only the oldest frame again, every 100 ms, and recover one frame a round trip; both understand the above.
///
/// The stock client needs two things more (`Limits.isForStockClient`, decision 65):
///
/// - It shows a frame, acknowledges it, and counts it only when the acknowledgement could be written: the frame that is being shown when a
///   connection breaks would be shown again. What it took early it shows without another word. So data goes out behind its turn: each
///   flush is [k+1, …, k+n, k], and frame k, the opener, is empty.
/// - It never acknowledges a frame twice. A connection keeps order, and so does the relay: what was sent before a frame that has been
///   acknowledged, over the same connections, has been taken. An empty frame behind all that is repeated has that said soon.
package struct ReliableStream: Sendable {
    package enum Role: Sendable {
        case client, agent

        package var outgoing: MessageType { self == .client ? .inputStreamData : .outputStreamData }
        package var incoming: MessageType { self == .client ? .outputStreamData : .inputStreamData }
    }

    package struct Limits: Sendable, Equatable {
        package var maximumPayload: Int
        package var maximumUnacknowledgedBytes: Int
        package var maximumUnacknowledgedMessages: Int
        /// Frames that wait for an earlier one; their bytes are bounded by `maximumUnacknowledgedBytes`.
        package var maximumReordered: Int
        /// Of an agent: at the other end is the plugin of the AWS CLI.
        package var isForStockClient: Bool
        /// False when the other end is known to take frames without a digest. One that sends them takes them, too.
        package var hashesPayloads: Bool

        package init(
            maximumPayload: Int, maximumUnacknowledgedBytes: Int, maximumUnacknowledgedMessages: Int, maximumReordered: Int,
            isForStockClient: Bool = false, hashesPayloads: Bool = true
        ) {
            self.maximumPayload = maximumPayload
            self.maximumUnacknowledgedBytes = maximumUnacknowledgedBytes
            self.maximumUnacknowledgedMessages = maximumUnacknowledgedMessages
            self.maximumReordered = maximumReordered
            self.isForStockClient = isForStockClient
            self.hashesPayloads = hashesPayloads
        }

        /// The other end is the plugin of the AWS CLI: it reorders 10,000 frames and expects 1,024 bytes in one.
        package static let stock = Limits(
            maximumPayload: 1024, maximumUnacknowledgedBytes: 1 << 20, maximumUnacknowledgedMessages: 4096, maximumReordered: 10_000,
            isForStockClient: true)
        /// Both ends are ours. A tunnel's largest piece fits a frame.
        package static let native = Limits(
            maximumPayload: Multiplexer.largestPiece, maximumUnacknowledgedBytes: 4 << 20, maximumUnacknowledgedMessages: 4096,
            maximumReordered: 10_000)
    }

    package struct Delivery: Sendable, Equatable {
        package var type: PayloadType
        package var flags: UInt64
        package var payload: ByteBuffer
    }

    package struct Step: Sendable {
        package var send: [AgentMessage] = []
        package var deliver: [Delivery] = []
        package var failure: StreamFailure?
    }

    /// A native peer may ask for no more in one frame: what takes long to send delays what comes after it.
    package static let largestPayload = 256 << 10

    /// Bits of Flags.
    package static let isFirst: UInt64 = 1
    package static let isLast: UInt64 = 2
    /// The frame with the number before this one is empty, and follows.
    package static let hasOpener: UInt64 = 4

    private struct Outstanding: Sendable {
        var message: AgentMessage
        /// Counts transmissions: the one with the lower number left earlier.
        var order: UInt64
        /// Nothing, while it has not been sent.
        var sent: NIODeadline?
        var firstOrder: UInt64
        var firstSent: NIODeadline?
        var repeats = 0
        /// Where it stands when everything is sent again: an opener behind its data.
        var place: Int64
    }

    private struct Transmission: Sendable {
        var order: UInt64
        var sequence: Int64
    }

    /// Acknowledged transmissions that have to overtake one before it counts as lost.
    private static let overtaking: UInt64 = 3
    private static let repeatsPerAcknowledgement = 2

    package let role: Role
    package let limits: Limits
    package private(set) var roundTrip = RoundTrip()

    private var nextSequence: Int64 = 0
    private var outstanding: [Int64: Outstanding] = [:]
    package private(set) var unacknowledgedBytes = 0
    /// In the order of sending; what was acknowledged or sent again since is skipped when it comes to the front.
    private var transmissions = CircularBuffer<Transmission>()
    private var nextOrder: UInt64 = 0
    /// What left before this transmission and overtaking more has arrived or is lost.
    private var arrived: UInt64 = 0
    private var window: SendWindow

    private var isConnected = true
    package private(set) var isPaused = false
    /// Since when the timeout runs, and how often it has passed without an acknowledgement.
    private var waitingSince: NIODeadline?
    private var timeouts = 0

    private var receiver: StreamReceiver
    private var hashesPayloads: Bool

    /// The stock client takes frames without having its handler, and drops those whose turn it is; after its first input it has one.
    private var isClientReady = false
    /// The number of the opener of what has been sent since the last flush.
    private var openBatch: Int64?
    /// Transmissions from here on went over the connections that there are now, to a client that was ready.
    private var settling: UInt64 = .max
    /// The empty frame behind what was sent again.
    private var probe: Int64?

    package init(role: Role, limits: Limits) {
        self.role = role
        self.limits = limits
        self.hashesPayloads = limits.hashesPayloads
        self.window = SendWindow(ceiling: limits.maximumUnacknowledgedBytes)
        self.receiver = StreamReceiver(
            maximumWaiting: limits.maximumReordered, maximumWaitingBytes: limits.maximumUnacknowledgedBytes)
    }

    /// Payload bytes that `send` takes now. 0: wait for acknowledgements.
    package var room: Int {
        if self.isPaused { return 0 }
        let messages = self.limits.maximumUnacknowledgedMessages - self.outstanding.count
        guard messages > 0 else { return 0 }
        let bytes = self.window.bytes - self.unacknowledgedBytes
        return max(0, min(bytes, messages.multipliedReportingOverflow(by: max(1, self.limits.maximumPayload)).partialValue))
    }

    /// Everything that was sent has arrived.
    package var isDrained: Bool { self.outstanding.isEmpty }

    package var unacknowledgedMessages: Int { self.outstanding.count }

    /// Frames and bytes that came early and wait for what is missing before them.
    package var reordered: (messages: Int, bytes: Int) { (self.receiver.waitingCount, self.receiver.waitingBytes) }

    // MARK: Sending

    /// Cuts the payload into frames; flags stand in the last one. `room` says how much: small messages such as a terminal's size may go
    /// beyond it, data may not. Nothing is sent for an empty payload without flags, which no stock end could send or would expect.
    package mutating func send(
        _ type: PayloadType, _ payload: ByteBuffer, flags: UInt64 = 0, now: NIODeadline, date: Timestamp
    ) -> [AgentMessage] {
        var rest = payload
        guard rest.readableBytes > 0 || flags != 0 else { return [] }
        let largest = min(max(1, self.limits.maximumPayload), self.window.largestFrame, AgentMessage.maximumPayloadLength)
        if rest.readableBytes <= largest { return self.frame(type, rest, flags, now, date).map { [$0] } ?? [] }
        var frames: [AgentMessage] = []
        frames.reserveCapacity(rest.readableBytes / largest + 1)
        while let piece = rest.readSlice(length: min(largest, rest.readableBytes)) {
            let isLast = rest.readableBytes == 0
            if let frame = self.frame(type, piece, isLast ? flags : 0, now, date) { frames.append(frame) }
            if isLast { break }
        }
        return frames
    }

    private mutating func frame(
        _ type: PayloadType, _ payload: ByteBuffer, _ flags: UInt64, _ now: NIODeadline, _ date: Timestamp
    ) -> AgentMessage? {
        // The stock agent marks its first frame, and only that; the stock client none.
        var mark = self.role == .agent && self.nextSequence == 0 ? Self.isFirst : 0
        if self.servesStockClient, self.isClientReady, self.openBatch == nil {
            self.openBatch = self.reserveOpener(date)
            mark |= Self.hasOpener
        }
        let sequence = self.nextSequence
        self.nextSequence += 1
        var message = AgentMessage(
            messageType: self.role.outgoing, createdDate: date, sequenceNumber: sequence, flags: flags | mark, payloadType: type,
            payload: payload
        ).holdingLittle()
        message.isHashed = self.hashesPayloads
        if self.hashesPayloads { message.keepDigest() }
        message.messageID = message.messageID.copy(0)
        let goesOut = self.isConnected && !self.isPaused
        let sent = goesOut ? now : nil
        self.outstanding[sequence] = Outstanding(
            message: message, order: self.nextOrder, sent: sent, firstOrder: self.nextOrder, firstSent: sent,
            place: 2 * sequence)
        self.unacknowledgedBytes += payload.readableBytes
        self.transmitted(sequence)
        if self.waitingSince == nil { self.waitingSince = now }
        return goesOut ? message : nil
    }

    // MARK: The stock client

    private var servesStockClient: Bool { self.role == .agent && self.limits.isForStockClient }

    /// Kept from now on, sent by `flushed`.
    private mutating func reserveOpener(_ date: Timestamp) -> Int64 {
        let sequence = self.nextSequence
        self.nextSequence += 1
        var message = AgentMessage(
            messageType: self.role.outgoing, createdDate: date, sequenceNumber: sequence, payloadType: .output, payload: ByteBuffer())
        message.keepDigest()
        message.messageID = message.messageID.copy(0)
        self.outstanding[sequence] = Outstanding(message: message, order: .max, firstOrder: .max, place: .max)
        return sequence
    }

    /// What was sent since the last time leaves now: says what has to leave behind it.
    package mutating func flushed(now: NIODeadline) -> [AgentMessage] {
        guard let opener = self.openBatch else { return [] }
        self.openBatch = nil
        guard var entry = self.outstanding[opener] else { return [] }
        entry.place = 2 * (self.nextSequence - 1) + 1
        entry.order = self.nextOrder
        entry.firstOrder = self.nextOrder
        let goesOut = self.isConnected && !self.isPaused
        if goesOut {
            entry.sent = now
            entry.firstSent = now
        }
        self.outstanding[opener] = entry
        self.transmitted(opener)
        if self.waitingSince == nil { self.waitingSince = now }
        return goesOut ? [entry.message] : []
    }

    /// The client has its handler: it acknowledges everything that it has not had.
    private mutating func heard(_ delivered: [Delivery]) {
        guard self.servesStockClient, !self.isClientReady else { return }
        guard delivered.contains(where: { $0.type == .output || $0.type == .size }) else { return }
        self.isClientReady = true
        if self.isConnected, !self.isPaused { self.settling = self.nextOrder }
    }

    /// What was sent before something that has arrived, and is not acknowledged: the client had it already.
    private mutating func settleOvertaken() {
        guard self.servesStockClient, self.isClientReady else { return }
        while let first = self.transmissions.first, first.order < self.arrived {
            if let entry = self.outstanding[first.sequence], entry.order == first.order {
                guard first.order >= self.settling else { return }
                self.settle(first.sequence)
            }
            self.transmissions.removeFirst()
        }
    }

    private mutating func settle(_ sequence: Int64) {
        guard let entry = self.outstanding.removeValue(forKey: sequence) else { return }
        self.unacknowledgedBytes -= entry.message.payload.readableBytes
    }

    /// The empty frame behind what was sent again has arrived: what it overtook is settled, and what there was no window for is next.
    private mutating func probed(_ now: NIODeadline, _ send: inout [AgentMessage]) {
        self.probe = nil
        let (settling, arrived) = (self.settling, self.arrived)
        for (sequence, entry) in self.outstanding where entry.order >= settling && entry.order < arrived { self.settle(sequence) }
        if self.outstanding.contains(where: { $0.value.order < settling }) { send += self.repeatAll(now, before: settling) }
    }

    // MARK: Receiving

    /// A frame of the data channel. Other kinds than stream data, acknowledgements and publication are none of its business.
    package mutating func received(_ message: AgentMessage, isReady: Bool = true, now: NIODeadline, date: Timestamp) -> Step {
        var step = Step()
        switch message.messageType {
        case self.role.incoming:
            self.resumed(now, &step.send)
            if !message.isHashed, message.payload.readableBytes > 0 { self.hashesPayloads = false }
            do throws(StreamFailure) {
                let outcome = try self.receiver.received(message, isReady: isReady) { frame in
                    step.deliver.append(Delivery(type: frame.payloadType, flags: frame.flags, payload: frame.payload))
                }
                // An old frame is acknowledged again: its sender has not heard of the first time. The stock client keeps silent there,
                // after which the agent repeats the frame for ever.
                switch outcome {
                case .delivered, .waiting, .repeated, .unknownRepeat: step.send.append(.acknowledging(message, createdDate: date))
                case .refused: break
                }
            } catch {
                step.failure = error
            }
            self.heard(step.deliver)
        case .acknowledge:
            guard let (sequence, copy) = message.acknowledged else {
                step.failure = .acknowledgement
                return step
            }
            self.resumed(now, &step.send)
            self.acknowledged(sequence, copy, isOfRelay: message.flags & AgentMessage.isAnswerOfRelay != 0, now, &step.send)
        case .pausePublication:
            self.isPaused = true
        case .startPublication:
            // Another connection of the client: what was on its way to the former one is lost, or its acknowledgements are.
            if self.servesStockClient { self.isPaused = true }
            self.resumed(now, &step.send)
        default:
            break
        }
        return step
    }

    private mutating func acknowledged(
        _ sequence: Int64, _ copy: UInt8?, isOfRelay: Bool, _ now: NIODeadline, _ send: inout [AgentMessage]
    ) {
        guard let entry = self.outstanding.removeValue(forKey: sequence) else { return }
        let bytes = entry.message.payload.readableBytes
        let wasFull = self.unacknowledgedBytes >= self.window.bytes / 2
        self.unacknowledgedBytes -= bytes
        self.timeouts = 0
        self.waitingSince = self.outstanding.isEmpty ? nil : now
        // It has overtaken what is on its way to the client, and says nothing of the way.
        if isOfRelay { return self.skipSettled() }

        var sent: NIODeadline?
        if entry.repeats == 0 || copy == UInt8(truncatingIfNeeded: entry.repeats) {
            self.arrived = max(self.arrived, entry.order)
            sent = entry.sent
        } else {
            self.arrived = max(self.arrived, entry.firstOrder)
            if copy == 0 { sent = entry.firstSent }
        }
        let sample = sent.map { now - $0 }
        if let sample { self.roundTrip.measured(sample) }
        self.window.acknowledged(bytes, wasFull: wasFull, sample: sample, now: now)
        self.settleOvertaken()
        if sequence == self.probe { self.probed(now, &send) }
        if self.outstanding.isEmpty { self.waitingSince = nil }
        self.repeatLost(now, &send)
        self.skipSettled()
    }

    /// Sends again what later transmissions have overtaken.
    private mutating func repeatLost(_ now: NIODeadline, _ send: inout [AgentMessage]) {
        guard self.isConnected, !self.isPaused else { return }
        var left = Self.repeatsPerAcknowledgement
        // Each round takes one transmission away, and puts at most one back behind all that were there.
        var rounds = self.transmissions.count
        while left > 0, rounds > 0, let first = self.transmissions.first {
            rounds -= 1
            guard let entry = self.outstanding[first.sequence], entry.order == first.order else {
                self.transmissions.removeFirst()
                continue
            }
            guard first.order + Self.overtaking <= self.arrived else { return }
            self.transmissions.removeFirst()
            // What has been repeated in vain is repeated more and more rarely: the reader may not be ready for it, or a stock client
            // has it already and will not say so again.
            if entry.repeats > 0, let sent = entry.sent, now - sent < self.interval(entry) {
                self.outstanding[first.sequence]?.order = self.nextOrder
                self.transmitted(first.sequence)
            } else {
                self.repeatNow(first.sequence, now, &send)
                left -= 1
            }
        }
    }

    private mutating func repeatNow(_ sequence: Int64, _ now: NIODeadline, _ send: inout [AgentMessage]) {
        guard var entry = self.outstanding[sequence] else { return }
        if entry.sent != nil {
            entry.repeats += 1
            entry.message.messageID = entry.message.messageID.copy(UInt8(truncatingIfNeeded: entry.repeats))
        } else {
            entry.firstSent = now
            entry.firstOrder = self.nextOrder
        }
        entry.sent = now
        entry.order = self.nextOrder
        self.outstanding[sequence] = entry
        self.transmitted(sequence)
        send.append(entry.message)
    }

    private mutating func transmitted(_ sequence: Int64) {
        self.transmissions.append(Transmission(order: self.nextOrder, sequence: sequence))
        self.nextOrder += 1
        // Without acknowledgements nothing comes to the front and goes: settled ones are removed all at once now and then.
        if self.transmissions.count > 2 * self.outstanding.count + 64 {
            self.transmissions.removeAll { self.outstanding[$0.sequence]?.order != $0.order }
        }
    }

    private mutating func skipSettled() {
        while let first = self.transmissions.first, self.outstanding[first.sequence]?.order != first.order {
            self.transmissions.removeFirst()
        }
    }

    // MARK: Time

    /// When `due` has something to say.
    package var nextDeadline: NIODeadline? {
        guard self.isConnected, !self.isPaused, !self.outstanding.isEmpty else { return nil }
        return self.timeoutDeadline
    }

    package mutating func due(now: NIODeadline) -> [AgentMessage] {
        guard self.isConnected, !self.isPaused else { return [] }
        self.skipSettled()
        guard let deadline = self.timeoutDeadline, deadline <= now, let sequence = self.overdue else { return [] }
        var send: [AgentMessage] = []
        self.timeouts += 1
        self.waitingSince = now
        self.repeatNow(sequence, now, &send)
        self.skipSettled()
        return send
    }

    /// What a timeout repeats. A stock client that has taken a frame does not say so again: there, each has its turn.
    private var overdue: Int64? {
        if !self.servesStockClient { return self.outstanding.keys.min() }
        return self.transmissions.first { self.outstanding[$0.sequence]?.order == $0.order }?.sequence
    }

    private var timeoutDeadline: NIODeadline? {
        guard let waitingSince, let first = self.transmissions.first(where: { self.outstanding[$0.sequence]?.order == $0.order }),
            let entry = self.outstanding[first.sequence]
        else { return nil }
        return waitingSince + self.interval(repeats: self.timeouts, bytes: entry.message.payload.readableBytes)
    }

    private func interval(_ entry: Outstanding) -> TimeAmount {
        self.interval(repeats: entry.repeats, bytes: entry.message.payload.readableBytes)
    }

    /// Repeats double the wait, up to a second for each 16 KiB.
    private func interval(repeats: Int, bytes: Int) -> TimeAmount {
        let base = self.roundTrip.timeout
        let bound = TimeAmount.seconds(Int64(1 + bytes / (16 << 10)))
        return max(base, min(.nanoseconds(base.nanoseconds << Int64(min(repeats, 10))), bound))
    }

    // MARK: The connection

    /// The connection is gone: what is sent now waits for the next one.
    package mutating func disconnected() {
        self.isConnected = false
    }

    /// There is a connection again, and nothing says what arrived over the last one. Sends all that is unacknowledged, in order, up to a
    /// window; the rest follows with the acknowledgements.
    package mutating func reconnected(now: NIODeadline) -> [AgentMessage] {
        self.isConnected = true
        self.isPaused = false
        self.window.reconnected()
        return self.repeatAll(now)
    }

    /// Something arrived, so that the way is open again. Not knowing what was dropped while it was closed, all is sent again.
    private mutating func resumed(_ now: NIODeadline, _ send: inout [AgentMessage]) {
        guard self.isPaused else { return }
        self.isPaused = false
        if self.isConnected { send += self.repeatAll(now) }
    }

    /// - Parameter before: only what was sent before this transmission.
    private mutating func repeatAll(_ now: NIODeadline, before: UInt64 = .max) -> [AgentMessage] {
        if before == .max {
            // Other connections than before. What is not flushed yet is among what is sent now.
            _ = self.flushed(now: now)
            if self.isClientReady { self.settling = self.nextOrder }
        }
        self.timeouts = 0
        self.waitingSince = self.outstanding.isEmpty ? nil : now
        // What is left over was sent before all of this: the acknowledgements will show it as lost.
        var send: [AgentMessage] = []
        var bytes = 0
        let inOrder = self.outstanding.filter { $0.value.order < before }.map { (place: $0.value.place, sequence: $0.key) }
        for (_, sequence) in inOrder.sorted(by: { $0.place < $1.place }) {
            guard let entry = self.outstanding[sequence] else { continue }
            bytes += entry.message.payload.readableBytes + AgentMessage.payloadOffset
            if !send.isEmpty, bytes > self.window.bytes { break }
            self.repeatNow(sequence, now, &send)
        }
        if self.isClientReady, let date = send.last?.createdDate {
            let probe = self.reserveOpener(date)
            self.outstanding[probe]?.place = 2 * probe
            self.probe = probe
            self.repeatNow(probe, now, &send)
        }
        self.skipSettled()
        return send
    }
}

extension UUID {
    /// The same id with the number of the copy at its end.
    fileprivate func copy(_ number: UInt8) -> UUID {
        var bytes = self.uuid
        bytes.15 = number
        return UUID(uuid: bytes)
    }
}
