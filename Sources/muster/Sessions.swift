import ArgumentParser
import MusterCommandLine

struct SessionGroup: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "session",
        abstract: "Sessions and their recordings.",
        subcommands: [
            List.self, Show.self, Replay.self, Verify.self, Export.self, Commitments.self, Watch.self, Terminate.self,
        ])

    struct Name: ParsableArguments {
        @Argument(help: "The session's id.", completion: .sessions) var id: String

        func session() throws -> SessionName { try SessionName(id) }
    }

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Lists the sessions that are open, then the latest that are over.")
        @OptionGroup var connection: Connection
        @Option(help: "How many.") var limit: Int = 20
        @Flag(help: "Only those that are open.") var active = false
        func run() async throws {
            try await connection.with { try await SessionCommands(caller: $0, printer: $1).list(limit: limit, active: active) }
        }
    }

    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Shows a session, its recording and what it moved.")
        @OptionGroup var connection: Connection
        @OptionGroup var name: Name
        func run() async throws {
            let session = try name.session()
            try await connection.with { try await SessionCommands(caller: $0, printer: $1).show(session) }
        }
    }

    struct Replay: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Plays a recording.",
            discussion: """
                On a terminal in the time it took: space stops and goes on, left and right go 5 s back and forth, up and down double and halve the \
                speed, q ends. What would steer the terminal (titles, clipboard, questions to it) is left out. Into a file or a pipe: all that the \
                session wrote, at once and byte for byte.
                """)
        @OptionGroup var connection: Connection
        @Argument(help: "The session's id, or a .cast file.", completion: .sessions) var id: String
        @Option(help: "How fast: 2 is twice as fast.") var speed: Double = 1
        @Option(help: "Where to begin: seconds, MM:SS or HH:MM:SS.") var from: String?
        @Option(help: "The longest pause in seconds; 0 leaves pauses as they were.") var idleLimit: Double = 0
        @Option(help: "Do not play; print when each line with this text in it was written. Ends with 1 if there is none.") var search:
            String?
        func run() async throws {
            var options = SessionCommands.Replay()
            options.speed = speed
            options.search = search
            if let from {
                guard let time = RecordingTime.parse(from) else { throw ValidationError("--from takes seconds, MM:SS or HH:MM:SS.") }
                options.from = time
            }
            guard idleLimit >= 0, idleLimit < 86_400 else { throw ValidationError("--idle-limit takes seconds.") }
            options.longestPause = Int64(idleLimit * 1_000_000)
            let final = options
            if id.hasSuffix(".cast") {
                let status = try SessionCommands.replay(id, final, Printer(format: connection.output))
                if status != 0 { throw ExitCode(status) }
                return
            }
            let session = try SessionName(id)
            try await connection.with { try await SessionCommands(caller: $0, printer: $1).replay(session, final) }
        }
    }

    struct Verify: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Proves that recordings are what was recorded, or names the first bad line.",
            discussion: """
                Files are those that `export` wrote (SESSION.cast, with .chain, .seal and .commitments beside it); they need no controller, only its \
                CA certificate: that of the profile, or --ca. Commitments that left the controller's machine in time also prove it against somebody \
                who had the controller's key. Ends with 0 if everything is proven, 1 if not.
                """)
        @OptionGroup var connection: Connection
        @Argument(help: "Sessions' ids, or files.", completion: .sessions) var names: [String]
        @Option(
            help: "Commitments from elsewhere: a file as `muster session commitments` prints it, or an audit trail (a file or a folder).")
        var commitments: String?
        @Option(help: "A PEM file with the controller's CA.") var ca: String?
        func run() async throws {
            var request = RecordingCheck.Request()
            request.names = names
            request.commitments = commitments
            request.authority = ca
            try await connection.proving { try await RecordingCheck(printer: $0).run(request, $1) }
        }
    }

    struct Export: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Writes a recording to files that asciinema plays and `verify` proves.")
        @OptionGroup var connection: Connection
        @OptionGroup var name: Name
        @Argument(help: "The folder.") var directory: String = "."
        func run() async throws {
            let session = try name.session()
            try await connection.with { try await SessionCommands(caller: $0, printer: $1).export(session, to: directory) }
        }
    }

    struct Commitments: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Prints what the audit trail says of recordings, one commitment a line.",
            discussion: "Keep them elsewhere: they prove recordings even against somebody who had the controller's key.")
        @OptionGroup var connection: Connection
        @Argument(help: "The session's id; without it, all sessions.") var id: String?
        @Option(help: "Only those behind this sequence number.") var after: Int64 = 0
        func run() async throws {
            let session = try id.map { try SessionName($0) }
            try await connection.with { try await SessionCommands(caller: $0, printer: $1).commitments(session, after: after) }
        }
    }

    struct Watch: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Shows what a running session shows, read-only, until it is over or Ctrl-C is pressed.",
            discussion: "That somebody watched stands in the audit trail and in the recording.")
        @OptionGroup var connection: Connection
        @OptionGroup var name: Name
        func run() async throws {
            let session = try name.session()
            try await connection.with { try await SessionWatch(caller: $0, printer: $1).run(session) }
        }
    }

    struct Terminate: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Ends sessions, and all that they run, at once.",
            discussion: """
                Name them, or end those of your own whose client is away (--disconnected), or all of your own (--all-mine). A session whose client \
                was killed goes on until its idle time: `muster session list` says since when it is disconnected.
                """)
        @OptionGroup var connection: Connection
        @Argument(help: "The sessions' ids.", completion: .sessions) var ids: [String] = []
        @Flag(help: "Your own whose client is away.") var disconnected = false
        @Flag(help: "All of your own.") var allMine = false

        func validate() throws {
            guard [!ids.isEmpty, disconnected, allMine].filter({ $0 }).count == 1 else {
                throw ValidationError("Say which: sessions' ids, or --disconnected, or --all-mine.")
            }
        }

        func run() async throws {
            let names = try ids.map { try SessionName($0) }
            let ending: SessionCommands.Ending = disconnected ? .disconnected : allMine ? .allMine : .named(names)
            try await connection.with { try await SessionCommands(caller: $0, printer: $1).terminate(ending) }
        }
    }
}
