import MusterWire

/// The rule that finds clones. [value]
///
/// An agent writes a new, higher number to its disk before every connection. The last number that was accepted is
/// kept with the node, so every claim falls into one of two cases:
///
///     presented > last   an honest reconnect, perhaps over a dead link: it replaces what is there at once
///     presented ≤ last   two holders of one identity (a copied disk, a restored snapshot): both are put in quarantine
///
/// There is no third case: which of the two holders is the right one cannot be told from here.
package struct ConnectionNumbers: Sendable, Equatable {
    package enum Verdict: Sendable, Equatable {
        case accept
        case quarantine
    }

    /// The highest number ever accepted for this node; 0 before the first connection.
    package private(set) var last: UInt64

    package init(last: UInt64) {
        self.last = last
    }

    /// The largest number that the store can keep. An agent that counts from one never gets there.
    package static let largest = UInt64(Int64.max)

    package static func isUsable(_ number: UInt64) -> Bool {
        number > 0 && number <= largest
    }

    package mutating func claim(_ presented: UInt64) -> Verdict {
        guard presented > last else { return .quarantine }
        last = presented
        return .accept
    }
}
