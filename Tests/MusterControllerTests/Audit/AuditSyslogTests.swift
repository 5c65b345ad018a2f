import Glibc
import MusterCrypto
import MusterWire
import Testing

@testable import MusterController

/// Over real sockets; TCP with real processes is in Tests/EndToEndTests/test_audit.py.
@Suite(.timeLimit(.minutes(2))) struct AuditSyslogTests {
    private func delivery(to daemon: SyslogDaemon, _ fixture: AuditFixture) throws -> AuditDelivery {
        let address = try #require(AuditSyslog.Address(daemon.address))
        return AuditDelivery(
            target: AuditSyslog(address, text: daemon.address), database: fixture.database, metrics: Metrics(), logger: fixture.logger)
    }

    private func sequences(_ daemon: SyslogDaemon) -> [Int64] {
        daemon.lines.compactMap { if case .record(let record)? = AuditLine($0) { record.sequence } else { nil } }
    }

    @Test(arguments: SyslogDaemon.Kind.allCases) func whatADaemonGotIsATrailThatVerifies(_ kind: SyslogDaemon.Kind) async throws {
        let fixture = try await AuditFixture()
        let daemon = try SyslogDaemon(kind, path: fixture.folder.file("log"))
        defer { daemon.stop() }
        let keeper = fixture.keeper()
        try await keeper.begin()
        try await fixture.append(40)
        try await fixture.database.write { [now = fixture.now] tx in
            try AuditLog.append(AuditEvent(time: now, controllerDid: "Fail", resource: "r", outcome: .failed), in: tx)
        }
        let checkpoint = try await keeper.checkpoint(.regular)
        try await delivery(to: daemon, fixture).round()
        #expect(await daemon.gets { $0.lines.contains { AuditLine($0) == .checkpoint(checkpoint) } })
        var verifier = AuditVerifier(authorities: [fixture.authority.certificate], outside: [checkpoint])
        for line in daemon.lines { verifier.take(line) }
        let verdict = verifier.end()
        #expect(verdict.isProven && verdict.provenThrough == 41, "\(verdict.words)")

        // RFC 5424 section 6: PRI VERSION TIMESTAMP HOSTNAME APP-NAME PROCID MSGID STRUCTURED-DATA MSG
        let headers = daemon.messages.map {
            String(decoding: $0, as: UTF8.self).split(separator: " ", maxSplits: 7, omittingEmptySubsequences: false)
        }
        #expect(headers.allSatisfy { $0.count == 8 && $0[3] == "muster-controller" && $0[4] == "\(getpid())" && $0[6] == "-" })
        #expect(headers.allSatisfy { !$0[2].isEmpty && $0[7].hasPrefix("{") })
        #expect(headers.first.map { $0[0] == "<109>1" && $0[1] == "-" && $0[5] == "trail" } == true)
        let records = headers.filter { $0[5] == "record" }
        #expect(records.count == 41 && records.allSatisfy { $0[1] == fixture.now.iso8601 })
        #expect(records.map { String($0[0]) } == Array(repeating: "<109>1", count: 40) + ["<108>1"])
        // Nothing but line feeds ends a message of a stream, and none is in one.
        #expect(daemon.messages.allSatisfy { !$0.contains(0x0a) && !$0.contains(0) })
    }

    /// UDP cannot know; see docs/audit.md.
    @Test(arguments: [SyslogDaemon.Kind.unixDatagram, .unixStream]) func aDaemonThatWasAwayMissesNothing(_ kind: SyslogDaemon.Kind)
        async throws
    {
        let fixture = try await AuditFixture()
        let path = fixture.folder.file("log")
        let former = try SyslogDaemon(kind, path: path)
        let delivery = try delivery(to: former, fixture)
        try await fixture.append(3)
        try await delivery.round()
        #expect(await former.gets { sequences($0) == [1, 2, 3] })
        former.stop()
        try await fixture.append(2)
        await #expect(throws: SyslogSocket.Failure.self) { try await delivery.round() }
        let daemon = try SyslogDaemon(kind, path: path)
        defer { daemon.stop() }
        try await delivery.round()
        #expect(await daemon.gets { sequences($0) == [4, 5] })
        // It is told where what it gets goes on.
        let mark = try #require(try await fixture.database.read { tx in try AuditStore.mark(at: 3, in: tx) })
        #expect(daemon.lines.first.flatMap { AuditLine($0) } == .trail(mark))
    }

    @Test(arguments: SyslogDaemon.Kind.allCases) func aRecordLongerThanADatagramHoldsNothingBack(_ kind: SyslogDaemon.Kind) async throws {
        let fixture = try await AuditFixture()
        let daemon = try SyslogDaemon(kind, path: fixture.folder.file("log"))
        defer { daemon.stop() }
        let details = Dictionary(uniqueKeysWithValues: (0..<40).map { ("detail \($0)", String(repeating: "é", count: 1_000)) })
        let long = AuditEvent(time: fixture.now, controllerDid: "Long", resource: "r", details: details)
        try await fixture.append(1)
        try await fixture.database.write { tx in try AuditLog.append(long, in: tx) }
        try await fixture.append(1)
        let delivery = try delivery(to: daemon, fixture)
        try await delivery.round()
        #expect(await daemon.gets { $0.messages.count == 4 })
        if kind == .unixStream {
            #expect(sequences(daemon) == [1, 2, 3])
        } else {
            #expect(sequences(daemon) == [1, 3])
            let cut = daemon.messages[2]
            #expect(cut.count <= SyslogSocket.longestDatagram && cut.count > SyslogSocket.longestDatagram - 4)
            let text = try #require(String(validating: cut, as: UTF8.self))
            #expect(
                text.hasPrefix("<109>1 ") && text.contains(#""eventName":"Long""#) && text.hasSuffix(" bytes)")
                    && text.contains("… (cut: 8"))
        }
        let count = daemon.messages.count
        try await delivery.round()
        #expect(daemon.messages.count == count)
    }

    /// Where the kernel has less room than usual, a long record is cut shorter still.
    @Test func aDatagramIsCutToWhatTheKernelTakes() async throws {
        let folder = try TemporaryDirectory()
        let daemon = try SyslogDaemon(.unixDatagram, path: folder.file("log"))
        defer { daemon.stop() }
        let socket = try SyslogSocket(#require(AuditSyslog.Address(daemon.address)), seconds: 5)
        var room = Int32(0)
        setsockopt(socket.number, SOL_SOCKET, SO_SNDBUF, &room, socklen_t(MemoryLayout<Int32>.size))
        let message = Array(("<109>1 - " + String(repeating: "x", count: 20_000)).utf8)
        try socket.send(message)
        #expect(await daemon.gets { $0.messages.count == 1 })
        let cut = try #require(daemon.messages.first)
        #expect(cut.count >= SyslogSocket.shortestDatagram && cut.count < 10_000 && cut.starts(with: message.prefix(400)))
        #expect(String(decoding: cut, as: UTF8.self).hasSuffix("… (cut: 20009 bytes)"))
    }

    @Test func aCutIsNeverInsideACharacter() throws {
        let message = Array(String(repeating: "aé€😀", count: 200).utf8)
        for longest in SyslogSocket.shortestDatagram..<message.count {
            let cut = SyslogSocket.cut(message, longest)
            #expect(cut.count <= longest && cut.count > longest - 4 && String(validating: cut, as: UTF8.self) != nil)
        }
        #expect(SyslogSocket.cut(message, message.count) == message)
    }
}
