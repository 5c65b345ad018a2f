package import MusterWire

/// Bounds the guesses at activation codes. [value]
///
/// Only failures cost something, and they are counted per source address and activation: a thousand honest hosts behind
/// one address enrol at full speed, and one host with a wrong code does not lock out its neighbours' activations.
package struct AttemptLimiter: Sendable {
    package struct Key: Hashable, Sendable {
        let source: String
        /// Nil for activations that do not exist; all of these share one budget, so that invented ids cannot fill the table.
        let activation: ActivationID?

        package init(source: String, activation: ActivationID?) {
            self.source = AddressRange.stranger(source)
            self.activation = activation
        }
    }

    private struct Budget {
        var left: Double
        var asOf: Timestamp
    }

    private let burst: Double
    private let refillPerSecond: Double
    private let capacity: Int
    private var budgets: [Key: Budget] = [:]

    package init(burst: Int = 20, refillPerMinute: Double = 10, capacity: Int = 10_000) {
        self.burst = Double(burst)
        self.refillPerSecond = refillPerMinute / 60
        self.capacity = capacity
    }

    package var count: Int { budgets.count }

    package func allows(_ key: Key, at now: Timestamp) -> Bool {
        guard let budget = budgets[key] else { return true }
        return left(budget, at: now) >= 1
    }

    package mutating func failed(_ key: Key, at now: Timestamp) {
        var budget = budgets[key] ?? Budget(left: burst, asOf: now)
        budget.left = max(0, left(budget, at: now) - 1)
        budget.asOf = now
        if budgets[key] == nil, budgets.count >= capacity { makeRoom(at: now) }
        budgets[key] = budget
    }

    private func left(_ budget: Budget, at now: Timestamp) -> Double {
        let seconds = Double(max(0, now.milliseconds - budget.asOf.milliseconds)) / 1000
        return min(burst, budget.left + seconds * refillPerSecond)
    }

    /// Drops those who have earned their whole budget back; if nobody has, the one who failed longest ago.
    private mutating func makeRoom(at now: Timestamp) {
        budgets = budgets.filter { left($0.value, at: now) < burst }
        if budgets.count >= capacity, let oldest = budgets.min(by: { $0.value.asOf < $1.value.asOf })?.key {
            budgets.removeValue(forKey: oldest)
        }
    }
}
