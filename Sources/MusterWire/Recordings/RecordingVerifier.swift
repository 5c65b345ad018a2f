package import MusterCrypto

/// Holds a recording against its chain, its seal and what was committed of it. [value] A line at a time, so that length costs no memory.
///
///     take(line 1, link 1)  take(line 2, link 2)  …  end(…) → verdict
package struct RecordingVerifier: Sendable {
    /// The first thing that is wrong.
    package struct Fault: Sendable, Equatable, Codable {
        /// The first bad line, from 1. With `lastLine`, it is one of them.
        package let line: Int64
        package let lastLine: Int64?
        package let words: String

        package init(line: Int64, lastLine: Int64? = nil, _ words: String) {
            self.line = line
            self.lastLine = lastLine
            self.words = words
        }
    }

    package enum Proof: String, Sendable, Equatable, Codable {
        /// Signed by the controller that was expected: whole, and as it was when it ended.
        case sealed
        /// Not signed, because the session goes on or the controller died; what was committed is right.
        case committed
        /// The lines fit together, but nothing says that they are the ones that were recorded.
        case none
    }

    package struct Verdict: Sendable, Equatable, Codable {
        package let session: SessionID
        package let lines: Int64
        package let length: Int64
        package let fault: Fault?
        package let proof: Proof
        /// How many lines a commitment covers; nil without commitments.
        package let committedLines: Int64?
        package let commitments: Int
        package let state: RecordingState?
        /// What keeps it from being proven, in words.
        package let doubt: String?

        package var isProven: Bool { fault == nil && proof != .none }
    }

    private let session: SessionID
    private let commitments: [RecordingCommitment]
    private var chain: RecordingChain
    private var fault: Fault?
    /// The line that did not fit, until the next one tells what was done to it.
    private var suspect: (line: [UInt8], link: RecordingLink, before: RecordingChain)?
    private var nextCommitment = 0
    private var agreed: Int64 = 0

    /// - Parameter commitments: of any session and in any order; those of others are left out.
    package init(_ session: SessionID, commitments: [RecordingCommitment] = []) {
        self.session = session
        self.commitments = commitments.filter { $0.session == session }.sorted { $0.mark.lines < $1.mark.lines }
        chain = RecordingChain(session)
    }

    /// Nothing that follows can change the verdict's fault.
    package var isSettled: Bool { fault != nil }

    /// - Parameters:
    ///   - line: with its line feed; without one it has been cut.
    ///   - link: nil when the chain has no such line, or one that is none.
    package mutating func take(_ line: [UInt8], _ link: RecordingLink?) {
        guard fault == nil else { return }
        if let suspect {
            fault = Self.judge(suspect, followedBy: line, link)
            return
        }
        let number = chain.lines + 1
        guard line.last == UInt8(ascii: "\n") else {
            fault = Fault(line: number, "is cut off")
            return
        }
        guard let link else {
            fault = Fault(line: number, "has no link in the chain: it was added, or the chain was cut off or changed here")
            return
        }
        let before = chain
        _ = chain.append(line, link.place)
        guard chain.head == link.head else {
            suspect = (line, link, before)
            return
        }
        check()
    }

    private mutating func check() {
        while nextCommitment < commitments.count, commitments[nextCommitment].mark.lines <= chain.lines {
            let commitment = commitments[nextCommitment]
            nextCommitment += 1
            guard commitment.mark == chain.mark else {
                let first = agreed + 1
                fault = Fault(
                    line: first, lastLine: max(first, commitment.mark.lines),
                    "changed after \(commitment.time) (audit event \(commitment.sequence)), together with the chain")
                return
            }
            agreed = commitment.mark.lines
        }
    }

    private static func judge(
        _ suspect: (line: [UInt8], link: RecordingLink, before: RecordingChain), followedBy line: [UInt8]?, _ link: RecordingLink?
    ) -> Fault {
        let number = suspect.before.lines + 1
        func head(after head: [UInt8], _ line: [UInt8], _ place: RecordingPlace) -> [UInt8] {
            RecordingChain.head(after: head, line[...], Array(place.description.utf8))
        }
        let nextFits = line.map { head(after: suspect.before.head, $0, suspect.link.place) == suspect.link.head } ?? false
        let thisIsNext = link.map { head(after: suspect.link.head, suspect.line, $0.place) == $0.head } ?? false
        if nextFits, thisIsNext { return Fault(line: number, "and the line after it have been swapped") }
        if nextFits { return Fault(line: number, "was added") }
        if thisIsNext { return Fault(line: number, "is missing") }
        return Fault(line: number, "is not the line that was recorded")
    }

    /// - Parameters:
    ///   - nextLink: the first link beyond the last line, if there is one.
    ///   - authority: whose signature counts; nil when the reader knows none.
    package mutating func end(nextLink: RecordingLink?, seal: RecordingSeal?, authority: Certificate?) -> Verdict {
        if fault == nil, let suspect { fault = Self.judge(suspect, followedBy: nil, nextLink) }
        if fault == nil, nextLink != nil { fault = Fault(line: chain.lines + 1, "is missing: the recording was cut off") }
        if fault == nil, nextCommitment < commitments.count, let last = commitments.last {
            fault = tooFew("\(last.mark.lines) had been committed by \(last.time) (audit event \(last.sequence))", of: last.mark)
        }
        var proof = Proof.none
        var doubt: String?
        let record = seal.flatMap { try? $0.decoded() }
        if let seal {
            if let record, record.session == session {
                if fault == nil, let mark = record.mark { fault = differences(from: mark) }
                if let authority {
                    if seal.isSigned(by: authority) {
                        proof = .sealed
                    } else {
                        doubt = "the seal is not signed by the expected controller"
                    }
                } else {
                    doubt = "nobody said which controller's signature counts"
                }
            } else {
                doubt = "the seal is of another session, or unreadable"
            }
        } else if nextCommitment > 0 {
            proof = .committed
        } else {
            doubt = "it has no seal, and no commitment was given"
        }
        return Verdict(
            session: session, lines: chain.lines, length: chain.length, fault: fault, proof: proof,
            committedLines: nextCommitment > 0 ? agreed : nil, commitments: nextCommitment, state: record?.state, doubt: doubt)
    }

    /// The chain may have been made anew over what is left, so the lines that are there need not be the first ones.
    private func tooFew(_ words: String, of mark: RecordingMark) -> Fault {
        Fault(
            line: agreed + 1, lastLine: mark.lines,
            "were cut off, or are missing before that: \(chain.lines) lines are here, and \(words)")
    }

    private func differences(from mark: RecordingMark) -> Fault? {
        if mark == chain.mark { return nil }
        if mark.lines > chain.lines { return tooFew("the seal covers \(mark.lines)", of: mark) }
        if mark.lines < chain.lines { return Fault(line: mark.lines + 1, "was added: the seal covers \(mark.lines) lines") }
        return Fault(line: agreed + 1, lastLine: chain.lines, "changed, together with the chain; the seal is of other lines")
    }
}
