/// How many targets of one command may be in flight, and after how many errors no further one is started.
///
/// Rules of Run Command ("Run commands at scale", AWS Systems Manager User Guide): one target first, then twice as
/// many after each round of acknowledgements until `MaxConcurrency`; sending stops when error `MaxErrors` + 1 arrives.
/// Percentages round down; concurrency is at least 1, the error budget may be 0.
package struct RateControl: Sendable, Equatable {
    package let maximumConcurrency: Int
    package let allowedErrors: Int

    /// Targets that may have the job and have no result yet.
    package private(set) var inFlight = 0
    package private(set) var errors = 0
    /// Grows by one with each target that has proven itself: every acknowledged target frees its own place and opens
    /// another, which doubles the number in flight from one round trip to the next.
    package private(set) var window = 1

    package init(maximumConcurrency: Limit, maximumErrors: Limit, targets: Int) {
        self.maximumConcurrency = max(1, maximumConcurrency.count(of: targets))
        self.allowedErrors = maximumErrors.count(of: targets)
    }

    package var isSpent: Bool { errors > allowedErrors }
    package var hasRoom: Bool { !isSpent && inFlight < min(maximumConcurrency, window) }

    package mutating func started() { inFlight += 1 }
    package mutating func ended() { inFlight -= 1 }
    package mutating func failed() { errors += 1 }
    package mutating func proven() { window += 1 }

    /// `MaxConcurrency` or `MaxErrors` as written in a request: a number or a percentage of the targets.
    package enum Limit: Sendable, Equatable {
        case number(Int)
        case percent(Int)

        package init?(_ text: String) {
            let isPercent = text.utf8.last == UInt8(ascii: "%")
            let digits = isPercent ? text.dropLast() : text[...]
            guard (1...7).contains(text.utf8.count), !digits.isEmpty,
                digits.utf8.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }),
                let value = Int(digits), !isPercent || value <= 100
            else { return nil }
            self = isPercent ? .percent(value) : .number(value)
        }

        func count(of targets: Int) -> Int {
            switch self {
            case .number(let value): value
            case .percent(let value): targets * value / 100
            }
        }
    }
}
