import MusterCrypto
import Testing

@testable import MusterWire

@Suite struct RecordingVerifierTests {
    static let session = SessionID(rawValue: "jane-0123456789abcdef0")!
    static let lines: [[UInt8]] =
        [Array(#"{"version":2,"width":80,"height":24}"#.utf8) + [0x0a]]
        + (1..<12).map { RecordingEvent(time: Int64($0) * 1000, .output, "line \($0) é\r\n").line }

    struct Written {
        var lines: [[UInt8]]
        var links: [[UInt8]]
        var marks: [RecordingMark]

        static let kind = FrameKind(payloadType: .output, flags: 0)

        init(_ lines: [[UInt8]], _ session: SessionID = RecordingVerifierTests.session) {
            var chain = RecordingChain(session)
            self.lines = lines
            (links, marks) = ([], [])
            for (number, line) in lines.enumerated() {
                links.append(
                    chain.append(line, number == 0 ? .none : .agent(Int64(number), digest: Array(repeating: 7, count: 16), kind: Self.kind))
                )
                marks.append(chain.mark)
            }
        }

        func verdict(
            _ commitments: [RecordingMark] = [], seal: RecordingSeal? = nil, authority: Certificate? = nil, cut: Int = 0
        ) -> RecordingVerifier.Verdict {
            let commitments = commitments.enumerated().map {
                RecordingCommitment(session: session, time: Timestamp(milliseconds: 1000), sequence: Int64($0.offset + 1), mark: $0.element)
            }
            var verifier = RecordingVerifier(session, commitments: commitments)
            for (number, line) in lines.enumerated() {
                let link = number < links.count ? RecordingLink(links[number].dropLast()) : nil
                verifier.take(number == lines.count - 1 ? line.dropLast(cut) : line, link)
            }
            let next = links.count > lines.count ? RecordingLink(links[lines.count].dropLast()) : nil
            return verifier.end(nextLink: next, seal: seal, authority: authority)
        }
    }

    static let authority = Result { try make() }

    static func make() throws -> CertificateAuthority {
        try CertificateAuthority.create(commonName: "test", notBefore: 0, notAfter: 4_000_000_000, key: .generate())
    }

    static func seal(_ mark: RecordingMark, by authority: CertificateAuthority? = nil, _ session: SessionID = session) throws
        -> RecordingSeal
    {
        let record = RecordingRecord(
            session: session, node: NodeID(rawValue: "mi-0123456789abcdef0")!, owner: "arn", document: "d", sessionType: "Standard_Stream",
            reason: "", started: Timestamp(milliseconds: 0), ended: Timestamp(milliseconds: 1), endReason: "over", state: .complete,
            inputRecorded: false, mark: mark)
        return try RecordingSeal(record, by: authority ?? Self.authority.get())
    }

    @Test func theChainIsTheOneThatIsWrittenDown() {
        for number in [0, 1, 9, 10, 99, 100, 12_345, Int64.max - 1] {
            let place = RecordingPlace.agent(number, digest: Array(0..<16), kind: nil)
            #expect(place.description == "a\(number):000102030405060708090a0b0c0d0e0f")
            #expect(RecordingPlace(place.description[...]) == place)
        }
        #expect(Hex.encode(RecordingChain(Self.session).head) == Hex.encode(SHA256.hash("muster recording 1\njane-0123456789abcdef0\n")))
        var chain = RecordingChain(Self.session)
        let first = chain.head
        let link = chain.append(Array("x\n".utf8), .client(3, digest: Array(0..<16), kind: FrameKind(payloadType: .size, flags: 6)))
        let place = "c3:000102030405060708090a0b0c0d0e0f:3:6"
        let head = Hex.encode(SHA256.hash(first + Array(("x\n" + place).utf8)))
        #expect(String(decoding: link, as: UTF8.self) == "\(head) \(place)\n")
        #expect(RecordingLink(link.dropLast())?.place == .client(3, digest: Array(0..<16), kind: FrameKind(payloadType: .size, flags: 6)))
        // Without its kind it is one of an earlier release.
        for length in 0..<link.count - 1 where length != link.count - 5 { #expect(RecordingLink(link.prefix(length)) == nil) }
        for text in [
            "c3:000102030405060708090a0b0c0d0e0f:03:6", "c3:000102030405060708090a0b0c0d0e0f:3:-6",
            "c3:000102030405060708090a0b0c0d0e0f:3:6:1",
        ] {
            #expect(RecordingPlace(text[...]) == nil)
        }
        let longest = FrameKind(payloadType: PayloadType(rawValue: .max), flags: .max)
        let long = chain.append(Array("x\n".utf8), .agent(.max - 1, digest: Array(0..<16), kind: longest))
        #expect(RecordingLink(long.dropLast())?.place == .agent(.max - 1, digest: Array(0..<16), kind: longest))
    }

    @Test func anIntactRecordingIsProven() throws {
        let written = Written(Self.lines)
        let verdict = written.verdict(
            written.marks, seal: try Self.seal(written.marks.last!), authority: try Self.authority.get().certificate)
        #expect(verdict.isProven && verdict.proof == .sealed && verdict.commitments == 12 && verdict.lines == 12)
        #expect(written.verdict().proof == .none)
        #expect(written.verdict([written.marks[5]]).proof == .committed)
        #expect(written.verdict([written.marks[5]]).committedLines == 6)
        #expect(!written.verdict(seal: try Self.seal(written.marks.last!)).isProven, "nobody vouches for the signer")
        #expect(
            !written.verdict(seal: try Self.seal(written.marks.last!, by: Self.make()), authority: try Self.authority.get().certificate)
                .isProven)
        let other = SessionID(rawValue: "mary-0123456789abcdef0")!
        #expect(!written.verdict(seal: try Self.seal(written.marks.last!, other), authority: try Self.authority.get().certificate).isProven)
    }

    @Test(arguments: 0..<lines.count) func aChangedLineIsNamed(number: Int) {
        for position in Self.lines[number].indices.dropLast() {
            var written = Written(Self.lines)
            written.lines[number][position] ^= 0x01
            #expect(written.verdict().fault?.line == Int64(number + 1))
        }
    }

    @Test(arguments: 0..<lines.count) func aMissingAddedOrSwappedLineIsNamed(number: Int) {
        var written = Written(Self.lines)
        written.lines.remove(at: number)
        #expect(
            written.verdict().fault == .init(line: Int64(number + 1), number == 11 ? "is missing: the recording was cut off" : "is missing")
        )

        written = Written(Self.lines)
        written.lines.insert(RecordingEvent(time: 0, .output, "added").line, at: number)
        #expect(written.verdict().fault == .init(line: Int64(number + 1), "was added"))

        guard number < 11 else { return }
        written = Written(Self.lines)
        written.lines.swapAt(number, number + 1)
        #expect(written.verdict().fault == .init(line: Int64(number + 1), "and the line after it have been swapped"))

        written = Written(Self.lines)
        written.links.swapAt(number, number + 1)
        #expect(written.verdict().fault?.line == Int64(number + 1))
    }

    @Test(arguments: 0..<lines.count) func acutOffLineIsNamed(number: Int) {
        for cut in 1..<Self.lines[number].count {
            var written = Written(Self.lines)
            written.lines.removeLast(11 - number)
            #expect(written.verdict(cut: cut).fault == .init(line: Int64(number + 1), "is cut off"))
        }
    }

    @Test(arguments: 0..<lines.count) func linesWithoutLinksAreNamed(number: Int) {
        var written = Written(Self.lines)
        written.links.removeLast(12 - number)
        #expect(written.verdict().fault?.line == Int64(number + 1))
    }

    /// Recording and chain cut alike: what was sealed or committed tells.
    @Test(arguments: 1..<lines.count) func aShorterRecordingWithItsChainIsFound(length: Int) throws {
        let whole = Written(Self.lines)
        let cut = Written(Array(Self.lines.prefix(length)))
        #expect(cut.verdict().fault == nil && !cut.verdict().isProven)
        #expect(cut.verdict(whole.marks).fault?.line == Int64(length + 1))
        let sealed = cut.verdict(seal: try Self.seal(whole.marks[11]), authority: try Self.authority.get().certificate).fault
        #expect(sealed.map { $0.line <= length + 1 && $0.lastLine == 12 } == true)
    }

    /// The line that is missing may be one before the last of those that are left.
    @Test(arguments: 0..<lines.count) func aLineThatIsMissingFromANewChainIsAmongThoseThatAreNamed(number: Int) throws {
        let whole = Written(Self.lines)
        var lines = Self.lines
        lines.remove(at: number)
        let (forged, line) = (Written(lines), Int64(number + 1))
        for committed in [[whole.marks[11]], [whole.marks[4], whole.marks[11]], [whole.marks[10], whole.marks[11]]] {
            let fault = try #require(forged.verdict(committed).fault)
            #expect((fault.line...(fault.lastLine ?? fault.line)).contains(line))
        }
        let seal = try Self.seal(whole.marks[11])
        let fault = try #require(forged.verdict([], seal: seal, authority: try Self.authority.get().certificate).fault)
        #expect((fault.line...(fault.lastLine ?? fault.line)).contains(line))
    }

    /// Somebody who has the controller's key writes the end anew, with chain and seal. Commitments that had left the machine tell.
    @Test(arguments: 1..<lines.count) func aRewrittenEndIsFoundByCommitments(from: Int) throws {
        let original = Written(Self.lines)
        var lines = Self.lines
        for number in from..<12 { lines[number] = RecordingEvent(time: Int64(number) * 1000, .output, "nothing happened").line }
        let forged = Written(lines)
        let seal = try Self.seal(forged.marks[11])
        #expect(
            forged.verdict(seal: seal, authority: try Self.authority.get().certificate).isProven,
            "the key alone proves nothing against its holder")
        let committed = [original.marks[2], original.marks[5], original.marks[8]]
        let verdict = forged.verdict(committed, seal: seal, authority: try Self.authority.get().certificate)
        guard from < 9 else {
            #expect(verdict.isProven, "what was never committed cannot be held against it")
            return
        }
        let fault = try #require(verdict.fault)
        #expect((fault.line...(fault.lastLine ?? fault.line)).contains(Int64(from + 1)))
        #expect(!verdict.isProven)
    }

    @Test func aRecordingOfAnotherSessionIsNoRecordingOfThisOne() {
        var written = Written(Self.lines, SessionID(rawValue: "mary-0123456789abcdef0")!)
        written.lines = Self.lines
        #expect(written.verdict().fault?.line == 1)
    }

    @Test func aSealIsOfItsVeryBytes() throws {
        let seal = try Self.seal(Written(Self.lines).marks[11])
        #expect(seal.isSigned(by: try Self.authority.get().certificate))
        for text in [seal.text + " ", seal.text.replacingOccurrences("complete", "truncated")] {
            let changed = try JSONCoding.decode(
                RecordingSeal.self,
                from: JSONCoding.encode(["record": text, "signature": seal.signature, "authority": seal.authority]))
            #expect(!changed.isSigned(by: try Self.authority.get().certificate))
        }
    }

    @Test func linesComeOutOfPiecesOfAnySize() throws {
        let text = Array("one\n\ntwo\nthree".utf8)
        for size in 1...text.count {
            var source = LineSource { offset in Array(text.dropFirst(Int(offset)).prefix(size)) }
            var lines: [String] = []
            while let line = try source.next() { lines.append(String(decoding: line, as: UTF8.self)) }
            #expect(lines == ["one\n", "\n", "two\n", "three"])
        }
    }
}

extension String {
    fileprivate func replacingOccurrences(_ a: String, _ b: String) -> String {
        split(separator: a, omittingEmptySubsequences: false).joined(separator: b)
    }
}
