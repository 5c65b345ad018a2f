package import MusterWire

/// How much one caller may ask for. [value]
///
/// A token bucket per caller: `rate` calls a second in the long run, `burst` at once. The table of callers is bounded, so
/// that invented names cannot fill memory: full buckets say nothing and go first.
package struct RequestLimits: Sendable {
    private struct Bucket {
        var tokens: Double
        var asOf: Int64
    }

    private let rate: Double
    private let burst: Double
    private let capacity: Int
    private var buckets: [String: Bucket] = [:]

    package init(perSecond rate: Int, burst: Int, capacity: Int = 20_000) {
        self.rate = Double(max(1, rate))
        self.burst = Double(max(1, burst))
        self.capacity = max(1, capacity)
    }

    package var count: Int { buckets.count }

    /// Takes one token. False means: tell the caller to slow down. `now` is in milliseconds of any steady clock.
    package mutating func admit(_ caller: String, now: Int64) -> Bool {
        var bucket = buckets[caller] ?? Bucket(tokens: burst, asOf: now)
        bucket.tokens = refilled(bucket, now)
        bucket.asOf = now
        let isAdmitted = bucket.tokens >= 1
        if isAdmitted { bucket.tokens -= 1 }
        if buckets[caller] == nil, buckets.count >= capacity { makeRoom(now) }
        buckets[caller] = bucket
        return isAdmitted
    }

    private func refilled(_ bucket: Bucket, _ now: Int64) -> Double {
        min(burst, bucket.tokens + Double(max(0, now - bucket.asOf)) * rate / 1000)
    }

    private mutating func makeRoom(_ now: Int64) {
        buckets = buckets.filter { refilled($0.value, now) < burst }
        if buckets.count >= capacity, let oldest = buckets.min(by: { $0.value.asOf < $1.value.asOf })?.key {
            buckets.removeValue(forKey: oldest)
        }
    }
}

/// Refusals that come in floods, to people who have not shown who they are for the most part, gathered so that an attacker cannot write the audit trail full. [value]
///
/// The first of a kind is written at once; those that follow within the window become one event with a count. Of one source, and of all
/// together, there are so many kinds in a window; the rest are one kind.
package struct DenialLedger: Sendable {
    package struct Kind: Sendable, Hashable {
        package let source: String
        package let operation: String
        package let reason: String
        /// What it was about, where that is certain.
        package let resource: String

        package init(source: String, operation: String, reason: String, resource: String = "*") {
            self.source = source
            self.operation = operation
            self.reason = reason
            self.resource = resource
        }
    }

    private let windowMilliseconds: Int64
    private let capacity: Int
    private let capacityOfSource: Int
    private var windows: [Kind: Window] = [:]
    private var sources: [String: Int] = [:]

    private struct Window: Sendable {
        let since: Int64
        /// Of those that are not written yet.
        var count = 0
        var first: Int64 = 0
        var last: Int64 = 0
        /// Who it was the last time, where that is known.
        var caller: Caller?
    }

    /// What one event tells of.
    package struct Gathered: Sendable, Equatable {
        package let kind: Kind
        package let count: Int
        package let first: Timestamp
        package let last: Timestamp
        package var caller: Caller?
    }

    /// As they are, strangers together write less than 150,000 events a day, and one of them less than 20,000.
    package init(windowSeconds: Int64 = 300, capacity: Int = 256, capacityOfSource: Int = 32) {
        self.windowMilliseconds = windowSeconds * 1000
        self.capacity = capacity
        self.capacityOfSource = capacityOfSource
    }

    package enum Action: Sendable, Equatable {
        /// Write it now.
        case write(Kind)
        /// Counted; `expired` will return it.
        case counted
    }

    package mutating func denied(_ kind: Kind, by caller: Caller? = nil, now: Int64) -> Action {
        let stranger = AddressRange.stranger(kind.source)
        var kind = kind
        if windows[kind] == nil {
            // Too many kinds at once are one kind.
            if windows.count >= capacity {
                kind = Kind(source: "many", operation: "many", reason: "many")
            } else if sources[stranger, default: 0] >= capacityOfSource {
                kind = Kind(source: stranger, operation: "many", reason: "many")
            }
        }
        if var window = windows[kind] {
            if window.count == 0 { window.first = now }
            window.count += 1
            window.last = now
            window.caller = caller
            windows[kind] = window
            return .counted
        }
        windows[kind] = Window(since: now)
        sources[AddressRange.stranger(kind.source), default: 0] += 1
        return .write(kind)
    }

    /// What was counted in windows that are over.
    package mutating func expired(now: Int64, all: Bool = false) -> [Gathered] {
        let over = windows.filter { all || now - $0.value.since >= windowMilliseconds }
        for kind in over.keys {
            windows.removeValue(forKey: kind)
            let stranger = AddressRange.stranger(kind.source)
            let left = sources[stranger, default: 1] - 1
            sources[stranger] = left > 0 ? left : nil
        }
        return over.filter { $0.value.count > 0 }.map { kind, window in
            Gathered(
                kind: kind, count: window.count, first: Timestamp(milliseconds: window.first), last: Timestamp(milliseconds: window.last),
                caller: window.caller)
        }
    }
}
