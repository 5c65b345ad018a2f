import MusterCrypto
import Testing

@testable import MusterWire

@Suite struct AuditVerifierTests {
    static let trail = "00112233445566778899aabbccddeeff"
    static let authority = Result {
        try CertificateAuthority.create(commonName: "test", notBefore: 0, notAfter: 4_000_000_000, key: .generate())
    }

    /// A trail of records, with checkpoints behind some of them.
    struct Written {
        var lines: [AuditLine]
        var marks: [AuditMark]
        let authority: CertificateAuthority

        init(_ count: Int, checkpoints: [Int: AuditStatement.Kind] = [:], by authority: CertificateAuthority? = nil, twist: Int? = nil)
            throws
        {
            self.authority = try authority ?? AuditVerifierTests.authority.get()
            var chain = AuditChain(trail: AuditVerifierTests.trail)
            lines = [.trail(chain.mark)]
            marks = [chain.mark]
            for number in 1...count {
                let record = Self.record(number, number == twist ? "twisted" : "x")
                chain.append(record)
                lines.append(.record(AuditRecord(sequence: chain.sequence, digest: chain.head, bytes: record)))
                marks.append(chain.mark)
                if let kind = checkpoints[number] { lines.append(.checkpoint(try checkpoint(number, kind))) }
            }
        }

        mutating func append(_ record: [UInt8]) throws {
            var chain = try #require(marks.last.flatMap { AuditChain($0) })
            chain.append(record)
            lines.append(.record(AuditRecord(sequence: chain.sequence, digest: chain.head, bytes: record)))
            marks.append(chain.mark)
        }

        static func record(_ number: Int, _ word: String) -> [UInt8] {
            let time = Timestamp(milliseconds: 1_000_000 + Int64(number) * 1_000).iso8601
            return Array(
                """
                {"userIdentity":{"arn":"\(word)"},"eventTime":"\(time)","eventSource":"s","eventName":"E","sourceIPAddress":"","eventID":"\(number)",\
                "readOnly":false,"resources":[]}
                """.utf8)
        }

        func checkpoint(_ number: Int, _ kind: AuditStatement.Kind = .regular, at time: Int64 = 1_000_000) throws -> AuditCheckpoint {
            try AuditCheckpoint(
                AuditStatement(
                    kind: kind, mark: marks[number], time: Timestamp(milliseconds: time + Int64(number) * 1_000), number: Int64(number)),
                by: authority)
        }

        func verdict(outside: [AuditCheckpoint] = [], isPart: Bool = false, authorities: [Certificate]? = nil) throws
            -> AuditVerifier.Verdict
        {
            var verifier = AuditVerifier(authorities: authorities ?? [authority.certificate], outside: outside, isPart: isPart)
            for line in lines { verifier.take(try line.text()) }
            return verifier.end()
        }
    }

    @Test func theChainIsTheOneThatIsWrittenDown() throws {
        var chain = AuditChain(trail: Self.trail)
        let first = SHA256.hash("muster audit 1\n\(Self.trail)\n")
        #expect(chain.head == first && chain.mark == .start(of: Self.trail))
        chain.append(Array("{}".utf8))
        #expect(chain.head == SHA256.hash(first + Array("{}".utf8) + [0, 0, 0, 0, 0, 0, 0, 1]))
        #expect(AuditChain(chain.mark) == chain)
        #expect(AuditChain(AuditMark(trail: Self.trail, sequence: 1, digest: "00")) == nil)
        #expect(AuditChain(AuditMark(trail: Self.trail, sequence: -1, digest: chain.mark.digest)) == nil)
    }

    /// Near the end of the numbers, where counting on would trap.
    @Test(arguments: [AuditChain.highestSequence + 1, .max - 2, .max - 1, .max]) func numbersThatNoTrailReachesAreRefused(
        sequence: Int64
    ) throws {
        let digest = AuditMark.start(of: Self.trail).digest
        let trail = Array(#"{"trail":{"digest":"\#(digest)","sequence":\#(sequence),"trail":"\#(Self.trail)"}}"#.utf8)
        // One that follows, as far as one can.
        let next = sequence == .max ? sequence : sequence + 1
        let head = Hex.encode(AuditChain.head(after: AuditChain(trail: Self.trail).head, Array("{}".utf8), next))
        let record = Array(#"{"record":{},"sequence":\#(next),"digest":"\#(head)"}"#.utf8)
        #expect(AuditLine(trail) == nil && AuditLine(record) == nil)
        var verifier = AuditVerifier(authorities: [])
        for line in [trail, record, record] { verifier.take(line) }
        #expect(verifier.end().fault?.first == 1)
        // The store's own rows are taken without being lines first.
        var rows = AuditVerifier(authorities: [])
        rows.take(.trail(.start(of: Self.trail)))
        for _ in 0..<2 { rows.take(.record(AuditRecord(sequence: sequence, digest: [], bytes: []))) }
        #expect(rows.end().fault?.last == sequence - 1)
    }

    /// What a record holds cannot pass for the end of its line.
    @Test func linesComeBackAsTheyWere() throws {
        let digest = SHA256.hash("x")
        let nasty = #"{"a":"\",\"sequence\":7,\"digest\":\"","b":","sequence":7,"digest":"\#(Hex.encode(digest))"}"#
        for text in ["{}", #"{"a":"é🙂"}"#, nasty] {
            let line = AuditLine.record(AuditRecord(sequence: 41, digest: digest, bytes: Array(text.utf8)))
            let bytes = try line.text()
            #expect(AuditLine(bytes) == line)
            for length in 0..<bytes.count { #expect(AuditLine(Array(bytes.prefix(length))) != line) }
        }
        let written = try Written(2, checkpoints: [2: .start])
        for line in written.lines {
            let bytes = try line.text()
            #expect(AuditLine(bytes) == line && !bytes.contains(0x0a))
            for length in 0..<bytes.count { #expect(AuditLine(Array(bytes.prefix(length))) == nil) }
        }
        #expect(AuditLine([]) == nil && AuditLine(Array("{}".utf8)) == nil)
        #expect(AuditLine([UInt8](repeating: 0x20, count: AuditLine.maximumLength + 1)) == nil)
    }

    @Test func anUntouchedTrailIsProven() throws {
        let written = try Written(20, checkpoints: [5: .start, 12: .regular, 20: .shutdown])
        let verdict = try written.verdict()
        #expect(verdict.isProven && verdict.provenThrough == 20 && verdict.checkpoints == 3 && verdict.last == 20)
        // What came after the last checkpoint is chained, and said to be no more than that.
        let tail = try Written(20, checkpoints: [5: .start, 12: .regular]).verdict()
        #expect(tail.isProven && tail.provenThrough == 12 && tail.words.contains("without a signature yet from 13 on"))
        #expect(try Written(3).verdict(outside: [written.checkpoint(3)]).isProven)
    }

    @Test func whatVouchesForItselfIsNotProven() throws {
        let written = try Written(6, checkpoints: [3: .start])
        #expect(try Written(6).verdict().doubts == ["it has no checkpoint, and none was given"])
        #expect(try written.verdict(authorities: []).doubts == ["nobody said which controller's signature counts"])
        let stranger = try CertificateAuthority.create(commonName: "other", notBefore: 0, notAfter: 4_000_000_000, key: .generate())
        #expect(try !written.verdict(authorities: [stranger.certificate]).isProven)
        #expect(
            try !Written(6).verdict(outside: [Written(6, by: stranger).checkpoint(6)], authorities: [written.authority.certificate])
                .isProven)
        var empty = AuditVerifier(authorities: [written.authority.certificate])
        #expect(!empty.end().isProven)
    }

    /// Every byte of every line, one at a time.
    @Test func anyAlteredByteIsFound() throws {
        let written = try Written(5, checkpoints: [2: .start, 5: .shutdown])
        let bytes = try written.lines.map { try $0.text() }
        for (number, line) in bytes.enumerated() {
            for index in line.indices {
                var altered = bytes
                altered[number][index] ^= 1
                var verifier = AuditVerifier(authorities: [written.authority.certificate])
                for line in altered { verifier.take(line) }
                let verdict = verifier.end()
                // A checkpoint's certificate says who signed, and nobody believes it.
                if verdict.isProven, case .checkpoint = written.lines[number] {
                    #expect(String(decoding: line, as: UTF8.self).contains("authority"))
                    continue
                }
                #expect(!verdict.isProven, "byte \(index) of line \(number)")
                if case .record(let record) = written.lines[number] { #expect(verdict.fault?.first == record.sequence) }
            }
        }
    }

    @Test func aMissingRecordIsNamed() throws {
        let written = try Written(9, checkpoints: [9: .shutdown])
        for number in 1...9 {
            var cut = written
            cut.lines.remove(at: number)
            let verdict = try cut.verdict()
            #expect(verdict.fault?.first == Int64(number), "\(number): \(verdict.words)")
            #expect(verdict.fault?.words == "is missing")
        }
        var several = written
        several.lines.removeSubrange(3...5)
        #expect(try several.verdict().fault == AuditVerifier.Fault(3, through: 5, "are missing"))
        var headless = written
        headless.lines.removeFirst()
        #expect(try headless.verdict().fault?.first == 1)
    }

    @Test func swappedRepeatedAndMovedRecordsAreNamed() throws {
        let written = try Written(9, checkpoints: [9: .shutdown])
        for number in 1..<9 {
            var swapped = written
            swapped.lines.swapAt(number, number + 1)
            #expect(try swapped.verdict().fault == AuditVerifier.Fault(Int64(number), through: Int64(number) + 1, "are not in their order"))
        }
        var repeated = written
        repeated.lines.insert(written.lines[4], at: 7)
        #expect(try repeated.verdict().fault?.first == 4)
        var moved = written
        moved.lines.insert(moved.lines.remove(at: 2), at: 6)
        #expect(try moved.verdict().fault?.first == 2)
    }

    /// Somebody who can write the file, but not sign.
    @Test func aChainThatWasMadeAnewIsFoundByTheNextCheckpoint() throws {
        let honest = try Written(9, checkpoints: [3: .start, 6: .regular, 9: .shutdown])
        var forged = try Written(9, twist: 5)
        forged.lines.insert(.checkpoint(try honest.checkpoint(3)), at: 4)
        forged.lines.insert(.checkpoint(try honest.checkpoint(6)), at: 8)
        let verdict = try forged.verdict()
        #expect(verdict.fault?.first == 4 && verdict.fault?.last == 6, "\(verdict.words)")
        // Without the checkpoints that would tell, one from outside tells.
        #expect(try Written(9, checkpoints: [9: .shutdown], twist: 5).verdict().isProven)
        let outside = try Written(9, checkpoints: [9: .shutdown], twist: 5).verdict(outside: [honest.checkpoint(3), honest.checkpoint(7)])
        #expect(outside.fault?.first == 4 && outside.fault?.last == 7)
        // Forged by another key, it counts for nothing.
        let stranger = try CertificateAuthority.create(commonName: "other", notBefore: 0, notAfter: 4_000_000_000, key: .generate())
        #expect(
            try !Written(9, checkpoints: [9: .shutdown], by: stranger, twist: 5).verdict(authorities: [honest.authority.certificate])
                .isProven)
    }

    @Test func aTailThatWasCutOffIsFoundFromOutside() throws {
        let written = try Written(9, checkpoints: [4: .start, 9: .shutdown])
        var cut = written
        cut.lines.removeLast(4)
        #expect(try cut.verdict().isProven)
        let verdict = try cut.verdict(outside: [written.checkpoint(9)])
        #expect(verdict.fault?.first == 7 && verdict.fault?.last == 9)
        #expect(verdict.words.contains("rolled back"))
    }

    @Test func aRollbackThatWentOnIsFoundFromOutside() throws {
        let before = try Written(9)
        let after = try Written(12, checkpoints: [12: .shutdown], twist: 6)
        let verdict = try after.verdict(outside: [before.checkpoint(4), before.checkpoint(9)])
        #expect(verdict.fault?.first == 5 && verdict.fault?.last == 9)
        var other = AuditVerifier(authorities: [before.authority.certificate], outside: [try before.checkpoint(4)])
        other.take(.trail(.start(of: "ffeeddccbbaa99887766554433221100")))
        #expect(other.end().fault?.words.contains("another trail") == true)
    }

    @Test func aCutThatIsSignedIsNoGap() throws {
        let written = try Written(12, checkpoints: [12: .shutdown])
        var kept = written
        kept.lines.removeSubrange(0...5)
        kept.lines.insert(.trail(written.marks[5]), at: 0)
        #expect(try !kept.verdict().isProven)
        #expect(try kept.verdict(isPart: true).isProven)
        // A checkpoint that is older than what is left says nothing about it, and that is said.
        #expect(try !kept.verdict(outside: [written.checkpoint(2)], isPart: true).isProven)
        kept.lines.insert(.checkpoint(try written.checkpoint(5, .cut)), at: 1)
        let verdict = try kept.verdict(outside: [written.checkpoint(2), written.checkpoint(8)])
        #expect(verdict.isProven && verdict.start == 5 && verdict.outside == 1)
        // A cut of other records does not pass.
        var forged = written
        forged.lines.removeSubrange(0...5)
        forged.lines.insert(contentsOf: [.trail(written.marks[5]), .checkpoint(try written.checkpoint(4, .cut))], at: 0)
        #expect(try !forged.verdict().isProven)
    }

    /// Every hour somebody gets a signed checkpoint: it is no cut, wherever it is put.
    @Test func nothingButACutSignsAStart() throws {
        let written = try Written(12, checkpoints: [12: .shutdown])
        for kind in AuditStatement.Kind.allCases {
            var kept = written
            kept.lines.removeSubrange(0...5)
            kept.lines.insert(contentsOf: [.trail(written.marks[5]), .checkpoint(try written.checkpoint(5, kind))], at: 0)
            #expect(try kept.verdict().isProven == (kind == .cut), "\(kind)")
            #expect(try kept.verdict(isPart: true).isProven)
        }
        // Nor does what was kept elsewhere and is of a later record, or of the very last that is gone.
        var kept = written
        kept.lines.removeSubrange(0...5)
        kept.lines.insert(.trail(written.marks[5]), at: 0)
        for number in [5, 8] {
            let outside = [try written.checkpoint(number)]
            #expect(try kept.verdict(outside: outside).doubts.first?.contains("no signed cut") == true)
            #expect(try kept.verdict(outside: outside, isPart: true).isProven)
        }
    }

    @Test func filesGoOnWhereTheLastOneEnded() throws {
        let written = try Written(9, checkpoints: [9: .shutdown])
        var files = written
        files.lines.insert(.trail(written.marks[4]), at: 5)
        #expect(try files.verdict().isProven)
        var gap = files
        gap.lines.remove(at: 4)
        #expect(try gap.verdict().fault == AuditVerifier.Fault(4, "is missing"))
        var again = files
        again.lines.insert(.trail(written.marks[2]), at: 7)
        #expect(try again.verdict().fault?.first == 3)
        // A checkpoint in another place than the one it was made in.
        var moved = try Written(9, checkpoints: [4: .start, 9: .shutdown])
        moved.lines.swapAt(5, 6)
        #expect(try moved.verdict().fault?.first == 4)
    }

    @Test func aLongTailWithoutACheckpointIsNotBelieved() throws {
        var written = try Written(3, checkpoints: [2: .start])
        written.lines[3] = .checkpoint(try written.checkpoint(2, .start, at: 1_000_000 - 3 * 3_600_000))
        #expect(try written.verdict().doubts.first?.contains("checkpoints are missing") == true)
    }

    /// Whoever writes on behind the last checkpoint also chooses the last record.
    @Test func everyRecordOfTheTailCounts() throws {
        func tail(_ records: [UInt8]...) throws -> AuditVerifier.Verdict {
            var written = try Written(2, checkpoints: [2: .start])
            for record in records { try written.append(record) }
            return try written.verdict()
        }
        let (soon, late) = (Written.record(60, "x"), Written.record(3 * 3_600, "x"))
        #expect(try tail(soon, soon).isProven)
        #expect(try tail(late, soon).doubts.first?.contains("checkpoints are missing") == true)
        for bytes in ["{}", "nothing", #"{"eventTime":"soon"}"#] {
            #expect(
                try tail(soon, Array(bytes.utf8), soon).doubts == ["record 4, behind the last checkpoint that counts, cannot be read"])
        }
        // Before one they are signed as they are.
        var signed = try Written(2, checkpoints: [2: .start])
        for record in [late, Array("nothing".utf8), soon] { try signed.append(record) }
        signed.lines.append(.checkpoint(try signed.checkpoint(5)))
        #expect(try signed.verdict().isProven)
    }

    /// Made today, of a record from a year ago: what followed that record had its checkpoints.
    @Test func aCutsOwnTimeExcusesNoTail() throws {
        var kept = try Written(2)
        let cut = try kept.checkpoint(2, .cut, at: 1_000_000 + 365 * 86_400_000)
        kept.lines = [.trail(kept.marks[2]), .checkpoint(cut)]
        try kept.append(Written.record(60, "x"))
        #expect(try kept.verdict().isProven)
        try kept.append(Written.record(3 * 3_600, "x"))
        #expect(try kept.verdict().doubts.first?.contains("checkpoints are missing") == true)
        kept.lines.append(.checkpoint(try kept.checkpoint(4)))
        #expect(try kept.verdict().isProven)
    }

    @Test func aRecordCanBeACommitmentOfARecording() throws {
        let text = """
            {"userIdentity":{},"eventTime":"2026-11-28T22:00:00.000Z","eventSource":"muster","eventName":"CommitRecording","sourceIPAddress":"",\
            "eventID":"e","readOnly":false,"resources":[{"ARN":"arn:aws:ssm:r:a:session/jane-0123456789abcdef0","type":"AWS::SSM::Session"}],\
            "additionalEventData":{"head":"ab","length":"12","lines":"3"}}
            """
        let record = AuditRecord(sequence: 5, digest: [], bytes: Array(text.utf8))
        let commitment = try #require(RecordingCommitment(record))
        #expect(commitment.session == SessionID("jane-0123456789abcdef0") && commitment.sequence == 5)
        #expect(commitment.mark == RecordingMark(length: 12, lines: 3, head: "ab"))
        let other = Array(text.replacing("CommitRecording", with: "GetRecording").utf8)
        #expect(RecordingCommitment(AuditRecord(sequence: 5, digest: [], bytes: other)) == nil)
    }
}
