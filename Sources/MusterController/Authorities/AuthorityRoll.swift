package import MusterWire

/// Where the controller stands between one certificate authority and the next, and whether it may go on. [value]
///
///     settled(1) ── prepare ─► prepared(1, next 2) ── switch ─► switched(2, former 1) ── retire ─► settled(2)
///
/// In `prepared` nodes learn the next authority with their renewals, and nothing else changes. In `switched` everything is issued
/// by the new one; both are trusted. After `retire` the former one is nobody's any more.
package struct AuthorityRoll: Sendable, Equatable {
    package enum Stage: Sendable, Equatable {
        case settled(Int)
        case prepared(issuing: Int, next: Int)
        case switched(issuing: Int, former: Int)
    }

    /// What a registered node is known to have stored: it has used the certificate that these came with.
    package struct Member: Sendable, Equatable {
        package let node: NodeID
        package let name: String?
        package let lastSeen: Timestamp?
        /// Empty when it has not used a certificate since the controller keeps these records.
        package let authorities: Set<Int>
        /// Of the certificate that it uses.
        package let issuer: Int?
        package let certificateEnd: Timestamp?

        package init(
            node: NodeID, name: String? = nil, lastSeen: Timestamp? = nil, authorities: Set<Int>, issuer: Int?,
            certificateEnd: Timestamp? = nil
        ) {
            self.node = node
            self.name = name
            self.lastSeen = lastSeen
            self.authorities = authorities
            self.issuer = issuer
            self.certificateEnd = certificateEnd
        }
    }

    package enum Refusal: Error, Sendable, Equatable {
        case alreadyPrepared(next: Int)
        /// One roll at a time.
        case overlapping(former: Int)
        case notPrepared
        case nothingToRetire
        case notReady(Missing)
    }

    /// Nodes that the next step would do something to.
    package struct Missing: Sendable, Equatable {
        /// They do not hold the new authority.
        package var unaware: [Member] = []
        /// They hold it, and still use a certificate of the old one.
        package var unrenewed: [Member] = []

        package var isEmpty: Bool { unaware.isEmpty && unrenewed.isEmpty }
    }

    package let stage: Stage
    /// The greatest number that was ever given.
    package let last: Int

    package init(stage: Stage, last: Int) {
        self.stage = stage
        self.last = last
    }

    /// Nil for states that no sequence of steps leads to.
    package init?(_ states: [Int: AuthorityState]) {
        func number(_ state: AuthorityState) -> [Int] { states.filter { $0.value == state }.map(\.key) }
        let (issuing, next, former) = (number(.issuing), number(.next), number(.former))
        guard issuing.count == 1, next.count + former.count <= 1, let last = states.keys.max() else { return nil }
        if let next = next.first {
            stage = .prepared(issuing: issuing[0], next: next)
        } else if let former = former.first {
            stage = .switched(issuing: issuing[0], former: former)
        } else {
            stage = .settled(issuing[0])
        }
        self.last = last
    }

    /// The number of the authority to make.
    package func prepare() throws(Refusal) -> Int {
        switch stage {
        case .settled: return last + 1
        case .prepared(_, let next): throw .alreadyPrepared(next: next)
        case .switched(_, let former): throw .overlapping(former: former)
        }
    }

    /// Forced, it goes on without the nodes it returns.
    package func `switch`(_ members: [Member], isForced: Bool = false) throws(Refusal) -> (issuing: Int, former: Int, missing: Missing) {
        switch stage {
        case .settled: throw .notPrepared
        case .switched(_, let former): throw .overlapping(former: former)
        case .prepared(let issuing, let next):
            let missing = Missing(unaware: members.filter { !$0.authorities.contains(next) })
            guard missing.isEmpty || isForced else { throw .notReady(missing) }
            return (issuing: next, former: issuing, missing: missing)
        }
    }

    /// Forced, it goes on without the nodes it returns: the unaware ones are lost, the unrenewed ones come back by themselves.
    package func retire(_ members: [Member], isForced: Bool = false) throws(Refusal) -> (former: Int, missing: Missing) {
        guard case .switched(_, let former) = stage else { throw .nothingToRetire }
        let missing = missing(members)
        guard missing.isEmpty || isForced else { throw .notReady(missing) }
        return (former: former, missing: missing)
    }

    /// Who is not ready for the next step.
    package func missing(_ members: [Member]) -> Missing {
        switch stage {
        case .settled:
            return Missing()
        case .prepared(_, let next):
            return Missing(unaware: members.filter { !$0.authorities.contains(next) })
        case .switched(let issuing, _):
            let unaware = members.filter { !$0.authorities.contains(issuing) }
            // An expired certificate counts as well: its owner has yet to show that it found its way to the new one.
            return Missing(unaware: unaware, unrenewed: members.filter { $0.authorities.contains(issuing) && $0.issuer != issuing })
        }
    }
}

package enum AuthorityState: String, Sendable {
    case next
    case issuing
    case former
    case retired
}
