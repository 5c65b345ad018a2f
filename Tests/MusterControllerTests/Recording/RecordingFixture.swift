import Logging
import MusterCrypto
import MusterWire
import NIOConcurrencyHelpers
import NIOCore

@testable import MusterController

/// Recorders over a real folder and a real store; only the time is set by hand.
final class RecordingFixture: Sendable {
    static let session = SessionID(rawValue: "jane-0123456789abcdef0")!
    static let node = NodeID(rawValue: "mi-0123456789abcdef0")!
    static let start = Timestamp(milliseconds: 1_700_000_000_000)

    let directory: TemporaryDirectory
    let database: SQLiteDatabase
    let archive: RecordingArchive
    let authority: CertificateAuthority
    /// Microseconds after the start.
    let elapsed = NIOLockedValueBox<Int64>(0)

    init() async throws {
        directory = try TemporaryDirectory()
        database = try SQLiteDatabase(path: directory.file("store.sqlite"))
        try await Migrations.run(on: database, now: 1)
        archive = try RecordingArchive(path: directory.file("recordings"))
        authority = try CertificateAuthority.create(commonName: "Test CA", notBefore: 0, notAfter: 4_000_000_000, key: .generate())
    }

    /// Another run of the controller over the same data.
    func recorders(
        bytes: Int64 = 0, pipeBytes: Int64 = 1 << 20, totalBytes: Int64 = 0, reserve: DiskReserve = DiskReserve(bytes: 0, free: { nil })
    ) -> SessionRecorders {
        var settings = SessionRecorders.Settings()
        settings.recordingBytes = bytes
        settings.pipeBytes = pipeBytes
        settings.totalBytes = totalBytes
        return SessionRecorders(
            archive: archive, database: database, authority: { [authority] in authority }, settings: settings, reserve: reserve,
            clock: { [elapsed] in Self.start.milliseconds * 1000 + elapsed.withLockedValue { $0 } },
            logger: Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() }))
    }

    static func facts(input: Bool = false, required: Bool = true, type: String = "Standard_Stream", _ session: SessionID = session)
        -> SessionFacts
    {
        SessionFacts(
            id: session, node: node, ownerARN: "arn:aws:iam::000000000001:user/jane", ownerName: "jane",
            document: "SSM-SessionManagerRunShell",
            sessionType: type, reason: "why \"not\"", started: start, inputRecorded: input, recordingRequired: required,
            properties: type == "Port" ? ["port": "22"] : [:], isPiped: type == "NonInteractiveCommands")
    }

    func text(_ part: RecordingPart = .cast) throws -> String {
        String(decoding: try archive.read(Self.session, part, from: 0, atMost: 1 << 24), as: UTF8.self)
    }

    var path: String { directory.file("recordings/\(Self.session).") }

    func row() async throws -> RecordingSummary {
        try await database.read { tx in try RecordingStore.row(Self.session, in: tx)!.summary }
    }

    func commitments() async throws -> [RecordingCommitment] {
        try await database.read { tx in try RecordingStore.commitments(of: Self.session, after: 0, count: 1000, in: tx) }
    }

    func events() throws -> [RecordingEvent] {
        try text().split(separator: "\n").dropFirst().map { RecordingEvent(line: Array($0.utf8))! }
    }

    /// What the session wrote, as the recording has it.
    func bytes(_ code: RecordingCode = .output) throws -> [UInt8] {
        var bytes = RecordingBytes(code)
        return try events().flatMap { bytes.take($0) } + bytes.rest
    }

    func verdict() async throws -> RecordingVerifier.Verdict {
        var verifier = RecordingVerifier(Self.session, commitments: try await commitments())
        var (lines, links) = (try source(.cast), try source(.chain))
        while let line = try lines.next() { verifier.take(line, try links.next().flatMap { RecordingLink($0.dropLast()) }) }
        let seal = try archive.read(Self.session, .seal, from: 0, atMost: 1 << 20)
        return verifier.end(
            nextLink: try links.next().flatMap { RecordingLink($0.dropLast()) },
            seal: seal.isEmpty ? nil : try JSONCoding.decode(RecordingSeal.self, from: seal), authority: authority.certificate)
    }

    private func source(_ part: RecordingPart) throws -> LineSource {
        let bytes = try archive.read(Self.session, part, from: 0, atMost: 1 << 24)
        return LineSource { Array(bytes.dropFirst(Int($0))) }
    }
}

extension AgentMessage {
    static func output(_ number: Int64, _ bytes: [UInt8], _ type: PayloadType = .output) -> AgentMessage {
        AgentMessage(
            messageType: .outputStreamData, createdDate: Timestamp(milliseconds: 1), sequenceNumber: number, payloadType: type,
            payload: ByteBuffer(bytes: bytes))
    }

    static func output(_ number: Int64, _ text: String, _ type: PayloadType = .output) -> AgentMessage {
        output(number, Array(text.utf8), type)
    }

    static func input(_ number: Int64, _ text: String, _ type: PayloadType = .output) -> AgentMessage {
        AgentMessage(
            messageType: .inputStreamData, createdDate: Timestamp(milliseconds: 1), sequenceNumber: number, payloadType: type,
            payload: ByteBuffer(string: text))
    }
}
