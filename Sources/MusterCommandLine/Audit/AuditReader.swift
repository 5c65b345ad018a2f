import MusterClient
import MusterWire

/// Reads the audit trail from the controller, a piece at a time.
struct AuditReader: Sendable {
    private let api: APIClient

    init(api: APIClient) {
        self.api = api
    }

    /// A signed checkpoint of all that there is now.
    func checkpoint() async throws -> AuditHead {
        try JSONCoding.decode(AuditHead.self, from: try await api.post(AuditRoute.checkpoint, body: []))
    }

    /// Lines from behind `sequence` up to `last`, each with its line feed.
    func copy(after sequence: Int64, until last: Int64, to take: ([UInt8]) throws -> Void) async throws {
        var after = sequence
        var isFirst = true
        while isFirst || after < last {
            let piece = try await api.get(AuditRoute.read, query: "after=\(after)&until=\(last)" + (isFirst ? "" : "&more=1"))
            var reached = after
            for line in piece.split(separator: 0x0a).reversed() {
                if case .record(let record)? = AuditLine(Array(line)) {
                    reached = record.sequence
                    break
                }
                // Where the rest begins, when what was asked for has been removed.
                if case .trail(let mark)? = AuditLine(Array(line)) { reached = max(reached, mark.sequence) }
            }
            try take(piece)
            guard isFirst || reached > after else { return }
            if reached == after { return }
            (after, isFirst) = (reached, false)
        }
    }
}
