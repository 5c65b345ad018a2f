internal import NIOConcurrencyHelpers
internal import NIOCore

/// How much of something there is, and who has how much of it. Whatever the controller counts for others is counted with this: connections,
/// bodies in memory, sessions that nobody has opened.
///
///     take ─► Share ─┬─ giveBack        its owner is done
///                    ├─ deinit          on every way out that nobody has thought of: nobody holds it any more
///                    └─ cut             somebody else needs it more, and its owner is told
///
/// No source has more than its part. A share that says how it is cut makes room for a newcomer: the oldest one of the source that has most,
/// so that whoever takes a lot competes with itself, and one of as small a source only once it has had its time.
package final class Quota<Source: Hashable & Sendable>: Sendable {
    private let ledger: NIOLockedValueBox<QuotaLedger<Source>>
    /// Milliseconds of any steady clock.
    private let now: @Sendable () -> Int64

    /// - Parameter graceMilliseconds: how long a share is safe from newcomers that have no less than its own source.
    package init(
        total: Int, perSource: Int, graceMilliseconds: Int64 = 3_000,
        now: @escaping @Sendable () -> Int64 = { Int64(NIODeadline.now().uptimeNanoseconds / 1_000_000) }
    ) {
        ledger = NIOLockedValueBox(QuotaLedger(total: total, perSource: perSource, graceMilliseconds: graceMilliseconds))
        self.now = now
    }

    package var taken: Int { ledger.withLockedValue { $0.taken } }

    package func taken(by source: Source) -> Int { ledger.withLockedValue { $0.taken(by: source) } }

    /// Nil when there is no room: tell whoever asked, and hold nothing for it.
    ///
    /// - Parameter cut: called once, on any thread, when the share has been given to somebody else. Without it the share is its owner's for
    ///   as long as the owner likes.
    package func take(_ amount: Int = 1, for source: Source, cut: (@Sendable () -> Void)? = nil) -> Share? {
        let time = now()
        let (number, cuts) = ledger.withLockedValue { $0.take(amount, for: source, cut: cut, now: time) }
        for cut in cuts { cut() }
        return number.map { Share(number: $0, quota: self) }
    }

    /// Part of a quota, given back once.
    package final class Share: Sendable {
        private let number: UInt64
        private let quota: Quota

        fileprivate init(number: UInt64, quota: Quota) {
            (self.number, self.quota) = (number, quota)
        }

        deinit { giveBack() }

        package func giveBack() { quota.ledger.withLockedValue { $0.remove(number) } }

        /// Takes more. False when there is no room, or the share has been cut or given back; what it had it still has.
        package func grow(by amount: Int) -> Bool {
            let time = quota.now()
            let (isTaken, cuts) = quota.ledger.withLockedValue { $0.grow(number, by: amount, now: time) }
            for cut in cuts { cut() }
            return isTaken
        }

        /// It cannot be cut from now on. False when it has been.
        package func keep() -> Bool { quota.ledger.withLockedValue { $0.keep(number) } }
    }
}

/// The decisions of a quota. [value]
struct QuotaLedger<Source: Hashable & Sendable>: Sendable {
    private struct Entry {
        let source: Source
        let since: Int64
        var amount: Int
        var cut: (@Sendable () -> Void)?
    }

    private struct Holding {
        var amount = 0
        var entries = 0
        /// Those that can be cut, oldest first. Some may be gone; the first one never is.
        var order = CircularBuffer<UInt64>()
    }

    private let total: Int
    private let perSource: Int
    private let graceMilliseconds: Int64
    private var entries: [UInt64: Entry] = [:]
    private var holdings: [Source: Holding] = [:]
    private var last: UInt64 = 0
    private(set) var taken = 0

    init(total: Int, perSource: Int, graceMilliseconds: Int64 = 0) {
        (self.total, self.perSource, self.graceMilliseconds) = (total, perSource, graceMilliseconds)
    }

    var sources: Int { holdings.count }

    func taken(by source: Source) -> Int { holdings[source]?.amount ?? 0 }

    mutating func take(
        _ amount: Int, for source: Source, cut: (@Sendable () -> Void)?, now: Int64
    ) -> (number: UInt64?, cuts: [@Sendable () -> Void]) {
        let (hasRoom, cuts) = makeRoom(amount, for: source, now: now)
        guard hasRoom else { return (nil, cuts) }
        last += 1
        entries[last] = Entry(source: source, since: now, amount: amount, cut: cut)
        taken += amount
        var holding = holdings.removeValue(forKey: source) ?? Holding()
        holding.amount += amount
        holding.entries += 1
        if cut != nil {
            if holding.order.count >= 2 * holding.entries + 16 { holding.order = CircularBuffer(holding.order.filter { isCuttable($0) }) }
            holding.order.append(last)
        }
        holdings[source] = holding
        return (last, cuts)
    }

    mutating func grow(_ number: UInt64, by amount: Int, now: Int64) -> (isTaken: Bool, cuts: [@Sendable () -> Void]) {
        guard let entry = entries[number] else { return (false, []) }
        let (hasRoom, cuts) = makeRoom(amount, for: entry.source, now: now)
        // Its own turn to be cut may have come.
        guard hasRoom, entries[number] != nil else { return (false, cuts) }
        entries[number]?.amount += amount
        holdings[entry.source]?.amount += amount
        taken += amount
        return (true, cuts)
    }

    mutating func keep(_ number: UInt64) -> Bool {
        guard entries[number] != nil else { return false }
        entries[number]?.cut = nil
        if let source = entries[number]?.source { trim(source) }
        return true
    }

    mutating func remove(_ number: UInt64) {
        guard let entry = entries.removeValue(forKey: number) else { return }
        taken -= entry.amount
        guard var holding = holdings.removeValue(forKey: entry.source) else { return }
        holding.amount -= entry.amount
        holding.entries -= 1
        guard holding.entries > 0 else { return }
        holdings[entry.source] = holding
        trim(entry.source)
    }

    private mutating func trim(_ source: Source) {
        while let number = holdings[source]?.order.first, !isCuttable(number) { holdings[source]?.order.removeFirst() }
    }

    // MARK: Room

    private mutating func makeRoom(_ amount: Int, for source: Source, now: Int64) -> (Bool, [@Sendable () -> Void]) {
        var cuts: [@Sendable () -> Void] = []
        guard amount <= min(total, perSource) else { return (false, []) }
        while taken + amount > total || taken(by: source) + amount > perSource {
            guard let number = victim(for: source, amount, now: now), let cut = entries[number]?.cut else { return (false, cuts) }
            remove(number)
            cuts.append(cut)
        }
        return (true, cuts)
    }

    private func victim(for source: Source, _ amount: Int, now: Int64) -> UInt64? {
        let own = taken(by: source)
        if own + amount > perSource { return oldest(of: source, until: now - graceMilliseconds) }
        var most: (source: Source, amount: Int, number: UInt64)?
        for (candidate, holding) in holdings where holding.amount >= most?.amount ?? 1 {
            guard let number = oldest(of: candidate, until: now) else { continue }
            if let most, most.amount == holding.amount, most.number < number { continue }
            most = (candidate, holding.amount, number)
        }
        guard let most else { return nil }
        return most.amount > own + amount ? most.number : oldest(of: most.source, until: now - graceMilliseconds)
    }

    private func isCuttable(_ number: UInt64) -> Bool { entries[number]?.cut != nil }

    private func oldest(of source: Source, until: Int64) -> UInt64? {
        guard let number = holdings[source]?.order.first, let since = entries[number]?.since, since <= until else { return nil }
        return number
    }
}
