import NIOCore

/// The receiving half of a stream: each sequence number once and in order. It acknowledges nothing, so that the recorder of a session can
/// run it beside the two ends.
///
/// Who lets no other contents pass under a number that has been seen remembers what each frame was: its kind, because the ends do other
/// things with the same bytes of another type, and its payload by its SHA-256, which can be told to a later run, or by a fingerprint under a
/// key of its own.
package struct StreamReceiver: Sendable {
    package enum Outcome: Sendable, Equatable {
        /// It was the next one; it and what waited for it have been delivered.
        case delivered
        /// It came early and waits.
        case waiting
        /// Seen before; with memory for it, the same contents as then.
        case repeated
        /// Seen before, too long ago to compare: who must not let other contents pass has to drop it.
        case unknownRepeat
        /// Early, and no room to wait: dropped, as if it had been lost. Or the next one, and the reader was not ready.
        case refused
    }

    private struct Remembered: Sendable {
        /// Half of the digest will do: who looks for two payloads that share 128 bits of it looks for 2^64 attempts.
        private let low: UInt64
        private let high: UInt64
        private let flags: UInt64
        /// Beside the digest and not mixed into it: a sender chooses type and flags freely, and would look for payloads that make up for them.
        private let type: Int64

        /// No frame has it: of what an earlier release wrote down, only the payload is known.
        private static let unknown: Int64 = -1

        init(_ digest: PayloadDigest, _ kind: FrameKind?) {
            (low, high) = (digest.words.0, digest.words.1)
            type = kind.map { Int64($0.payloadType.rawValue) } ?? Self.unknown
            flags = kind?.flags ?? 0
        }

        init(_ message: AgentMessage, _ fingerprint: PayloadFingerprint?) {
            if let fingerprint {
                (low, high) = fingerprint.of(message.payload)
            } else {
                let digest = message.payloadDigest
                (low, high) = (digest.words.0, digest.words.1)
            }
            type = Int64(message.payloadType.rawValue)
            flags = message.flags
        }

        func isThatOf(_ other: Self) -> Bool {
            low == other.low && high == other.high && (type == Self.unknown || (type == other.type && flags == other.flags))
        }
    }

    /// The sequence number that is delivered next.
    package private(set) var expected: Int64
    private var waiting: [Int64: AgentMessage] = [:]
    private(set) var waitingBytes = 0
    private let maximumWaiting: Int
    private let maximumWaitingBytes: Int
    /// The last accepted numbers, the last one at the end.
    private var remembered = CircularBuffer<Remembered>()
    private let maximumRemembered: Int
    private let takesOpeners: Bool
    private let fingerprint: PayloadFingerprint?

    /// - Parameters:
    ///   - takesOpeners: a frame that says so stands for the empty one before it as well, which then is a repeat when it comes.
    ///   - fingerprint: instead of digests. What is remembered is then of no use to a later run.
    package init(
        maximumWaiting: Int, maximumWaitingBytes: Int, remembering: Int = 0, expected: Int64 = 0, takesOpeners: Bool = false,
        fingerprint: PayloadFingerprint? = nil
    ) {
        self.takesOpeners = takesOpeners
        self.fingerprint = fingerprint
        self.maximumWaiting = maximumWaiting
        self.maximumWaitingBytes = maximumWaitingBytes
        self.maximumRemembered = remembering
        self.expected = max(0, expected)
    }

    package var waitingCount: Int { self.waiting.count }

    /// After a restart: what the numbers before `expected` were, oldest first.
    package mutating func remember(_ digest: PayloadDigest, _ kind: FrameKind?) {
        guard self.maximumRemembered > 0 else { return }
        self.remember(Remembered(digest, kind))
    }

    private mutating func remember(_ known: Remembered) {
        if self.remembered.count == self.maximumRemembered { self.remembered.removeFirst() }
        self.remembered.append(known)
    }

    package mutating func received(
        _ message: AgentMessage, isReady: Bool = true, deliver: (AgentMessage) -> Void
    ) throws(StreamFailure) -> Outcome {
        let sequence = message.sequenceNumber
        guard sequence >= 0, sequence < .max else { throw .sequence(sequence) }
        if self.takesOpeners, isReady, message.flags & ReliableStream.hasOpener != 0, sequence - 1 == self.expected {
            var opener = message
            opener.sequenceNumber -= 1
            opener.flags = 0
            opener.payloadType = .output
            opener.payload = ByteBuffer()
            self.accept(opener, deliver)
        }
        if sequence == self.expected {
            guard isReady else { return .refused }
            self.accept(message, deliver)
            while !self.waiting.isEmpty, let next = self.waiting.removeValue(forKey: self.expected) {
                self.waitingBytes -= next.payload.readableBytes
                self.accept(next, deliver)
            }
            return .delivered
        }
        if sequence < self.expected {
            guard self.maximumRemembered > 0 else { return .repeated }
            let age = self.expected - sequence
            guard age <= self.remembered.count else { return .unknownRepeat }
            let known = self.remembered[self.remembered.index(self.remembered.endIndex, offsetBy: -Int(age))]
            guard known.isThatOf(Remembered(message, self.fingerprint)) else { throw .repeatDiffers(sequence: sequence) }
            return .repeated
        }
        if let early = self.waiting[sequence] {
            if self.maximumRemembered > 0, early.kind != message.kind || early.payload != message.payload {
                throw .repeatDiffers(sequence: sequence)
            }
            return .repeated
        }
        let bytes = message.payload.readableBytes
        guard self.waiting.count < self.maximumWaiting, self.waitingBytes + bytes <= self.maximumWaitingBytes else { return .refused }
        self.waitingBytes += bytes
        self.waiting[sequence] = message.holdingLittle()
        return .waiting
    }

    /// For a recorder that was away: what is missing will not come. Goes on with the first frames that wait, and says which are left out.
    package mutating func skipMissing(deliver: (AgentMessage) -> Void) -> Range<Int64>? {
        guard let first = self.waiting.keys.min() else { return nil }
        let missing = self.expected..<first
        // Their digests are counted back from `expected`, and those of the missing ones are not known.
        self.remembered.removeAll()
        self.expected = first
        while let next = self.waiting.removeValue(forKey: self.expected) {
            self.waitingBytes -= next.payload.readableBytes
            self.accept(next, deliver)
        }
        return missing
    }

    private mutating func accept(_ message: AgentMessage, _ deliver: (AgentMessage) -> Void) {
        self.expected += 1
        guard self.maximumRemembered > 0 else { return deliver(message) }
        var message = message
        // Who gets it next wants it, too.
        if self.fingerprint == nil { message.keepDigest() }
        self.remember(Remembered(message, self.fingerprint))
        deliver(message)
    }
}
