import Foundation
import Logging
import MusterCrypto
import MusterWire
import NIOConcurrencyHelpers
import NIOCore
import Testing

@testable import MusterController

@Suite struct SessionRecorderTests {
    typealias F = RecordingFixture

    @Test func aSessionIsAnAsciicast() async throws {
        let fixture = try await F()
        let tap = try await fixture.recorders().begin(F.facts())
        tap.noted(.clientConnected(address: "127.0.0.1:1"))
        fixture.elapsed.withLockedValue { $0 = 1_500_000 }
        try tap.pass(.output(0, "$ "), from: .agent)
        try tap.pass(.input(0, #"{"cols":120,"rows":40}"#, .size), from: .client)
        try tap.pass(.input(1, "secret\r"), from: .client)
        try tap.pass(.output(1, "a\u{1b}[1m\r\n"), from: .agent)
        try tap.pass(.output(2, "oops", .standardError), from: .agent)
        try tap.pass(.output(3, "EXIT_CODE: 3", .exitCode), from: .agent)
        await tap.ended("the shell ended")
        let lines = try fixture.text().split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
        let header = try #require(try JSONSerialization.jsonObject(with: Data(lines[0].utf8)) as? [String: Any])
        #expect(header["version"] as? Int == 2 && header["width"] as? Int == 80 && header["timestamp"] as? Int == 1_700_000_000)
        #expect(
            Array(lines.dropFirst()) == [
                #"[0.000000,"m","The client connected from 127.0.0.1:1."]"#, #"[1.500000,"o","$ "]"#, #"[1.500000,"r","120x40"]"#,
                #"[1.500000,"o","a\u001b[1m\r\n"]"#, #"[1.500000,"s","stderr"]"#, #"[1.500000,"o","oops"]"#, #"[1.500000,"x","3"]"#, "",
            ])
        #expect(try fixture.text(.chain).split(separator: "\n").count == 8)
        let verdict = try await fixture.verdict()
        #expect(verdict.isProven && verdict.proof == .sealed && verdict.state == .complete)
        let row = try await fixture.row()
        #expect(row.state == .complete && row.endReason == "the shell ended" && row.mark.lines == 8)
        #expect(Int(row.mark.length) == (try fixture.text()).utf8.count)
    }

    @Test func inputIsRecordedOnlyWhenAsked() async throws {
        let fixture = try await F()
        let tap = try await fixture.recorders().begin(F.facts(input: true))
        try tap.pass(.input(0, "ls €"), from: .client)
        try tap.pass(.input(1, "\r"), from: .client)
        try tap.pass(.output(0, "x"), from: .agent)
        await tap.ended("")
        #expect(try fixture.bytes(.input) == Array("ls €\r".utf8))
        #expect(try fixture.bytes() == Array("x".utf8))
    }

    /// Each frame once and in order, however often and in whatever order they come.
    @Test(arguments: 0..<20) func everyFrameOnceAndInOrder(seed: UInt64) async throws {
        var generator = Seeded(seed)
        let fixture = try await F()
        let tap = try await fixture.recorders().begin(F.facts())
        let bytes = (0..<3000).map { _ in UInt8.random(in: 0...255, using: &generator) }
        var frames: [AgentMessage] = []
        var start = 0
        while start < bytes.count {
            let end = min(bytes.count, start + Int.random(in: 1...60, using: &generator))
            frames.append(.output(Int64(frames.count), Array(bytes[start..<end])))
            start = end
        }
        // Windows of eight, shuffled, some of it twice.
        for start in stride(from: 0, to: frames.count, by: 8) {
            let window = Array(frames[start..<min(frames.count, start + 8)])
            for frame in (window + window.filter { _ in Bool.random(using: &generator) }).shuffled(using: &generator) {
                try tap.pass(frame, from: .agent)
            }
        }
        await tap.ended("")
        #expect(try fixture.bytes() == bytes)
        #expect(try await fixture.verdict().isProven)
    }

    @Test func aRepeatWithOtherBytesEndsTheSession() async throws {
        let fixture = try await F()
        // Also where recording is not required: somebody cheats.
        let tap = try await fixture.recorders().begin(F.facts(required: false))
        try tap.pass(.output(0, "one"), from: .agent)
        try tap.pass(.output(0, "one"), from: .agent)
        #expect(throws: RecordingFailure.self) { try tap.pass(.output(0, "two"), from: .agent) }
        try tap.pass(.output(2, "early"), from: .agent)
        #expect(throws: RecordingFailure.self) { try tap.pass(.output(2, "other"), from: .agent) }
        #expect(throws: RecordingFailure.self) { try tap.pass(.output(-1, "x"), from: .agent) }
    }

    /// What was taken as a window's size, and dropped by a node that was busy, comes again as keys.
    @Test(arguments: ["Standard_Stream", "Port"], [false, true])
    func aRepeatOfAnotherTypeHidesNothing(type: String, afterRestart: Bool) async throws {
        let fixture = try await F()
        let facts = F.facts(input: true, type: type)
        var tap = try await fixture.recorders().begin(facts)
        try tap.pass(.input(0, "touch /tmp/hidden\r", .size), from: .client)
        try tap.pass(.input(0, "touch /tmp/hidden\r", .size), from: .client)
        if afterRestart {
            // A flow is counted anew, so that there is no frame before it.
            guard type != "Port" else { return }
            tap = try await fixture.recorders().resume(facts)
        }
        #expect(throws: RecordingFailure.self) { try tap.pass(.input(0, "touch /tmp/hidden\r"), from: .client) }
    }

    // MARK: Restarts

    /// Whatever part of the two files is there when the next controller starts: what it goes on with is whole and verifiable, and what was
    /// cut off is taken again when the agent repeats it.
    @Test func everyPrefixOfTheFilesIsGoneOnWith() async throws {
        let frames: [AgentMessage] = [
            .output(0, "a€"), .output(1, [0xe2, 0x82]), .output(2, [0xac, 0xff, 0x41]), .output(4, "early"),
            .output(3, "err", .standardError),
            .output(5, "z"),
        ]
        let original = try await F()
        let tap = try await original.recorders().begin(F.facts())
        for frame in frames { try tap.pass(frame, from: .agent) }
        let (cast, chain) = (
            try original.archive.read(F.session, .cast, from: 0, atMost: 1 << 20),
            try original.archive.read(F.session, .chain, from: 0, atMost: 1 << 20)
        )
        let expected = Array("a€€".utf8) + [0xff, 0x41] + Array("errearlyz".utf8)
        #expect(try original.bytes() == expected)

        var lengths = (0...cast.count).map { ($0, chain.count) }
        lengths += (0...chain.count).map { (cast.count, $0) }
        let fixture = try await F()
        try await fixture.database.write { tx in try RecordingStore.insert(F.facts(), state: .open, detail: "", in: tx) }
        for (castLength, chainLength) in lengths {
            try Data(cast.prefix(castLength)).write(to: URL(fileURLWithPath: fixture.path + "cast"))
            try Data(chain.prefix(chainLength)).write(to: URL(fileURLWithPath: fixture.path + "chain"))
            let (files, recording) = try fixture.archive.reopen(F.facts(), committed: RecordingMark(length: 0, lines: 0, head: ""))
            #expect(recording.chain.length == Int64(try fixture.text().utf8.count))
            #expect(try fixture.text(.chain).utf8.filter { $0 == 0x0a }.count == recording.chain.lines)
            // The agent repeats all it has; what is there already is not taken twice.
            var next = recording
            for frame in frames.sorted(by: { $0.sequenceNumber < $1.sequenceNumber }) {
                try files.append(try next.received(frame, from: .agent, at: 0))
            }
            #expect(!next.isWaiting)
            let bytes = try fixture.bytes()
            #expect(bytes == expected, "\(castLength) \(chainLength)")
        }
    }

    @Test func aRestartGoesOnBehindWhatIsThere() async throws {
        let fixture = try await F()
        var tap = try await fixture.recorders().begin(F.facts())
        try tap.pass(.output(0, "before "), from: .agent)
        try tap.pass(.output(1, "it "), from: .agent)
        // No goodbye: kill -9.
        tap = try await fixture.recorders().resume(F.facts())
        tap.noted(.controllerRestarted)
        try tap.pass(.output(0, "before "), from: .agent)
        #expect(throws: RecordingFailure.self) { try tap.pass(.output(1, "IT "), from: .agent) }
        try tap.pass(.output(2, "after"), from: .agent)
        await tap.ended("")
        #expect(try fixture.bytes() == Array("before it after".utf8))
        #expect(try await fixture.verdict().isProven)
        #expect(try fixture.events().contains { $0.known == .marker })
    }

    @Test func whatIsNotWhatWasCommittedIsNotGoneOnWith() async throws {
        for tamper in 0..<3 {
            let fixture = try await F()
            let recorders = fixture.recorders()
            let tap = try await recorders.begin(F.facts())
            for number in 0..<10 { try tap.pass(.output(Int64(number), "line \(number)\r\n"), from: .agent) }
            await recorders.commit()
            #expect(try await fixture.commitments().map(\.mark.lines) == [11])
            var text = try fixture.text()
            switch tamper {
            case 0: text = text.replacingOccurrences(of: "line 5", with: "line x")
            case 1: text = text.split(separator: "\n").dropLast(2).joined(separator: "\n") + "\n"
            default:
                // With its chain, by somebody who knows how.
                var chain = RecordingChain(F.session)
                text = text.replacingOccurrences(of: "line 5", with: "line x")
                let places = try fixture.text(.chain).split(separator: "\n").map { RecordingLink(Array($0.utf8))!.place }
                let links = zip(text.split(separator: "\n"), places).flatMap { chain.append(Array($0.utf8) + [0x0a], $1) }
                try Data(links).write(to: URL(fileURLWithPath: fixture.path + "chain"))
            }
            try Data(text.utf8).write(to: URL(fileURLWithPath: fixture.path + "cast"))
            await #expect(throws: RecordingFailure.self) { _ = try await fixture.recorders().resume(F.facts()) }
            #expect(try await fixture.row().state == .damaged)
            #expect(try await !fixture.verdict().isProven)
        }
    }

    /// After a power cut the end of a recording may be lost while both ends of the session know it.
    @Test func whatWasLostWithTheMachineIsSaid() async throws {
        let fixture = try await F()
        _ = try await fixture.recorders().begin(F.facts()).pass(.output(0, "kept "), from: .agent)
        let recorders = fixture.recorders()
        let tap = try await recorders.resume(F.facts())
        try tap.pass(.output(3, "later"), from: .agent)
        let recording = try #require(recorders.recording(F.session))
        recording.tick()
        #expect(try fixture.bytes() == Array("kept ".utf8))
        fixture.elapsed.withLockedValue { $0 = 11_000_000 }
        recording.tick()
        #expect(try fixture.bytes() == Array("kept later".utf8))
        #expect(try fixture.events().contains { $0.known == .marker && $0.data.hasPrefix("Frame 1 to 2 of the agent is missing") })
        try tap.pass(.output(4, "!"), from: .agent)
        await tap.ended("")
        #expect(try fixture.bytes() == Array("kept later!".utf8))
    }

    @Test func whatNobodyComesBackForIsClosed() async throws {
        let fixture = try await F()
        try await fixture.recorders().begin(F.facts()).pass(.output(0, "x"), from: .agent)
        fixture.elapsed.withLockedValue { $0 = 5_000_000 }
        let later = fixture.recorders()
        #expect(await later.closeForsaken(before: F.start.milliseconds * 1000 + 5_000_000))
        #expect(try await fixture.row().state == .interrupted)
        let verdict = try await fixture.verdict()
        #expect(verdict.isProven && verdict.state == .interrupted)
        await #expect(throws: RecordingFailure.self) { _ = try await later.resume(F.facts()) }
    }

    // MARK: Commitments

    @Test func onlyWhatHasGrownIsCommitted() async throws {
        let fixture = try await F()
        let recorders = fixture.recorders()
        let tap = try await recorders.begin(F.facts())
        await recorders.commit()
        await recorders.commit()
        try tap.pass(.output(0, "x"), from: .agent)
        await recorders.commit()
        await recorders.commit()
        #expect(try await fixture.commitments().map(\.mark.lines) == [1, 2])
        #expect(try await fixture.verdict().proof == .committed)
        await tap.ended("")
        let verdict = try await fixture.verdict()
        #expect(verdict.proof == .sealed && verdict.commitments == 3)
        #expect(recorders.count == 0)
    }

    // MARK: When it cannot be written

    @Test(arguments: [true, false]) func aRecordingHasALimit(required: Bool) async throws {
        let fixture = try await F()
        let tap = try await fixture.recorders(bytes: 2_000).begin(F.facts(required: required))
        var failure: RecordingFailure?
        for number in 0..<100 {
            do throws(RecordingFailure) {
                try tap.pass(.output(Int64(number), String(repeating: "x", count: 50)), from: .agent)
            } catch {
                failure = error
                break
            }
        }
        #expect((failure != nil) == required)
        await tap.ended("")
        #expect(try await fixture.row().state == .truncated)
        #expect(try await fixture.row().detail.contains("limit"))
        #expect(try fixture.text().utf8.count < 2_000 + 4_096)
        #expect(try fixture.events().last?.data.hasPrefix("The recording ends here") == true)
        #expect(try await fixture.verdict().isProven)
    }

    @Test(arguments: [true, false]) func aFullDiskEndsWhatHasToBeRecorded(required: Bool) async throws {
        let fixture = try await F()
        let facts = F.facts(required: required)
        try await fixture.database.write { tx in try RecordingStore.insert(facts, state: .open, detail: "", in: tx) }
        let recorders = fixture.recorders()
        let tap = SessionRecorder(
            facts, Recording(facts), files: try RecordingFiles(castPath: "/dev/full", chainPath: "/dev/null"), linkBytes: 0, committed: nil,
            limit: 0, isResumed: false, finisher: recorders.finisher, clock: SessionRecorders.microseconds)
        func pass() -> RecordingFailure? {
            do throws(RecordingFailure) {
                try tap.pass(.output(0, "x"), from: .agent)
                return nil
            } catch {
                return error
            }
        }
        for _ in 0..<2 {
            let failure = pass()
            #expect((failure != nil) == required)
        }
        await tap.ended("")
        #expect(try await fixture.row().state == .failed)
        #expect(try await fixture.row().detail.contains("No space left"))
    }

    @Test func aRecordingThatCannotBeginRefusesTheSession() async throws {
        let fixture = try await F()
        try Data().write(to: URL(fileURLWithPath: fixture.path + "cast"))
        await #expect(throws: RecordingFailure.self) { _ = try await fixture.recorders().begin(F.facts()) }
        let other = SessionID(rawValue: "mary-0123456789abcdef0")!
        try Data().write(to: URL(fileURLWithPath: fixture.directory.file("recordings/\(other).cast")))
        let tap = try await fixture.recorders().begin(F.facts(required: false, other))
        try tap.pass(.output(0, "x"), from: .agent)
        let row = try await fixture.database.read { tx in try RecordingStore.row(other, in: tx) }
        #expect(row?.summary.state == .failed)
    }

    // MARK: Pipes

    /// `muster exec node -- pg_dump` is not a dump of the database on the controller, and no size ends it.
    @Test(arguments: [Int64(0), 700]) func ofWhatIsPipedTheBeginningIsKeptAndTheDigestOfAll(limit: Int64) async throws {
        let fixture = try await F()
        let recorders = fixture.recorders(bytes: limit, pipeBytes: 100)
        let tap = try await recorders.begin(F.facts(type: "NonInteractiveCommands"))
        var all = ""
        for number in 0..<1_000 {
            let piece = "piece \(number)\n"
            all += piece
            try tap.pass(.output(Int64(number), piece), from: .agent)
        }
        try tap.pass(.output(1_000, "trouble", .standardError), from: .agent)
        try tap.pass(.output(1_001, "EXIT_CODE: 0", .exitCode), from: .agent)
        #expect(throws: RecordingFailure.self) { try tap.pass(.output(999, "other"), from: .agent) }
        await tap.ended("the command ended")
        let row = try await fixture.row()
        #expect(row.state == .truncated && !row.detail.isEmpty && row.mark.length < 5_000)
        let kept = String(decoding: try fixture.bytes(), as: UTF8.self)
        // Of standard error as well, unless the recording was full before.
        let output = kept.hasSuffix("trouble") ? String(kept.dropLast("trouble".count)) : kept
        #expect(all.hasPrefix(output) && kept.count < 150 && (output.count >= 100 && output != kept || limit > 0))
        let flow = try #require(row.flow)
        #expect(flow.toClient.map(\.bytes) == [Int64(all.utf8.count)])
        #expect(flow.toClient.map(\.sha256) == [Hex.encode(SHA256.hash(all))])
        #expect(flow.toClientErrors?.map(\.sha256) == [Hex.encode(SHA256.hash("trouble"))])
        // Input that is not recorded leaves no trace.
        #expect(flow.toNode.isEmpty)
        #expect(try fixture.events().contains { $0.known == .marker && $0.data.contains("standard output is not recorded") } || limit > 0)
        #expect(try await fixture.verdict().isProven)
        let seal = try JSONCoding.decode(
            RecordingSeal.self, from: try fixture.archive.read(F.session, .seal, from: 0, atMost: 1 << 20))
        #expect(try seal.decoded().flow == flow)
    }

    @Test func aShortCommandIsRecordedInFull() async throws {
        let fixture = try await F()
        let tap = try await fixture.recorders().begin(F.facts(type: "NonInteractiveCommands"))
        try tap.pass(.output(0, "all of it"), from: .agent)
        await tap.ended("")
        #expect(try fixture.bytes() == Array("all of it".utf8))
        #expect(try await fixture.row().state == .complete)
        #expect(try await fixture.row().flow?.toClient.map(\.sha256) == [Hex.encode(SHA256.hash("all of it"))])
    }

    /// What the digest has been fed is in the recording, if that is everything; if not, another stretch begins.
    @Test func pipesAreGoneOnWithAfterARestart() async throws {
        let fixture = try await F()
        let facts = F.facts(type: "NonInteractiveCommands")
        var tap = try await fixture.recorders(pipeBytes: 20).begin(facts)
        try tap.pass(.output(0, [0x61, 0xe2, 0x82]), from: .agent)
        tap = try await fixture.recorders(pipeBytes: 20).resume(facts)
        try tap.pass(.output(0, [0x61, 0xe2, 0x82]), from: .agent)
        try tap.pass(.output(1, [0xac]), from: .agent)
        let recorders = fixture.recorders(pipeBytes: 20)
        tap = try await recorders.resume(facts)
        try tap.pass(.output(2, String(repeating: "x", count: 30)), from: .agent)
        try tap.pass(.output(3, "cut"), from: .agent)
        try tap.pass(.output(4, "and more"), from: .agent)
        await recorders.commit()
        let whole = "a€" + String(repeating: "x", count: 30) + "cutand more"
        #expect(try await fixture.row().flow?.toClient.map(\.sha256) == [Hex.encode(SHA256.hash(whole))])
        tap = try await fixture.recorders(pipeBytes: 20).resume(facts)
        // 5 and 6 went with the controller; what comes is counted, and what was counted before is not counted again.
        try tap.pass(.output(7, "the rest"), from: .agent)
        try tap.pass(.output(4, "and more"), from: .agent)
        await tap.ended("")
        let row = try await fixture.row()
        #expect(row.flow?.toClient.map(\.sha256) == [whole, "the rest"].map { Hex.encode(SHA256.hash($0)) })
        #expect(row.flow?.toClient.map(\.firstFrame) == [0, 7] && row.state == .truncated)
        #expect(try fixture.bytes() == Array(("a€" + String(repeating: "x", count: 30)).utf8))
        #expect(try await fixture.verdict().isProven)
    }

    /// Nothing that is kept gives way to what is new.
    @Test func atTheTotalTerminalsAreRefusedAndOfPipesOnlyTheDigestIsKept() async throws {
        let fixture = try await F()
        let recorders = fixture.recorders(totalBytes: 1)
        await (try await recorders.begin(F.facts())).ended("")
        await recorders.measure()
        let other = SessionID(rawValue: "jane-00000000000000001")!
        let refusal = await #expect(throws: RecordingFailure.self) { _ = try await recorders.begin(F.facts(other)) }
        #expect(refusal?.reason.contains("recordingTotalBytes") == true)
        #expect(try await fixture.row().state == .complete)
        let third = SessionID(rawValue: "jane-00000000000000002")!
        let tap = try await recorders.begin(F.facts(type: "NonInteractiveCommands", third))
        try tap.pass(.output(0, "much"), from: .agent)
        await tap.ended("")
        let row = try #require(try await fixture.database.read { tx in try RecordingStore.row(third, in: tx) }).summary
        #expect(row.state == .truncated && row.flow?.toClient.map(\.sha256) == [Hex.encode(SHA256.hash("much"))])
        // Not required: it goes on without, and the row says so.
        let fourth = SessionID(rawValue: "jane-00000000000000003")!
        _ = try await recorders.begin(F.facts(required: false, fourth))
        #expect(try await fixture.database.read { tx in try RecordingStore.row(fourth, in: tx)?.summary.state } == .failed)
    }

    @Test func theReserveOfTheDiskIsLeftForTheControllersChanges() async throws {
        let fixture = try await F()
        let free = NIOLockedValueBox<Int64>(100)
        let recorders = fixture.recorders(reserve: DiskReserve(bytes: 100, free: { free.withLockedValue { $0 } }))
        let tap = try await recorders.begin(F.facts())
        let piped = SessionID(rawValue: "jane-00000000000000001")!
        let pipe = try await recorders.begin(F.facts(type: "NonInteractiveCommands", piped))
        func look(_ bytes: Int64) {
            free.withLockedValue { $0 = bytes }
            for session in [F.session, piped] { recorders.recording(session)?.make(room: DiskReserve(bytes: 100, free: { bytes }).room) }
        }
        try pipe.pass(.output(0, "kept"), from: .agent)
        look(60)
        try tap.pass(.output(0, "a terminal is recorded"), from: .agent)
        try pipe.pass(.output(1, "not kept"), from: .agent)
        look(40)
        #expect(throws: RecordingFailure.self) { try tap.pass(.output(1, "any more"), from: .agent) }
        try pipe.pass(.output(2, "and goes on"), from: .agent)
        await pipe.ended("")
        let row = try #require(try await fixture.database.read { tx in try RecordingStore.row(piped, in: tx) }).summary
        #expect(row.state == .truncated)
        #expect(row.flow?.toClient.map(\.sha256) == [Hex.encode(SHA256.hash("keptnot keptand goes on"))])
        let other = SessionID(rawValue: "jane-00000000000000002")!
        let refusal = await #expect(throws: RecordingFailure.self) { _ = try await recorders.begin(F.facts(other)) }
        #expect(refusal?.reason.contains("diskReserveBytes") == true)
    }

    // MARK: Who and what

    @Test func whatWasRunAndAsWhomIsShownToThoseWhoReview() async throws {
        let fixture = try await F()
        let facts = SessionFacts(
            id: F.session, node: F.node, ownerARN: "arn:aws:iam::000000000001:user/jane", ownerName: "jane",
            document: "AWS-StartNonInteractiveCommand", sessionType: "NonInteractiveCommands", started: F.start,
            properties: ["commands": "pg_dump shop"], isPiped: true, runAsUser: "asked")
        let tap = try await fixture.recorders().begin(facts)
        #expect(try await fixture.row().user == "asked")
        let said = AgentSessionState(.connected, sessionID: F.session, runAsUser: "deploy")
        try tap.pass(try AgentMessage(.agentSessionState, createdDate: F.start, payload: said), from: .agent)
        try tap.pass(try AgentMessage(.agentSessionState, createdDate: F.start, payload: said), from: .agent)
        await tap.ended("")
        let row = try await fixture.row()
        #expect(row.command == "pg_dump shop" && row.user == "deploy")
        #expect(try fixture.events().filter { $0.data.contains("runs as deploy") }.count == 1)
        let sealed = try await fixture.database.read { tx in
            try tx.first("SELECT record FROM audit_events WHERE operation = 'SealRecording'", [])?.text("record")
        }
        #expect(sealed?.contains("deploy") == true && sealed?.contains("pg_dump") == false)
    }

    // MARK: Flows

    @Test func aPortSessionLeavesWhatItMoved() async throws {
        let fixture = try await F()
        let recorders = fixture.recorders()
        let tap = try await recorders.begin(F.facts(type: "Port"))
        try tap.pass(.output(0, "{}", .handshakeRequest), from: .agent)
        try tap.pass(.input(0, "hello "), from: .client)
        try tap.pass(.output(2, "world"), from: .agent)
        try tap.pass(.output(1, "the "), from: .agent)
        try tap.pass(.output(1, "the "), from: .agent)
        #expect(throws: RecordingFailure.self) { try tap.pass(.output(1, "THE "), from: .agent) }
        try tap.pass(.input(1, "there"), from: .client)
        await recorders.commit()
        // A restart: what comes is counted in another stretch.
        let again = fixture.recorders()
        let second = try await again.resume(F.facts(type: "Port"))
        try second.pass(.input(1, "there"), from: .client)
        try second.pass(.input(2, "more"), from: .client)
        await second.ended("")
        let flow = try #require(try await fixture.row().flow)
        #expect(flow.destination == ["port": "22"])
        #expect(flow.toClient.map(\.sha256) == [Hex.encode(SHA256.hash("the world"))])
        #expect(flow.toNode.map(\.sha256) == [Hex.encode(SHA256.hash("hello there")), Hex.encode(SHA256.hash("more"))])
        #expect(flow.bytesToNode == 15 && flow.bytesToClient == 9)
        let seal = try JSONCoding.decode(
            RecordingSeal.self, from: try fixture.archive.read(F.session, .seal, from: 0, atMost: 1 << 20))
        #expect(seal.isSigned(by: fixture.authority.certificate))
        #expect(try seal.decoded().flow == flow)
    }

    /// A frame that the node has dropped, and so many after it that nobody remembers it: its number is not free again.
    @Test func aFlowLetsNothingPassThatItCannotCompare() async throws {
        let fixture = try await F()
        let tap = try await fixture.recorders().begin(F.facts(type: "Port"))
        for number in 0..<16_400 { try tap.pass(.input(Int64(number), "x"), from: .client) }
        try tap.pass(.input(16_399, "x"), from: .client)
        #expect(throws: RecordingFailure.self) { try tap.pass(.input(3, "x"), from: .client) }
    }

    // MARK: Retention

    @Test func whatHasServedItsTimeIsRemovedAndSaidToBe() async throws {
        let fixture = try await F()
        let tap = try await fixture.recorders().begin(F.facts())
        await tap.ended("")
        let retention = RecordingRetention(database: fixture.database, archive: fixture.archive, days: 10)
        try await retention.clean(now: F.start.adding(seconds: 10 * 86_400 - 1))
        #expect(try await fixture.row().state == .complete)
        try await retention.clean(now: F.start.adding(seconds: 10 * 86_400 + 1))
        #expect(try await fixture.row().state == .expired)
        #expect(try fixture.archive.sessions() == [])
        let audit = try await fixture.database.read { tx in try AuditLog.newest(1, in: tx) }
        #expect(audit.first?.operation == "ExpireRecording" && audit.first?.resource == F.session.rawValue)
    }

    // MARK: Watching

    @Test func aWatcherIsWoken() async throws {
        let fixture = try await F()
        let recorders = fixture.recorders()
        let tap = try await recorders.begin(F.facts())
        let recording = try #require(recorders.recording(F.session))
        let length = recording.length
        async let woken: Void = recording.wait(beyond: length)
        try tap.pass(.output(0, "x"), from: .agent)
        await woken
        #expect(recording.length > length)
        async let ended: Void = recording.wait(beyond: recording.length)
        await tap.ended("")
        await ended
        let waiting = Task { await recording.wait(beyond: .max) }
        waiting.cancel()
        await waiting.value
    }
}

/// SplitMix64.
struct Seeded: RandomNumberGenerator {
    private var state: UInt64
    init(_ seed: UInt64) { state = seed }
    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }
}
