import NIOCore

/// How many bytes may be on their way. It grows while acknowledgements come back quickly and shrinks when they only queue: what waits
/// in buffers between a fast host and a slow link is what Ctrl-C has to wait for.
struct SendWindow: Sendable {
    private static let start = 256 << 10
    private static let floor = 64 << 10
    /// Waiting in queues that is taken for normal: a busy machine does it too.
    private static let tolerated = TimeAmount.milliseconds(100)
    /// A shortest time that nobody has seen for this long no longer describes the path.
    private static let memory = TimeAmount.seconds(10)

    private(set) var bytes: Int
    private let ceiling: Int
    private var shortest: (time: TimeAmount, at: NIODeadline)?
    private var shrunk: NIODeadline?

    init(ceiling: Int) {
        self.ceiling = max(1, ceiling)
        self.bytes = min(Self.start, self.ceiling)
    }

    mutating func acknowledged(_ count: Int, wasFull: Bool, sample: TimeAmount?, now: NIODeadline) {
        guard let sample else { return }
        if let shortest, sample > shortest.time, now - shortest.at < Self.memory {
            if sample > shortest.time + Self.tolerated {
                if let shrunk, now - shrunk < sample { return }
                self.shrunk = now
                self.bytes = max(min(Self.floor, self.ceiling), self.bytes / 8 * 7)
                return
            }
        } else {
            self.shortest = (sample, now)
        }
        if wasFull { self.bytes = min(self.ceiling, self.bytes + count) }
    }

    /// Another connection may be another path.
    mutating func reconnected() {
        self.shortest = nil
        self.shrunk = nil
        self.bytes = min(self.bytes, min(Self.start, self.ceiling))
    }
}
