import FoundationEssentials
import Glibc
import MusterClient
import MusterCrypto
import MusterWire

/// `muster session verify`: recordings held against their chains, their seals and what was committed of them.
package struct RecordingCheck: Sendable {
    let printer: Printer

    package init(printer: Printer) {
        self.printer = printer
    }

    package struct Request: Sendable {
        /// A session's id, or files that `export` wrote.
        package var names: [String] = []
        /// A file of commitments or of an audit trail, or a folder of the latter.
        package var commitments: String?
        /// A PEM file with the controller's CA; else that of the profile.
        package var authority: String?

        package init() {}
    }

    /// 0 when everything is proven, 1 when something is not.
    package func run(_ request: Request, _ connect: () async throws -> Operator) async throws -> Int32 {
        let extra = try request.commitments.map { try CommitmentLines.read($0) } ?? []
        let authorities = try await Evidence.authorities(request.authority, connect)
        var verdicts: [Verdict] = []
        for name in request.names {
            if let session = SessionID(name), !Self.exists(name) {
                verdicts.append(try await online(session, extra, authorities, try await connect()))
            } else {
                verdicts.append(try files(name, extra, authorities))
            }
        }
        if printer.format == .table {
            for verdict in verdicts { printer.out(verdict.words) }
        } else {
            var table = Table(["SESSION", "PROVEN", "PROOF", "LINES", "FIRST BAD LINE", "WORDS"])
            for verdict in verdicts {
                table.add([
                    verdict.session, verdict.isProven ? "yes" : "no", verdict.proof, String(verdict.lines),
                    verdict.firstBadLine.map(String.init) ?? "", verdict.words,
                ])
            }
            try printer.structured(verdicts, table)
        }
        return verdicts.allSatisfy(\.isProven) ? 0 : 1
    }

    package struct Verdict: Encodable, Sendable {
        let session: String
        let isProven: Bool
        let proof: String
        let lines: Int64
        let firstBadLine: Int64?
        let lastBadLine: Int64?
        let words: String

        private enum CodingKeys: String, CodingKey {
            case session = "SessionId"
            case isProven = "Proven"
            case proof = "Proof"
            case lines = "Lines"
            case firstBadLine = "FirstBadLine"
            case lastBadLine = "LastBadLine"
            case words = "Words"
        }
    }

    // MARK: Files

    private func files(_ name: String, _ extra: [RecordingCommitment], _ authorities: [Certificate]) throws -> Verdict {
        var base = name
        for part in RecordingPart.allCases where base.hasSuffix("." + part.rawValue) {
            base = String(base.dropLast(part.rawValue.count + 1))
        }
        guard let session = SessionID(base.split(separator: "/").last.map(String.init) ?? "") else {
            throw CommandLineError("\(name) is no session's id and no file of a recording: its name has to be SESSION.cast.")
        }
        let beside = base + ".commitments"
        let commitments = extra + (Self.exists(beside) ? try CommitmentLines.read(beside) : [])
        let seal = Self.exists(base + ".seal") ? try Self.seal(try Evidence.read(base + ".seal"), base + ".seal") : nil
        if !Self.exists(base + ".cast"), let seal, let record = try? seal.decoded(), record.flow != nil {
            return Self.flow(session, seal, record, authorities)
        }
        return try verify(session, base, commitments, seal, authorities, isSealed: false)
    }

    private func online(
        _ session: SessionID, _ extra: [RecordingCommitment], _ authorities: [Certificate], _ caller: Operator
    ) async throws -> Verdict {
        let reader = RecordingReader(api: caller.api)
        let summary = try await reader.needed(session)
        let folder = try TemporaryFolder()
        defer { folder.remove() }
        // What is being written grows while it is read: commitments first, then lines, then the links of those lines.
        let commitments = try await reader.commitments(session)
        var seal: RecordingSeal?
        if summary.state.isFinal, let bytes = try? await reader.piece(session, .seal, from: 0), !bytes.isEmpty {
            seal = try Self.seal(bytes, "the seal")
        }
        if summary.kind == .flow {
            guard let seal, let record = try? seal.decoded() else {
                return Verdict(
                    session: session.rawValue, isProven: false, proof: "none", lines: 0, firstBadLine: nil, lastBadLine: nil,
                    words: "\(session): the record of a flow that has no seal\(summary.state.isFinal ? "" : " yet: the session goes on")")
            }
            return Self.flow(session, seal, record, authorities)
        }
        for part in [RecordingPart.cast, .chain] {
            let file = try folder.create("\(session).\(part.rawValue)")
            defer { file.close() }
            try await reader.copy(session, part) { try file.write($0) }
        }
        return try verify(
            session, folder.path + "/\(session)", commitments + extra, seal, authorities,
            isSealed: summary.state.isFinal && summary.state != .damaged, isOpen: !summary.state.isFinal)
    }

    private func verify(
        _ session: SessionID, _ base: String, _ commitments: [RecordingCommitment], _ seal: RecordingSeal?,
        _ authorities: [Certificate], isSealed: Bool, isOpen: Bool = false
    ) throws -> Verdict {
        var (cast, chain) = (try FileLines(base + ".cast").source, try FileLines(base + ".chain").source)
        var verifier = RecordingVerifier(session, commitments: commitments)
        while let line = try cast.next() {
            let link = try chain.next().flatMap { text in text.last == 0x0a ? RecordingLink(text.dropLast()) : nil }
            verifier.take(line, link)
            if verifier.isSettled { break }
        }
        let next = try chain.next()
        // Of a recording that goes on, links may have been read that are younger than the lines.
        let nextLink = isOpen ? nil : next.flatMap { RecordingLink($0.last == 0x0a ? $0.dropLast() : $0[...]) }
        let authority = authorities.first { seal?.isSigned(by: $0) == true } ?? authorities.first
        let verdict = verifier.end(nextLink: nextLink, seal: seal, authority: authority)
        var words: String
        if let fault = verdict.fault {
            let lines =
                fault.lastLine.map { $0 > fault.line ? "lines \(fault.line) to \($0)" : "line \(fault.line)" } ?? "line \(fault.line)"
            words = "\(session): BROKEN, first bad line \(fault.line): \(lines) \(fault.words)"
        } else {
            words = "\(session): \(verdict.lines) lines, \(verdict.length) bytes, "
            switch verdict.proof {
            case .sealed: words += "intact and sealed" + (verdict.state.map { " (\($0.rawValue))" } ?? "")
            case .committed:
                words +=
                    "intact; \(verdict.committedLines ?? 0) lines are as they were committed, \(isOpen ? "it goes on" : "it has no seal")"
            case .none: words += "NOT PROVEN: \(verdict.doubt ?? "")"
            }
            if verdict.commitments > 0, verdict.proof != .committed { words += "; \(verdict.commitments) commitments agree" }
        }
        let lacksSeal = isSealed && seal == nil
        if lacksSeal, verdict.fault == nil { words += "; its seal is MISSING" }
        return Verdict(
            session: session.rawValue, isProven: verdict.isProven && !lacksSeal, proof: verdict.proof.rawValue, lines: verdict.lines,
            firstBadLine: verdict.fault?.line, lastBadLine: verdict.fault?.lastLine, words: words)
    }

    private static func flow(
        _ session: SessionID, _ seal: RecordingSeal, _ record: RecordingRecord, _ authorities: [Certificate]
    ) -> Verdict {
        let isProven = record.session == session && authorities.contains { seal.isSigned(by: $0) }
        let bytes = "\(record.flow?.bytesToNode ?? 0) bytes to the node, \(record.flow?.bytesToClient ?? 0) to the client"
        return Verdict(
            session: session.rawValue, isProven: isProven, proof: isProven ? "sealed" : "none", lines: 0, firstBadLine: nil,
            lastBadLine: nil,
            words: "\(session): the record of a flow, \(bytes), "
                + (isProven ? "sealed (\(record.state.rawValue))" : "NOT PROVEN: it is not signed by the expected controller"))
    }

    // MARK: Reading

    private static func seal(_ bytes: [UInt8], _ path: String) throws -> RecordingSeal {
        do {
            return try JSONCoding.decode(RecordingSeal.self, from: bytes)
        } catch {
            throw CommandLineError("\(path) is no seal: it \(JSONCoding.explain(error))")
        }
    }

    private static func exists(_ path: String) -> Bool { FileManager.default.fileExists(atPath: path) }
}

/// A folder of this process, gone when it is done. What was said in a session is nobody else's to read.
struct TemporaryFolder {
    let path: String

    init() throws {
        let base = ProcessInfo.processInfo.environment["TMPDIR"] ?? "/tmp"
        var template = Array((base + "/muster-XXXXXX").utf8CString)
        guard mkdtemp(&template) != nil else {
            throw CommandLineError("Cannot make a folder in \(base): \(SystemError.words()).")
        }
        path = String(decoding: template.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
    }

    func create(_ name: String) throws -> NewFile { try NewFile(path + "/" + name) }

    func remove() {
        try? FileManager.default.removeItem(atPath: path)
    }
}

/// A file of this user alone that was not there before.
struct NewFile {
    let path: String
    private let descriptor: Int32

    init(_ path: String) throws {
        self.path = path
        descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard descriptor >= 0 else { throw CommandLineError("Cannot create \(path): \(SystemError.words()).") }
    }

    func write(_ bytes: [UInt8]) throws {
        var written = 0
        while written < bytes.count {
            let count = bytes.withUnsafeBytes { buffer in
                buffer.baseAddress.map { Glibc.write(descriptor, $0 + written, buffer.count - written) } ?? 0
            }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw CommandLineError("Cannot write \(path): \(SystemError.words()).") }
            written += count
        }
    }

    func close() { _ = Glibc.close(descriptor) }
}
