import FoundationEssentials
import Glibc
import MusterClient
import MusterCrypto
package import MusterWire

/// `muster session …`: what sessions there are and were, and what became of their recordings.
package struct SessionCommands: Sendable {
    private static let pageSize = 200

    let caller: Operator
    let printer: Printer

    package init(caller: Operator, printer: Printer) {
        (self.caller, self.printer) = (caller, printer)
    }

    /// A session with its recording.
    struct Entry: Encodable {
        let session: Session
        let recording: RecordingSummary?

        private enum CodingKeys: String, CodingKey {
            case session = "Session"
            case recording = "Recording"
        }
    }

    // MARK: What there is

    package func list(limit: Int, active: Bool) async throws -> Int32 {
        guard limit > 0 else { throw CommandLineError("--limit takes a number above 0.") }
        var sessions = try await sessions("Active", limit: limit)
        if !active, sessions.count < limit { sessions += try await self.sessions("History", limit: limit - sessions.count) }
        var recordings: [SessionID: RecordingSummary] = [:]
        let wanted = Set(sessions.map(\.sessionID))
        let oldest = sessions.map(\.startDate).min()
        if let oldest {
            try await RecordingReader(api: caller.api).list { recording in
                if wanted.contains(recording.session) { recordings[recording.session] = recording }
                return recordings.count < wanted.count && recording.started >= oldest
            }
        }
        let entries = sessions.map { Entry(session: $0, recording: recordings[$0.sessionID]) }
        var table = Table(["SESSION", "NODE", "STATUS", "OWNER", "STARTED", "LASTED", "RECORDING", "RUNS AS", "COMMAND"])
        for entry in entries {
            let session = entry.session
            table.add([
                session.sessionID.rawValue, session.target, Self.status(session), Self.name(session.owner), session.startDate.iso8601,
                Self.duration(from: session.startDate, to: session.endDate ?? .now()), Self.state(entry.recording),
                entry.recording?.user ?? "", entry.recording?.command ?? "",
            ])
        }
        try printer.data(entries, table)
        return 0
    }

    private func sessions(_ state: String, limit: Int, filters: [SessionFilter]? = nil) async throws -> [Session] {
        var found: [Session] = []
        let input = DescribeSessions.Input(state: state, maxResults: min(limit, Self.pageSize), filters: filters)
        for try await page in caller.api.pages(DescribeSessions.self, input, next: \.nextToken, token: \.nextToken) {
            found += page.sessions
            if found.count >= limit { break }
        }
        return Array(found.prefix(limit))
    }

    package func show(_ name: SessionName) async throws -> Int32 {
        let session = name.id
        let filter = [SessionFilter(key: "SessionId", value: session.rawValue)]
        var found = try await sessions("Active", limit: 1, filters: filter)
        if found.isEmpty { found = try await sessions("History", limit: 1, filters: filter) }
        let recording = try await RecordingReader(api: caller.api).summary(session)
        guard let known = found.first ?? recording.map(Self.session) else { throw CommandLineError("There is no session \(session).") }
        let entry = Entry(session: known, recording: recording)
        var sheet = FactSheet()
        for (name, value) in Self.facts(entry) { sheet.add(name + ":", value) }
        try printer.facts(entry, sheet)
        return 0
    }

    /// The recording outlives the history of the sessions.
    private static func session(_ recording: RecordingSummary) -> Session {
        Session(
            sessionID: recording.session, target: recording.node.rawValue, status: recording.ended == nil ? .connected : .terminated,
            startDate: recording.started, endDate: recording.ended, documentName: recording.document, owner: recording.owner,
            reason: recording.reason.isEmpty ? nil : recording.reason, details: recording.endReason)
    }

    private static func facts(_ entry: Entry) -> [(String, String)] {
        let session = entry.session
        var facts = [
            ("Session", session.sessionID.rawValue), ("Node", session.target), ("Status", session.status.rawValue),
            ("Owner", session.owner), ("Document", session.documentName), ("Started", session.startDate.iso8601),
        ]
        if let ended = session.endDate {
            facts += [("Ended", ended.iso8601), ("Lasted", duration(from: session.startDate, to: ended))]
        }
        if let reason = session.reason, !reason.isEmpty { facts.append(("Reason", reason)) }
        if let details = session.details, !details.isEmpty { facts.append(("Details", details)) }
        if let command = entry.recording?.command { facts.append(("Command", command)) }
        if let user = entry.recording?.user { facts.append(("Runs as", user)) }
        facts.append(("Recording", state(entry.recording)))
        guard let recording = entry.recording else { return facts }
        if !recording.detail.isEmpty { facts.append(("Recording's trouble", recording.detail)) }
        if recording.kind == .terminal {
            facts += [
                (
                    "Recorded",
                    "\(recording.mark.lines) lines, \(recording.mark.length) bytes\(recording.inputRecorded ? ", with input" : "")"
                ),
                ("Chain's head", recording.mark.head),
            ]
        }
        if let committed = recording.committed { facts.append(("Committed", committed.iso8601)) }
        if let flow = recording.flow {
            for key in flow.destination.keys.sorted() { facts.append(("To \(key)", flow.destination[key] ?? "")) }
            let names = recording.kind == .terminal ? ("Standard input", "Standard output") : ("To the node", "To the client")
            for (name, stretches) in [(names.0, flow.toNode), (names.1, flow.toClient), ("Standard error", flow.toClientErrors ?? [])] {
                for stretch in stretches { facts.append((name, "\(stretch.bytes) bytes, SHA-256 \(stretch.sha256)")) }
            }
            for transfer in flow.transfers {
                facts.append(
                    (
                        transfer.kind.rawValue,
                        "\(transfer.name), \(transfer.received) bytes in, \(transfer.sent) out \(transfer.sha256 ?? "")"
                    ))
            }
        }
        return facts
    }

    /// Of one whose client is away, since when: the controller says it in the details.
    private static func status(_ session: Session) -> String {
        guard session.status == .disconnected, let details = session.details, !details.isEmpty else { return session.status.rawValue }
        return details
    }

    private static func state(_ recording: RecordingSummary?) -> String {
        guard let recording else { return "none" }
        return recording.kind == .flow ? "\(recording.state.rawValue) (flow)" : recording.state.rawValue
    }

    private static func name(_ arn: String) -> String { arn.split(separator: "/").last.map(String.init) ?? arn }

    private static func duration(from start: Timestamp, to end: Timestamp) -> String {
        let seconds = max(0, (end.milliseconds - start.milliseconds) / 1000)
        if seconds < 120 { return "\(seconds) s" }
        return seconds < 7200 ? "\(seconds / 60) min" : "\(seconds / 3600) h \(seconds / 60 % 60) min"
    }

    // MARK: Doing

    /// Which sessions are ended.
    package enum Ending: Sendable {
        case named([SessionName])
        /// The caller's own whose clients are away.
        case disconnected
        /// All of the caller's own.
        case allMine
    }

    /// 1 when one of them could not be ended; the others are all the same.
    package func terminate(_ ending: Ending) async throws -> Int32 {
        let sessions: [SessionID]
        switch ending {
        case .named(let names): sessions = names.map(\.id)
        case .disconnected: sessions = try await own().filter { $0.status == .disconnected }.map(\.sessionID)
        case .allMine: sessions = try await own().map(\.sessionID)
        }
        if sessions.isEmpty { printer.note("There is no such session.") }
        var status: Int32 = 0
        for session in sessions {
            do {
                _ = try await caller.api.call(TerminateSession.self, .init(sessionID: session.rawValue))
                printer.note("Ended \(session).")
            } catch let error as APIError where sessions.count > 1 {
                printer.note("Could not end \(session): \(error)")
                status = 1
            }
        }
        return status
    }

    private func own() async throws -> [Session] {
        let owner = try await caller.api.callerIdentity().arn
        return try await sessions("Active", limit: .max, filters: [SessionFilter(key: "Owner", value: owner)])
    }

    /// Prints commitments, one a line: what has to leave the machine so that nobody on it can change the past.
    package func commitments(_ name: SessionName?, after sequence: Int64) async throws -> Int32 {
        let found = try await RecordingReader(api: caller.api).commitments(name?.id, after: sequence)
        _ = printer.bytes(Array(try CommitmentLines.text(found).utf8))
        return 0
    }

    // MARK: Recordings

    package struct Replay: Sendable {
        package var speed = 1.0
        package var from: Int64 = 0
        package var longestPause: Int64 = 0
        package var search: String?

        package init() {}
    }

    package func replay(_ name: SessionName, _ options: Replay) async throws -> Int32 {
        let session = name.id
        let reader = RecordingReader(api: caller.api)
        let summary = try await reader.needed(session)
        guard summary.kind == .terminal else {
            throw CommandLineError("The session \(session) had no terminal. See what it moved with: muster session show \(session)")
        }
        if summary.state == .truncated { printer.note("This is not all of the session: \(summary.detail).") }
        let folder = try TemporaryFolder()
        defer { folder.remove() }
        let file = try folder.create("\(session).cast")
        defer { file.close() }
        try await reader.copy(session, .cast) { try file.write($0) }
        return try Self.replay(file.path, options, printer)
    }

    /// A file that `export` wrote, or any other recorder of asciicast v2.
    package static func replay(_ path: String, _ options: Replay, _ printer: Printer) throws -> Int32 {
        let open = { try FileLines(path).source }
        if let words = options.search { return try search(words, try open(), printer) }
        guard options.speed > 0, options.speed.isFinite else { throw CommandLineError("--speed takes a number above 0.") }
        var player = RecordingPlayer(
            speed: options.speed, longestPause: options.longestPause, from: options.from, open: open)
        if Terminal.isThere(STDOUT_FILENO), Terminal.isThere(STDIN_FILENO) {
            try player.play()
        } else {
            try player.copy { printer.bytes($0) }
        }
        return 0
    }

    /// 1 when it is nowhere.
    private static func search(_ words: String, _ source: LineSource, _ printer: Printer) throws -> Int32 {
        var (source, search) = (source, RecordingSearch(words))
        var matches: [RecordingSearch.Match] = []
        _ = try source.next()
        while let line = try source.next() {
            if let event = RecordingEvent(line: line) { matches += search.take(event) }
        }
        matches += search.end()
        var table = Table(["TIME", "LINE"])
        for match in matches { table.add([RecordingTime.words(match.time), match.line]) }
        try printer.data(matches, table)
        return matches.isEmpty ? 1 : 0
    }

    /// Writes SESSION.cast, .chain, .seal and .commitments: all that `verify` needs, away from the controller.
    package func export(_ name: SessionName, to directory: String) async throws -> Int32 {
        let session = name.id
        let reader = RecordingReader(api: caller.api)
        let summary = try await reader.needed(session)
        guard mkdir(directory, 0o700) == 0 || errno == EEXIST else {
            throw CommandLineError("Cannot make the folder \(directory): \(SystemError.words()).")
        }
        // Of one that goes on, commitments before lines before links: each is covered by what is read after it.
        let commitments = try await reader.commitments(session)
        var parts: [RecordingPart] = summary.kind == .terminal ? [.cast, .chain] : []
        if summary.state.isFinal, summary.state != .damaged { parts.append(.seal) }
        var written: [String] = []
        for part in parts {
            let file = try NewFile("\(directory)/\(session).\(part.rawValue)")
            defer { file.close() }
            try await reader.copy(session, part) { try file.write($0) }
            written.append(file.path)
        }
        if !summary.state.isFinal, summary.kind == .terminal { try cutLinks(of: session, in: directory) }
        let file = try NewFile("\(directory)/\(session).commitments")
        defer { file.close() }
        try file.write(Array(try CommitmentLines.text(commitments).utf8))
        for path in written + [file.path] { printer.out(path) }
        if !summary.state.isFinal { printer.note("The session goes on: this is its recording so far, without a seal.") }
        return 0
    }

    /// Links that are younger than the lines that were read.
    private func cutLinks(of session: SessionID, in directory: String) throws {
        var lines = try FileLines("\(directory)/\(session).cast").source
        var links = try FileLines("\(directory)/\(session).chain").source
        var length: Int64 = 0
        while try lines.next() != nil, let link = try links.next() { length += Int64(link.count) }
        guard truncate("\(directory)/\(session).chain", off_t(length)) == 0 else {
            throw CommandLineError("Cannot cut \(directory)/\(session).chain: \(SystemError.words()).")
        }
    }
}
