import ArgumentParser
import MusterCommandLine

struct AuditGroup: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "audit",
        abstract: "The audit trail: who did what, and the proof of it.",
        subcommands: [Search.self, Export.self, Verify.self, Checkpoint.self])

    struct Search: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Lists events, newest first. Ends with 1 if there is none.",
            discussion: "With -o json each event is a whole record, in the shape of CloudTrail's.")
        @OptionGroup var connection: Connection
        @Option(help: "The event's name, as SendCommand.") var event: String?
        @Option(help: "Who: a user's name, or a node's id.") var user: String?
        @Option(help: "What it was about: a node, a command, a session, a document; its id or its ARN.") var resource: String?
        @Option(help: "The service, as ssm.amazonaws.com.") var source: String?
        @Option(help: "The access key's id.") var key: String?
        @Option(help: "The event's id.") var id: String?
        @Option(help: "Only records with this text in them.") var text: String?
        @Flag(help: "Only what was denied.") var denied = false
        @Flag(help: "Only what changed something.") var changes = false
        @Option(help: "From when on: 2026-11-28, 2026-11-28T09:00:00Z, 30m, 12h, 7d.") var since: String?
        @Option(help: "Until when.") var until: String?
        @Option(help: "How many.") var limit: Int = 50
        func run() async throws {
            var search = AuditCommands.Search()
            (search.event, search.user, search.resource, search.source) = (event, user, resource, source)
            (search.key, search.id, search.text, search.limit) = (key, id, text, limit)
            (search.isDenied, search.changesOnly) = (denied, changes)
            func time(_ text: String?, _ name: String) throws -> String? {
                guard let text else { return nil }
                guard AuditTime.parse(text) != nil else {
                    throw ValidationError("\(name) takes 2026-11-28, 2026-11-28T09:00:00Z, 30m, 12h or 7d.")
                }
                return text
            }
            search.since = try time(since, "--since").flatMap { AuditTime.parse($0) }
            search.until = try time(until, "--until").flatMap { AuditTime.parse($0) }
            let final = search
            try await connection.with { try await AuditCommands(caller: $0, printer: $1).search(final) }
        }
    }

    struct Export: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Writes the trail as JSON lines, with chain and checkpoints, into a folder or to standard output (-).")
        @OptionGroup var connection: Connection
        @Argument(help: "The folder, or -.") var place: String = "."
        @Option(help: "Only records behind this number.") var after: Int64 = 0
        func run() async throws {
            try await connection.with { try await AuditCommands(caller: $0, printer: $1).export(to: place, after: after) }
        }
    }

    struct Verify: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Proves that an audit trail is what was written, or names the first bad record.",
            discussion: """
                Of files that `export` or a delivery wrote, or folders of them, in their order; they need no controller, only its CA certificate: \
                that of the profile, or --ca. Without files it reads the controller's own trail. Checkpoints that were kept elsewhere \
                (--checkpoint) also find a tail that was cut off and a store that was rolled back. Ends with 0 if everything is proven, 1 if not.
                """)
        @OptionGroup var connection: Connection
        @Argument(help: "Files, or folders.") var names: [String] = []
        @Option(help: "A file with checkpoints from elsewhere. May be repeated.") var checkpoint: [String] = []
        @Option(help: "A PEM file with the controller's CA.") var ca: String?
        @Flag(help: "The files are a part: what is before their first record is not missed.") var part = false
        func run() async throws {
            var request = AuditCheck.Request()
            (request.names, request.checkpoints, request.authority, request.isPart) = (names, checkpoint, ca, part)
            try await connection.proving { try await AuditCheck(printer: $0).run(request, $1) }
        }
    }

    struct Checkpoint: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Prints a signed checkpoint of the trail as it is now, on one line.",
            discussion:
                "Keep it where the controller's administrators cannot reach it: `verify --checkpoint` then finds whatever they cut off.")
        @OptionGroup var connection: Connection
        func run() async throws {
            try await connection.with { try await AuditCommands(caller: $0, printer: $1).checkpoint() }
        }
    }
}
