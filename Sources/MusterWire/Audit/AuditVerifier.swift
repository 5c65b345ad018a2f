package import MusterCrypto

/// Holds an audit trail against its chain, its checkpoints and checkpoints from outside. [value] A line at a time, so that length costs no
/// memory; one verifier for exports, delivered files and the store.
///
///     take(line 1)  take(line 2)  …  end() → verdict
package struct AuditVerifier: Sendable {
    /// The first thing that is wrong.
    package struct Fault: Sendable, Equatable, Codable {
        /// The first bad record. With `last`, it is one of them.
        package let first: Int64
        package let last: Int64?
        package let words: String

        package init(_ first: Int64, through last: Int64? = nil, _ words: String) {
            (self.first, self.last, self.words) = (first, last, words)
        }
    }

    package struct Verdict: Sendable, Equatable {
        package let trail: String?
        /// The record before the first one here; 0 when nothing is missing before it.
        package let start: Int64
        package let last: Int64
        /// How far a checkpoint that counts covers it; nil if none does.
        package let provenThrough: Int64?
        package let provenAt: Timestamp?
        package let checkpoints: Int
        package let outside: Int
        package let fault: Fault?
        /// What keeps it from being proven, in words.
        package let doubts: [String]

        package var isProven: Bool { fault == nil && doubts.isEmpty }
    }

    /// Between two checkpoints goes an hour; a longer tail without one is suspicious.
    private static let longestTail: Int64 = 2 * 3_600

    private let authorities: [Certificate]
    /// Checkpoints from outside that have not been reached yet, by sequence.
    private var outside: [AuditStatement]
    private let outsideCount: Int
    private var doubts: [String] = []
    /// Where a reader who wants only a part begins.
    private let isPart: Bool

    private var chain: AuditChain?
    private var start: Int64 = 0
    private var hasSignedStart = false
    private var fault: Fault?
    /// A record from further on, until the next line tells whether records are missing or out of order.
    private var ahead: Int64?
    /// Of the records behind the last checkpoint that counts: the greatest time, and the first that cannot be read.
    private var latest: Timestamp?
    private var unreadable: Int64?
    /// From when on the next checkpoint is awaited.
    private var awaitedFrom: Timestamp?
    private var agreed: Int64?
    private var agreedAt: Timestamp?
    private var checkpoints = 0
    private var strangers = 0
    private var outsideAgreed = 0
    private var tooOld = 0

    /// - Parameters:
    ///   - authorities: whose signatures count.
    ///   - outside: checkpoints that were kept elsewhere. They count when they are signed, or when nobody's signature is known.
    ///   - isPart: records before the first one are not expected.
    package init(authorities: [Certificate], outside: [AuditCheckpoint] = [], isPart: Bool = false) {
        self.authorities = authorities
        self.isPart = isPart
        var statements: [AuditStatement] = []
        for checkpoint in outside {
            guard let statement = try? checkpoint.decoded() else {
                doubts.append("a checkpoint from outside is unreadable")
                continue
            }
            guard authorities.isEmpty || authorities.contains(where: { checkpoint.isSigned(by: $0) }) else {
                doubts.append("the checkpoint of \(statement.time) from outside is not signed by the expected controller")
                continue
            }
            statements.append(statement)
        }
        self.outside = statements.sorted { ($0.mark.sequence, $0.time) < ($1.mark.sequence, $1.time) }
        outsideCount = statements.count
    }

    /// Nothing that follows can change the fault.
    package var isSettled: Bool { fault != nil }

    /// - Parameter line: without its line feed.
    package mutating func take(_ line: [UInt8]) {
        guard fault == nil, !line.isEmpty else { return }
        guard let parsed = AuditLine(line) else {
            fault = Fault(expected, "is not a line of an audit trail: it was altered, or cut off")
            return
        }
        take(parsed)
    }

    package mutating func take(_ line: AuditLine) {
        guard fault == nil else { return }
        if let ahead {
            if case .record(let record) = line, record.sequence == expected {
                fault = Fault(expected, through: ahead, "are not in their order")
            } else {
                fault = missing(through: ahead - 1)
            }
            return
        }
        switch line {
        case .trail(let mark): take(mark)
        case .record(let record): take(record)
        case .checkpoint(let checkpoint): take(checkpoint)
        }
    }

    private var expected: Int64 { (chain?.sequence ?? 0) + 1 }

    private func missing(through last: Int64) -> Fault {
        Fault(expected, through: last > expected ? last : nil, last > expected ? "are missing" : "is missing")
    }

    private mutating func take(_ mark: AuditMark) {
        guard let chain else {
            self.chain = AuditChain(mark)
            start = mark.sequence
            if mark.sequence == 0, mark != .start(of: mark.trail) {
                fault = Fault(1, "is missing: the trail begins with another digest than it must")
            }
            for statement in outside where statement.mark.trail != mark.trail {
                fault = Fault(
                    mark.sequence + 1,
                    "belongs to another trail than the checkpoint of \(statement.time): the store was replaced")
            }
            tooOld = outside.prefix { $0.mark.sequence < mark.sequence }.count
            outside.removeFirst(tooOld)
            compare()
            return
        }
        // The next file goes on where the last one ended.
        if mark == chain.mark { return }
        if mark.trail != chain.trail {
            fault = Fault(expected, "is followed by another trail: the store was replaced, or files of two stores were mixed")
        } else if mark.sequence > chain.sequence {
            fault = missing(through: mark.sequence)
        } else if mark.sequence < chain.sequence {
            fault = Fault(
                mark.sequence + 1, through: chain.sequence, "come again: the store was rolled back, or files are out of their order")
        } else {
            fault = Fault(unagreed, through: chain.sequence, "changed, or what follows does: the next file goes on from another digest")
        }
    }

    private mutating func take(_ record: AuditRecord) {
        guard var next = chain else {
            fault = Fault(record.sequence, "has nothing before it: the line that says where the trail begins is missing")
            return
        }
        if record.sequence != expected, AuditChain.head(after: next.head, record.bytes, expected) == record.digest {
            fault = Fault(expected, "has another number than it was written with")
            return
        }
        if record.sequence > expected {
            ahead = record.sequence
            return
        }
        guard record.sequence == expected else {
            fault = Fault(record.sequence, "comes again after record \(next.sequence): records were repeated or put out of their order")
            return
        }
        next.append(record.bytes)
        guard next.head == record.digest else {
            fault = Fault(
                expected, "is not the record that was written: it was altered (or the one before it, together with that one's digest)")
            return
        }
        chain = next
        if let time = record.time {
            latest = max(latest ?? time, time)
            awaitedFrom = awaitedFrom ?? time
        } else {
            unreadable = unreadable ?? record.sequence
        }
        compare()
    }

    /// With what was kept outside.
    private mutating func compare() {
        guard let chain else { return }
        while fault == nil, let statement = outside.first, statement.mark.sequence == chain.sequence {
            outside.removeFirst()
            guard statement.mark == chain.mark else {
                fault = differs("the checkpoint of \(statement.time) from outside", and: "the store was rolled back or written anew")
                return
            }
            outsideAgreed += 1
            agree(statement)
        }
    }

    private mutating func take(_ checkpoint: AuditCheckpoint) {
        guard let chain, let statement = try? checkpoint.decoded() else {
            fault = Fault(expected, "has an unreadable checkpoint before it")
            return
        }
        guard statement.mark.trail == chain.trail, statement.mark.sequence <= chain.sequence else {
            fault =
                statement.mark.trail == chain.trail
                ? missing(through: statement.mark.sequence) : Fault(expected, "follows a checkpoint of another trail")
            return
        }
        guard statement.mark.sequence == chain.sequence else {
            fault = Fault(statement.mark.sequence, "has its checkpoint in another place: lines were put out of their order")
            return
        }
        guard statement.mark == chain.mark else {
            fault = differs("the checkpoint of \(statement.time)", and: "together with the chain")
            return
        }
        guard authorities.contains(where: { checkpoint.isSigned(by: $0) }) else {
            strangers += 1
            return
        }
        checkpoints += 1
        // Any other only says that the record was there, not that those before it may be gone.
        if statement.kind == .cut, statement.mark.sequence == start { hasSignedStart = true }
        agree(statement)
    }

    private var unagreed: Int64 { max(start, agreed ?? start) + 1 }

    private func differs(_ witness: String, and how: String) -> Fault {
        let last = chain?.sequence ?? 0
        return Fault(min(unagreed, max(last, 1)), through: last > unagreed ? last : nil, "changed: \(witness) knows another digest; \(how)")
    }

    private mutating func agree(_ statement: AuditStatement) {
        (agreed, agreedAt) = (statement.mark.sequence, statement.time)
        (latest, unreadable) = (nil, nil)
        // A cut is made long after its record: the one behind it tells when the trail was there.
        awaitedFrom = statement.kind == .cut ? nil : statement.time
    }

    /// For a reader of the store, whose head says by itself how far the trail goes.
    package mutating func expect(_ head: AuditMark) {
        guard fault == nil, ahead == nil, let chain, chain.mark != head else { return }
        if head.sequence > chain.sequence {
            fault = Fault(
                expected, through: head.sequence > expected ? head.sequence : nil,
                "missing at the end: the store says that it has \(head.sequence) records")
        } else {
            fault = differs("the store's head", and: "together with the chain")
        }
    }

    package mutating func end() -> Verdict {
        let last = chain?.sequence ?? 0
        if fault == nil, let ahead { fault = missing(through: ahead - 1) }
        if fault == nil, let beyond = outside.last {
            fault = Fault(
                last + 1, through: beyond.mark.sequence > last + 1 ? beyond.mark.sequence : nil,
                "missing at the end: the checkpoint of \(beyond.time) covers \(beyond.mark.sequence) records. The tail was cut off, or the store rolled back"
            )
        }
        if chain == nil, fault == nil { doubts.append("there is nothing in it") }
        if tooOld > 0, !hasSignedStart {
            doubts.append("\(tooOld) checkpoint\(tooOld == 1 ? "" : "s") from outside are older than the first record here")
        }
        if start > 0, !hasSignedStart, !isPart {
            doubts.append("it begins with record \(start + 1), and no signed cut says that those before it were removed")
        }
        if agreed == nil, chain != nil {
            if authorities.isEmpty {
                doubts.append("nobody said which controller's signature counts")
            } else if strangers > 0 {
                doubts.append("its \(strangers) checkpoints are not signed by the expected controller")
            } else {
                doubts.append("it has no checkpoint, and none was given")
            }
        } else if agreed != nil {
            if let latest, let awaitedFrom, latest > awaitedFrom.adding(seconds: Self.longestTail) {
                doubts.append("no checkpoint that counts covers what is from \(awaitedFrom) to \(latest): checkpoints are missing")
            }
            if let unreadable {
                doubts.append("record \(unreadable), behind the last checkpoint that counts, cannot be read")
            }
        }
        return Verdict(
            trail: chain?.trail, start: start, last: last, provenThrough: agreed, provenAt: agreedAt, checkpoints: checkpoints,
            outside: outsideAgreed, fault: fault, doubts: doubts)
    }
}

extension AuditVerifier.Verdict {
    /// For people.
    package var words: String {
        if let fault = fault {
            let records =
                fault.last.map { $0 > fault.first ? "records \(fault.first) to \($0)" : "record \(fault.first)" }
                ?? "record \(fault.first)"
            return "BROKEN, first bad record \(fault.first): \(records): \(fault.words)"
        }
        var words = last > start ? "records \(start + 1) to \(last): " : "no records: "
        guard doubts.isEmpty else { return words + "NOT PROVEN: " + doubts.joined(separator: "; ") }
        words += "intact; "
        if let through = provenThrough, let time = provenAt {
            words += "signed through record \(through) by the checkpoint of \(time)"
            if through < last { words += ", and chained without a signature yet from \(through + 1) on" }
        }
        if outside > 0 { words += "; \(outside) checkpoint\(outside == 1 ? "" : "s") from outside agree" }
        return words
    }
}
