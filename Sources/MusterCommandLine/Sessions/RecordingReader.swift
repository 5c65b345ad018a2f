import MusterClient
import MusterCrypto
import MusterWire

/// Reads recordings from the controller, a piece at a time.
struct RecordingReader: Sendable {
    private let api: APIClient

    init(api: APIClient) {
        self.api = api
    }

    /// Nil when there is none.
    func summary(_ session: SessionID) async throws -> RecordingSummary? {
        do {
            return try JSONCoding.decode(RecordingSummary.self, from: try await api.get("\(RecordingRoute.read)/\(session)"))
        } catch let error as APIError where error.status == 404 {
            return nil
        }
    }

    func needed(_ session: SessionID) async throws -> RecordingSummary {
        guard let summary = try await summary(session) else { throw CommandLineError("There is no recording of the session \(session).") }
        if summary.state == .expired { throw CommandLineError("The recording of \(session) was removed when its time was over.") }
        return summary
    }

    /// Newest first; `take` returns false when it has enough.
    func list(_ take: (RecordingSummary) throws -> Bool) async throws {
        var after: String?
        repeat {
            let answer = try await api.get(RecordingRoute.read, query: after.map { "after=\($0)" } ?? "")
            let list = try JSONCoding.decode(RecordingList.self, from: answer)
            for recording in list.recordings {
                guard try take(recording) else { return }
            }
            guard list.next != after || after == nil else { throw CommandLineError("The controller sends the same page again and again.") }
            after = list.next
        } while after != nil
    }

    func piece(_ session: SessionID, _ part: RecordingPart, from offset: Int64) async throws -> [UInt8] {
        do {
            return try await api.get("\(RecordingRoute.read)/\(session)/\(part.rawValue)", query: "offset=\(offset)")
        } catch let error as APIError where error.status == 404 {
            throw CommandLineError("The controller has no \(part.rawValue) of \(session).")
        }
    }

    /// All of a file, as far as it goes now.
    func copy(_ session: SessionID, _ part: RecordingPart, to take: ([UInt8]) throws -> Void) async throws {
        var offset: Int64 = 0
        while true {
            let bytes = try await piece(session, part, from: offset)
            if bytes.isEmpty { return }
            try take(bytes)
            offset += Int64(bytes.count)
        }
    }

    /// What the audit trail says, of one session or of all, from behind `sequence` on.
    func commitments(_ session: SessionID?, after sequence: Int64 = 0) async throws -> [RecordingCommitment] {
        var all: [RecordingCommitment] = []
        while true {
            let after = all.last?.sequence ?? sequence
            let path = session.map { "\(RecordingRoute.read)/\($0)/commitments" } ?? RecordingRoute.commitments
            let page = try JSONCoding.decode(CommitmentList.self, from: try await api.get(path, query: "after=\(after)")).commitments
            guard let last = page.last, last.sequence > after else { return all }
            all += page
        }
    }

    func news(_ session: SessionID, from offset: Int64, wait: Int64 = RecordingRoute.longestWait) async throws -> RecordingNews {
        do {
            let answer = try await api.get("\(RecordingRoute.follow)\(session)", query: "offset=\(offset)&wait=\(wait)")
            return try JSONCoding.decode(RecordingNews.self, from: answer)
        } catch let error as APIError where error.status == 404 {
            throw CommandLineError("The session \(session) has nothing to watch: it has no terminal, or is not known.")
        }
    }
}

/// One commitment a line, as JSON: what `export` and `commitments` write and `verify --commitments` reads.
enum CommitmentLines {
    static func text(_ commitments: [RecordingCommitment]) throws -> String {
        try commitments.map { String(decoding: try JSONCoding.encode($0), as: UTF8.self) + "\n" }.joined()
    }

    /// Also of an audit trail, exported or delivered: there they stand among everything else.
    static func read(_ path: String) throws -> [RecordingCommitment] {
        var found: [RecordingCommitment] = []
        for path in try Evidence.trails(path) {
            var (lines, number) = (try EvidenceLines(path), 0)
            while let bytes = try lines.next() {
                number += 1
                if bytes.isEmpty { continue }
                if let line = AuditLine(bytes) {
                    if case .record(let record) = line, let commitment = RecordingCommitment(record) { found.append(commitment) }
                    continue
                }
                do {
                    found.append(try JSONCoding.decode(RecordingCommitment.self, from: bytes))
                } catch {
                    throw CommandLineError("Line \(number) of \(path) is no commitment: it \(JSONCoding.explain(error))")
                }
            }
        }
        return found
    }
}
