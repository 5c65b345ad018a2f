import ArgumentParser
import MusterCommandLine

struct Copy: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "cp",
        abstract: "Copies files to or from a node, without an SSH server there.",
        usage: "muster cp [-r] [options] SOURCE … DESTINATION",
        discussion: """
            One side is NODE:PATH, relative to the home folder of the session's user; a local path with a colon in it is written ./a:b. If the \
            destination is a folder, files keep their names in it. Rights (rwx) and times are kept, links stay links, and each file is checked \
            end to end (SHA-256) before it gets its name. A copy that was interrupted goes on where it was when it is called again: what has \
            arrived of a file is kept beside it as .NAME.….muster-part.

            Examples:
              muster cp app.tar.gz web1:/srv/
              muster cp -r site web1:/var/www
              muster cp web1:/var/log/syslog .
              muster cp -r web1:conf/ backup/

            Ends with 0 if everything is there, 1 if something is not, 2 on wrong usage or a refusal, 255 if the session was lost.
            """)

    @OptionGroup var connection: SessionConnection
    @Flag(name: [.customShort("r"), .long], help: "Folders, with all that is in them.") var recursive = false
    @Flag(name: [.customShort("q"), .long], help: "No progress.") var quiet = false
    @Option(help: "Why, for the record.") var reason: String?
    @Argument(help: "What to copy, and where to.", completion: .nodesAndFiles) var paths: [String]

    func run() async throws {
        let command = CopyCommand(plan: try CopyPlan(paths), isRecursive: recursive, isQuiet: quiet, reason: reason)
        try await connection.with { try await command.run(by: $0, printer: Printer(format: .table)) }
    }
}
