import NIOCore

/// How many bytes may be on their way. It grows while acknowledgements come back quickly and shrinks when they only queue: what waits
/// in buffers between a fast host and a slow link is what Ctrl-C has to wait for.
struct SendWindow: Sendable {
    private static let start = 256 << 10
    private static let floor = 64 << 10
    /// Waiting in queues that is taken for normal: a busy machine does it too.
    private static let tolerated = TimeAmount.milliseconds(100)
    private(set) var bytes: Int
    private let ceiling: Int
    private var shortest: TimeAmount?
    private var shrunk: NIODeadline?
    private var isQuick = false

    /// What one frame may hold: until a link has shown that it is quick, a large one would be repeated while it is still on its way.
    var largestFrame: Int { self.isQuick ? .max : Self.floor }

    init(ceiling: Int) {
        self.ceiling = max(1, ceiling)
        self.bytes = min(Self.start, self.ceiling)
    }

    mutating func acknowledged(_ count: Int, wasFull: Bool, sample: TimeAmount?, now: NIODeadline) {
        guard let sample else { return }
        self.isQuick = sample <= Self.tolerated
        guard let shortest, sample > shortest else {
            self.shortest = sample
            if wasFull { self.grow(count) }
            return
        }
        if sample <= shortest + Self.tolerated {
            if wasFull { self.grow(count) }
            return
        }
        if let shrunk, now - shrunk < sample { return }
        self.shrunk = now
        if self.bytes <= Self.floor {
            // Hardly anything is on its way, and still it takes this long: the path itself has become longer.
            self.shortest = sample
        } else {
            self.bytes = max(Self.floor, self.bytes / 8 * 7)
        }
    }

    /// Doubles with each round trip until a queue has been seen once, then grows by about a frame.
    private mutating func grow(_ count: Int) {
        let step = self.shrunk == nil ? count : count * min(count, self.bytes) / max(1, self.bytes)
        self.bytes = min(self.ceiling, self.bytes + max(1, step))
    }

    /// Another connection may be another path.
    mutating func reconnected() {
        self.shortest = nil
        self.shrunk = nil
        self.isQuick = false
        self.bytes = min(self.bytes, min(Self.start, self.ceiling))
    }
}
