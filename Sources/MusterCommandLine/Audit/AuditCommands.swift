import FoundationEssentials
import Glibc
import MusterClient
import MusterCrypto
package import MusterWire

/// `muster audit …`: who did what, and the trail itself for keeping elsewhere.
package struct AuditCommands: Sendable {
    let caller: Operator
    let printer: Printer

    package init(caller: Operator, printer: Printer) {
        (self.caller, self.printer) = (caller, printer)
    }

    // MARK: Search

    /// The controller takes one attribute; what else is asked for is looked at here.
    package struct Search: Sendable {
        package var event: String?
        package var user: String?
        package var resource: String?
        package var source: String?
        package var key: String?
        package var id: String?
        package var text: String?
        package var isDenied = false
        package var changesOnly = false
        package var since: Timestamp?
        package var until: Timestamp?
        package var limit = 50

        package init() {}

        var attribute: LookupAttribute? {
            if let id { return LookupAttribute(.eventID, id) }
            if let resource { return LookupAttribute(.resourceName, resource) }
            if let event { return LookupAttribute(.eventName, event) }
            if let user { return LookupAttribute(.userName, user) }
            if let key { return LookupAttribute(.accessKeyID, key) }
            if let source { return LookupAttribute(.eventSource, source) }
            if changesOnly { return LookupAttribute(.readOnly, "false") }
            return nil
        }

        func wants(_ event: LookedUpEvent, _ fields: AuditFields?) -> Bool {
            if let name = self.event, event.eventName != name { return false }
            if let user, event.userName != user { return false }
            if let key, event.accessKeyID != key { return false }
            if let source, event.eventSource != source { return false }
            if changesOnly, event.readOnly == "true" { return false }
            if isDenied, fields?.errorCode?.contains("Denied") != true { return false }
            if let text, !event.record.contains(text) { return false }
            return true
        }
    }

    /// 1 when there is none.
    package func search(_ search: Search) async throws -> Int32 {
        guard search.limit > 0 else { throw CommandLineError("--limit takes a number above 0.") }
        let input = LookupEvents.Input(
            lookupAttributes: search.attribute.map { [$0] }, startTime: search.since, endTime: search.until)
        var found: [(event: LookedUpEvent, fields: AuditFields?)] = []
        for try await page in caller.api.pages(LookupEvents.self, input, next: \.nextToken, token: \.nextToken) {
            for event in page.events {
                let fields = try? JSONCoding.decode(AuditFields.self, from: Array(event.record.utf8))
                if search.wants(event, fields) { found.append((event, fields)) }
            }
            if found.count >= search.limit { break }
        }
        found = Array(found.prefix(search.limit))
        var table = Table(["TIME", "WHO", "EVENT", "RESOURCE", "FROM", "OUTCOME"])
        for (event, fields) in found {
            table.add([
                event.eventTime.iso8601, event.userName ?? fields?.userIdentity.arn ?? "controller", event.eventName,
                event.resources.map(\.resourceName).joined(separator: " "), fields?.sourceIPAddress ?? "", fields?.errorCode ?? "ok",
            ])
        }
        let records = try found.map { try JSONCoding.decode(JSONValue.self, from: Array($0.event.record.utf8)) }
        try printer.data(records, table)
        return found.isEmpty ? 1 : 0
    }

    // MARK: The trail

    /// To standard output with "-", else into a folder: the trail as one file, with its last checkpoint beside it.
    package func export(to place: String, after sequence: Int64) async throws -> Int32 {
        let reader = AuditReader(api: caller.api)
        let head = try await reader.checkpoint()
        guard sequence < head.mark.sequence || sequence == 0 else {
            printer.note("There is nothing behind record \(sequence) yet.")
            return 0
        }
        if place == "-" {
            try await reader.copy(after: sequence, until: head.mark.sequence) { piece in
                guard printer.bytes(piece) else { throw CommandLineError("The export was not written to its end.") }
            }
            return 0
        }
        guard mkdir(place, 0o700) == 0 || errno == EEXIST else {
            throw CommandLineError("Cannot make the folder \(place): \(SystemError.words()).")
        }
        let file = try NewFile("\(place)/audit-\(Self.padded(max(sequence, head.removed) + 1))-\(Self.padded(head.mark.sequence)).jsonl")
        defer { file.close() }
        try await reader.copy(after: sequence, until: head.mark.sequence) { try file.write($0) }
        let checkpoint = try NewFile("\(place)/audit-\(Self.padded(head.mark.sequence)).checkpoint")
        defer { checkpoint.close() }
        try checkpoint.write(try JSONCoding.encode(head.checkpoint) + [0x0a])
        printer.out(file.path)
        printer.out(checkpoint.path)
        return 0
    }

    /// Names sort as the trail goes.
    private static func padded(_ number: Int64) -> String {
        let text = String(number)
        return String(repeating: "0", count: max(0, 12 - text.count)) + text
    }

    /// One line, for keeping elsewhere.
    package func checkpoint() async throws -> Int32 {
        let head = try await AuditReader(api: caller.api).checkpoint()
        printer.out(String(decoding: try JSONCoding.encode(head.checkpoint), as: UTF8.self))
        return 0
    }
}

/// Moments as people write them.
package enum AuditTime {
    /// ISO 8601, a day, or so long ago: 30m, 12h, 7d.
    package static func parse(_ text: String, now: Timestamp = .now()) -> Timestamp? {
        if let time = Timestamp(iso8601: text) ?? Timestamp(iso8601: text + "T00:00:00Z") { return time }
        let units: [Character: Int64] = ["s": 1, "m": 60, "h": 3_600, "d": 86_400]
        guard let last = text.last, let unit = units[last], let count = Int64(text.dropLast()), (0...1_000_000).contains(count) else {
            return nil
        }
        return now.adding(seconds: -count * unit)
    }
}
