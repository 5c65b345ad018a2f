package import NIOCore

/// Many connections in the byte stream of one port session: smux, protocol version 1, as the stock ends speak it over type-1 frames whose
/// borders mean nothing. Each unit has a header of eight bytes, little-endian:
///
///     0  1  version, 1        2  2  length of the payload (PSH only)
///     1  1  0 SYN  1 FIN      4  4  stream: odd, from 3 on, chosen by the client
///           2 PSH  3 NOP
///
/// **No window.** Version 1 cannot tell a peer to stop sending on one stream. What a slow connection has not taken yet is counted as
/// unread; at `maximumUnread` the owner stops feeding bytes in (`wantsInput`), as the library of the stock ends does, and then all
/// connections wait for the slow one. One that takes nothing at all for `stall` while others want to go on is given up (`stalled`).
///
/// **No half-close.** FIN ends both directions. Keep-alives (NOP) are taken and never sent: what we call ourselves makes the stock ends
/// leave them out.
package struct Multiplexer: Sendable {
    package enum Role: Sendable {
        /// Opens streams.
        case client
        /// Accepts them.
        case agent
    }

    package struct Limits: Sendable {
        package var maximumStreams = 1024
        /// Bytes of one stream that wait to be sent.
        package var maximumQueued = 256 << 10
        /// Received bytes of all streams that their connections have not taken.
        package var maximumUnread = 4 << 20
        package var stall = TimeAmount.seconds(10)
        /// What one stream sends before it is the next one's turn.
        package var turn = 16 << 10
        /// What one that is alone sends in a unit: a whole number of them fills what is read from a connection at once.
        package var alone = 32 << 10

        package init() {}
    }

    package enum Event: Sendable, Equatable {
        case opened(UInt32)
        case data(UInt32, ByteBuffer)
        /// The peer has closed it. When what came before has been written, the owner calls `close`.
        case closed(UInt32)
        /// It took nothing while others waited, and was given up. The owner closes its connection.
        case stalled(UInt32)
        /// The session cannot go on; nothing follows.
        case failed(MultiplexerFailure)
    }

    private enum Command {
        static let open: UInt8 = 0
        static let close: UInt8 = 1
        static let data: UInt8 = 2
        static let nothing: UInt8 = 3
    }

    /// What the owners send in one frame: what is read at once from connections that pour, and its headers. Bytes.
    package static let largestPiece = (128 << 10) + 4 * headerLength

    private static let version: UInt8 = 1
    private static let headerLength = 8
    private static let firstStream: UInt32 = 3
    private static let largestData = 65_535
    /// Answers to what a peer does wrong; one that does it faster than it reads the answers is cut off.
    private static let maximumAnswers = 64 << 10

    private struct Stream: Sendable {
        var queue = CircularBuffer<ByteBuffer>()
        var queued = 0
        var unread = 0
        var taken: NIODeadline
        var needsOpening: Bool
        var isClosedByPeer = false
        var isClosing = false
        /// Stands in `turns`.
        var isWaiting = false

        init(needsOpening: Bool, now: NIODeadline) {
            self.needsOpening = needsOpening
            self.taken = now
        }

        var hasOutput: Bool { self.needsOpening || self.queued > 0 || self.isClosing }

        /// Small pieces are put together: as slices they would keep the large buffers alive into which they were read.
        mutating func append(_ piece: ByteBuffer) {
            guard piece.readableBytes < 1024 else { return self.queue.append(piece) }
            if let last = self.queue.last, last.readableBytes < 4096 {
                self.queue[self.queue.index(before: self.queue.endIndex)].writeImmutableBuffer(piece)
            } else {
                var copy = ByteBuffer()
                copy.writeImmutableBuffer(piece)
                self.queue.append(copy)
            }
        }
    }

    package let role: Role
    package let limits: Limits

    private var streams: [UInt32: Stream] = [:]
    private var turns = CircularBuffer<UInt32>()
    private var nextStream: UInt32? = Multiplexer.firstStream
    private var answers = ByteBuffer()
    package private(set) var queuedBytes = 0
    package private(set) var unreadBytes = 0
    private var blocked: NIODeadline?
    private var failure: MultiplexerFailure?

    // What has been read of the unit at the front.
    private var header: UInt64 = 0
    private var headerBytes = 0
    private var dataStream: UInt32 = 0
    private var dataLeft = 0

    package init(role: Role, limits: Limits = Limits()) {
        self.role = role
        self.limits = limits
    }

    package var openStreams: Int { self.streams.count }

    // MARK: Coming in

    /// Otherwise the owner keeps what it has, and takes nothing more from the peer until connections have taken what they have.
    package var wantsInput: Bool { self.unreadBytes < self.limits.maximumUnread }

    /// The next bytes of the stream, cut anywhere. Data is passed on as slices of them.
    package mutating func received(_ bytes: ByteBuffer, now: NIODeadline) -> [Event] {
        var bytes = bytes
        var events: [Event] = []
        while self.failure == nil, bytes.readableBytes > 0 {
            if self.dataLeft > 0 {
                guard let piece = bytes.readSlice(length: min(self.dataLeft, bytes.readableBytes)) else { break }
                self.dataLeft -= piece.readableBytes
                self.deliver(piece, &events)
            } else if self.headerBytes == 0, let whole = bytes.readInteger(endianness: .little, as: UInt64.self) {
                self.headerArrived(whole, now, &events)
            } else if let byte = bytes.readInteger(as: UInt8.self) {
                self.header |= UInt64(byte) << UInt64(8 * self.headerBytes)
                self.headerBytes += 1
                if self.headerBytes == Self.headerLength {
                    let whole = self.header
                    self.header = 0
                    self.headerBytes = 0
                    self.headerArrived(whole, now, &events)
                }
            }
        }
        self.noteBlocking(now)
        return events
    }

    private mutating func deliver(_ piece: ByteBuffer, _ events: inout [Event]) {
        // A stream that has been closed here may still get what was on its way.
        guard let index = self.streams.index(forKey: self.dataStream) else { return }
        guard !self.streams.values[index].isClosing, !self.streams.values[index].isClosedByPeer else { return }
        self.streams.values[index].unread += piece.readableBytes
        self.unreadBytes += piece.readableBytes
        events.append(.data(self.dataStream, piece))
    }

    private mutating func headerArrived(_ header: UInt64, _ now: NIODeadline, _ events: inout [Event]) {
        let version = UInt8(truncatingIfNeeded: header)
        let command = UInt8(truncatingIfNeeded: header >> 8)
        let length = Int(UInt16(truncatingIfNeeded: header >> 16))
        let id = UInt32(truncatingIfNeeded: header >> 32)
        guard version == Self.version else { return self.fail(.version(version), &events) }
        guard command == Command.data || length == 0 else { return self.fail(.length, &events) }
        switch command {
        case Command.open:
            guard self.streams[id] == nil else { return }
            guard self.role == .agent, self.streams.count < self.limits.maximumStreams else { return self.answerClosing(id, &events) }
            self.streams[id] = Stream(needsOpening: false, now: now)
            events.append(.opened(id))
        case Command.close:
            guard let stream = self.streams[id], !stream.isClosedByPeer else { return }
            self.queuedBytes -= stream.queued
            self.streams[id]?.queue.removeAll()
            self.streams[id]?.queued = 0
            self.streams[id]?.isClosedByPeer = true
            if !stream.isClosing { events.append(.closed(id)) }
        case Command.data:
            self.dataStream = id
            self.dataLeft = length
        case Command.nothing:
            break
        default:
            self.fail(.command(command), &events)
        }
    }

    private mutating func answerClosing(_ id: UInt32, _ events: inout [Event]) {
        guard self.answers.readableBytes + Self.headerLength <= Self.maximumAnswers else { return self.fail(.tooManyRefused, &events) }
        self.answers.writeHeader(Command.close, id)
    }

    private mutating func fail(_ reason: MultiplexerFailure, _ events: inout [Event]) {
        self.failure = reason
        events.append(.failed(reason))
    }

    /// The stream's connection has taken so many of the bytes that `data` events brought.
    package mutating func consumed(_ id: UInt32, _ count: Int, now: NIODeadline) {
        guard let index = self.streams.index(forKey: id) else { return }
        let count = min(max(0, count), self.streams.values[index].unread)
        self.streams.values[index].unread -= count
        self.streams.values[index].taken = now
        self.unreadBytes -= count
        self.noteBlocking(now)
    }

    private mutating func noteBlocking(_ now: NIODeadline) {
        if self.wantsInput {
            self.blocked = nil
        } else if self.blocked == nil {
            self.blocked = now
        }
    }

    package var nextDeadline: NIODeadline? {
        guard let blocked, self.streams.count > 1 else { return nil }
        return blocked + self.limits.stall
    }

    /// Gives up the stream that holds up all others, if it has taken nothing in all that time.
    package mutating func due(now: NIODeadline) -> [Event] {
        guard let deadline = self.nextDeadline, deadline <= now, let worst = self.streams.max(by: { $0.value.unread < $1.value.unread })
        else { return [] }
        guard worst.value.taken + self.limits.stall <= now else {
            self.blocked = now
            return []
        }
        self.close(worst.key, now: now)
        return [.stalled(worst.key)]
    }

    // MARK: Going out

    /// A new stream, or nothing if there are too many.
    package mutating func open(now: NIODeadline) -> UInt32? {
        guard self.role == .client, self.failure == nil, self.streams.count < self.limits.maximumStreams, let id = self.nextStream else {
            return nil
        }
        let (next, overflow) = id.addingReportingOverflow(2)
        self.nextStream = overflow ? nil : next
        self.streams[id] = Stream(needsOpening: true, now: now)
        self.wait(id)
        return id
    }

    /// Bytes that `write` takes now; nothing for a stream that is closed.
    package func room(_ id: UInt32) -> Int {
        guard let stream = self.streams[id], !stream.isClosing, !stream.isClosedByPeer else { return 0 }
        return max(0, self.limits.maximumQueued - stream.queued)
    }

    /// Takes as much as there is room for and leaves the rest.
    package mutating func write(_ id: UInt32, _ bytes: inout ByteBuffer) {
        guard let piece = bytes.readSlice(length: min(bytes.readableBytes, self.room(id))), piece.readableBytes > 0,
            let index = self.streams.index(forKey: id)
        else { return }
        self.streams.values[index].append(piece)
        self.streams.values[index].queued += piece.readableBytes
        self.queuedBytes += piece.readableBytes
        self.wait(id)
    }

    /// Ends a stream, after what has been written. What has not been read is of no interest any more.
    package mutating func close(_ id: UInt32, now: NIODeadline) {
        guard let index = self.streams.index(forKey: id), !self.streams.values[index].isClosing else { return }
        self.streams.values[index].isClosing = true
        self.unreadBytes -= self.streams.values[index].unread
        self.streams.values[index].unread = 0
        self.noteBlocking(now)
        self.wait(id)
    }

    package var hasOutput: Bool { self.answers.readableBytes > 0 || !self.turns.isEmpty }

    /// The next bytes for the peer, at most so many: a turn for each stream that has something, whole units only. Nothing if there is
    /// nothing to send or no room for a unit.
    package mutating func take(upTo maximum: Int) -> ByteBuffer? {
        guard self.failure == nil, self.hasOutput, maximum > Self.headerLength else { return nil }
        var out = ByteBuffer()
        let expected = self.answers.readableBytes + self.queuedBytes + (self.turns.count + self.queuedBytes / self.limits.turn) * 24
        out.reserveCapacity(min(maximum, expected))
        if var first = self.answers.readSlice(length: min(self.answers.readableBytes, maximum / Self.headerLength * Self.headerLength)) {
            out.writeBuffer(&first)
            if self.answers.readableBytes == 0 { self.answers.clear() }
        }
        while let id = self.turns.first {
            let before = out.readableBytes
            let isFinished = self.turn(id, &out, maximum)
            if isFinished {
                self.turns.removeFirst()
            } else if out.readableBytes > before {
                self.turns.removeFirst()
                self.turns.append(id)
            } else {
                break
            }
        }
        return out.readableBytes > 0 ? out : nil
    }

    /// True when the stream has nothing more to send.
    private mutating func turn(_ id: UInt32, _ out: inout ByteBuffer, _ maximum: Int) -> Bool {
        guard let index = self.streams.index(forKey: id) else { return true }
        if self.streams.values[index].needsOpening {
            guard out.readableBytes + Self.headerLength <= maximum else { return false }
            out.writeHeader(Command.open, id)
            self.streams.values[index].needsOpening = false
        }
        let queued = self.streams.values[index].queued
        if queued > 0 {
            let turn = self.turns.count > 1 ? self.limits.turn : self.limits.alone
            let count = min(queued, turn, Self.largestData, maximum - out.readableBytes - Self.headerLength)
            guard count > 0 else { return false }
            out.writeHeader(Command.data, id, length: count)
            var left = count
            while left > 0, let first = self.streams.values[index].queue.first {
                let bytes = min(left, first.readableBytes)
                left -= bytes
                self.streams.values[index].queue[self.streams.values[index].queue.startIndex].moveReaderIndex(forwardBy: bytes)
                out.writeImmutableBuffer(first.getSlice(at: first.readerIndex, length: bytes) ?? ByteBuffer())
                if bytes == first.readableBytes { self.streams.values[index].queue.removeFirst() }
            }
            self.streams.values[index].queued -= count
            self.queuedBytes -= count
        }
        if self.streams.values[index].isClosing, self.streams.values[index].queued == 0 {
            guard out.readableBytes + Self.headerLength <= maximum else { return false }
            out.writeHeader(Command.close, id)
            self.streams[id] = nil
            return true
        }
        let isFinished = !self.streams.values[index].hasOutput
        if isFinished { self.streams.values[index].isWaiting = false }
        return isFinished
    }

    private mutating func wait(_ id: UInt32) {
        guard let index = self.streams.index(forKey: id), !self.streams.values[index].isWaiting else { return }
        self.streams.values[index].isWaiting = true
        self.turns.append(id)
    }
}

/// What a peer did to a multiplexed stream that ends the session.
package enum MultiplexerFailure: Error, Sendable, Equatable, CustomStringConvertible {
    case version(UInt8)
    case command(UInt8)
    case length
    case tooManyRefused

    package var description: String {
        switch self {
        case .version(let version): "The peer multiplexes with version \(version) of smux; only 1 is spoken here."
        case .command(let command): "The peer sent the unknown smux command \(command)."
        case .length: "The peer sent a smux command with a length it cannot have."
        case .tooManyRefused: "The peer opens streams faster than they can be refused."
        }
    }
}

extension ByteBuffer {
    fileprivate mutating func writeHeader(_ command: UInt8, _ stream: UInt32, length: Int = 0) {
        let header = 1 | UInt64(command) << 8 | UInt64(length) << 16 | UInt64(stream) << 32
        self.writeInteger(header, endianness: .little)
    }
}
