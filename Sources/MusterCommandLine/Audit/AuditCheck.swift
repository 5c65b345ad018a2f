import FoundationEssentials
import MusterClient
import MusterWire

/// `muster audit verify`: an audit trail held against its chain and its checkpoints.
package struct AuditCheck: Sendable {
    let printer: Printer

    package init(printer: Printer) {
        self.printer = printer
    }

    package struct Request: Sendable {
        /// Files that `export` or a delivery wrote, and folders of them, in their order; none: the controller's own.
        package var names: [String] = []
        /// Files with checkpoints that were kept elsewhere.
        package var checkpoints: [String] = []
        /// A PEM file with the controller's CA; else that of the profile.
        package var authority: String?
        /// Records before the first one are not expected.
        package var isPart = false

        package init() {}
    }

    /// 0 when everything is proven, 1 when something is not.
    package func run(_ request: Request, _ connect: () async throws -> Operator) async throws -> Int32 {
        let outside = try request.checkpoints.flatMap { try Self.checkpoints(in: $0) }
        let authorities = try await Evidence.authorities(request.authority, connect)
        var verifier = AuditVerifier(authorities: authorities, outside: outside, isPart: request.isPart)
        if request.names.isEmpty {
            let reader = AuditReader(api: try await connect().api)
            let head = try await reader.checkpoint()
            try await reader.copy(after: 0, until: head.mark.sequence) { piece in
                for line in piece.split(separator: 0x0a) { verifier.take(Array(line)) }
            }
        } else {
            for path in try request.names.flatMap(Evidence.trails) {
                var lines = try EvidenceLines(path)
                while !verifier.isSettled, let line = try lines.next() { verifier.take(line) }
            }
        }
        let verdict = verifier.end()
        let words = verdict.words
        if printer.format == .table {
            printer.out(words)
        } else {
            let shown = Shown(verdict, words)
            var table = Table(["PROVEN", "FIRST", "LAST", "PROVEN THROUGH", "FIRST BAD RECORD", "WORDS"])
            table.add([
                verdict.isProven ? "yes" : "no", String(shown.first), String(shown.last), shown.provenThrough.map(String.init) ?? "",
                shown.firstBad.map(String.init) ?? "", words,
            ])
            try printer.structured(shown, table)
        }
        return verdict.isProven ? 0 : 1
    }

    private struct Shown: Encodable {
        let isProven: Bool
        let trail: String?
        let first: Int64
        let last: Int64
        let provenThrough: Int64?
        let firstBad: Int64?
        let lastBad: Int64?
        let words: String

        init(_ verdict: AuditVerifier.Verdict, _ words: String) {
            isProven = verdict.isProven
            trail = verdict.trail
            (first, last, provenThrough) = (verdict.start + 1, verdict.last, verdict.provenThrough)
            (firstBad, lastBad) = (verdict.fault?.first, verdict.fault?.last)
            self.words = words
        }

        private enum CodingKeys: String, CodingKey {
            case isProven = "Proven"
            case trail = "Trail"
            case first = "FirstRecord"
            case last = "LastRecord"
            case provenThrough = "ProvenThrough"
            case firstBad = "FirstBadRecord"
            case lastBad = "LastBadRecord"
            case words = "Words"
        }
    }

    // MARK: Reading

    /// One that was kept by itself, or all those in a file of lines.
    static func checkpoints(in path: String) throws -> [AuditCheckpoint] {
        var lines = try EvidenceLines(path)
        var found: [AuditCheckpoint] = []
        while let bytes = try lines.next() {
            if let checkpoint = try? JSONCoding.decode(AuditCheckpoint.self, from: bytes) {
                found.append(checkpoint)
            } else if case .checkpoint(let checkpoint)? = AuditLine(bytes) {
                found.append(checkpoint)
            }
        }
        guard !found.isEmpty else { throw CommandLineError("There is no checkpoint in \(path).") }
        return found
    }
}
