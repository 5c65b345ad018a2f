import ArgumentParser
import Glibc
import MusterCommandLine

/// Options in, library call, words out. Exit statuses: 0 done, 1 the command did not succeed everywhere, 2 usage or refused,
/// 3 it may be running, 124 time over, 130 interrupted, 255 session lost.
@main
struct Muster: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "muster",
        abstract: "Runs commands on fleets of servers.",
        discussion: """
            Examples:
              muster login --endpoint https://controller.example.org:8443 --pin sha256:…
              muster nodes
              muster run --target tag:role=web -- uptime
              muster shell web1

            The controller and your keys come from the AWS profile (--profile, AWS_PROFILE) or from AWS_ENDPOINT_URL, AWS_CA_BUNDLE, \
            AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_DEFAULT_REGION. \
            `muster login` writes such a profile.

            Exit statuses:
              0    done
              1    a command did not succeed on every node, or not everything is there or proven
              2    wrong usage, a refusal, a controller that cannot be reached: nothing was done
              3    unknown: a command may have been accepted, or may still be running
              124  the time of --timeout was over first
              130  interrupted (128 and the number of the signal)
              255  the session was lost
              shell and exec end with the program's own status.

            Completions, where `make install` did not put them: muster --generate-completion-script bash|zsh|fish
            """,
        version: "muster \(Version.text)",
        subcommands: [
            Shell.self, Exec.self, Forward.self, SSH.self, SSHProxy.self, Copy.self, Login.self, Nodes.self, Run.self, Wait.self,
            Commands.self, ShowCommand.self, Cancel.self, Enroll.self, Deregister.self,
            TagNodes.self, GrantGroup.self, UserGroup.self, GroupGroup.self, KeyGroup.self, PolicyGroup.self, ApprovalGroup.self,
            SessionGroup.self, AuditGroup.self,
            SandboxGroup.self,
        ]
    )

    static func main() async {
        do {
            var command = try await asyncParseAsRoot()
            if var asynchronous = command as? any AsyncParsableCommand {
                try await asynchronous.run()
            } else {
                try command.run()
            }
            end(0)
        } catch let status as ExitCode {
            end(status.rawValue)
        } catch {
            // ArgumentParser knows its own errors, help and version; everything else describes itself.
            let known = exitCode(for: error)
            if known == .success {
                Printer(format: .table).out(fullMessage(for: error))
                end(0)
            }
            // What nobody could read is not explained to them.
            if !Printer(format: .table).canWrite { end(1) }
            let words = known == .validationFailure ? fullMessage(for: error) : "muster: \(Advice.words(for: error))"
            Printer(format: .table).note(words)
            end(2)
        }
    }

    /// A result that could not be written is a failure, whatever else went well.
    private static func end(_ status: Int32) -> Never {
        guard let failure = Printer.finish() else { Glibc.exit(status) }
        if let words = failure.words { Printer(format: .table).note("muster: \(words)") }
        Glibc.exit(status == 0 || failure.words == nil ? failure.status : status)
    }
}

struct Connection: ParsableArguments {
    @Option(help: "The AWS profile that names controller and keys.")
    var profile: String?

    @Option(name: [.short, .long], help: "How results are printed: table, json, yaml or csv.")
    var output: OutputFormat = .table

    func with(_ body: (Operator, Printer) async throws -> Int32) async throws {
        let status = try await Operator.with(profile: profile) { try await body($0, Printer(format: output)) }
        if status != 0 { throw ExitCode(status) }
    }

    /// For a proof, which asks a controller only for what is in no file.
    func proving(_ body: (Printer, () async throws -> Operator) async throws -> Int32) async throws {
        let status = try await body(Printer(format: output)) { try await Operator.resolved(profile: profile) }
        if status != 0 { throw ExitCode(status) }
    }
}

extension OutputFormat: ExpressibleByArgument {}

extension CompletionKind {
    /// The nodes that the controller knows.
    static var nodes: CompletionKind { .custom { words, _, prefix in await NodeCompletion.complete(prefix, in: words) } }

    /// The same, and local files: what `cp` takes.
    static var nodesAndFiles: CompletionKind {
        .custom { words, _, prefix in await NodeCompletion.completeWithFiles(prefix, in: words) }
    }

    /// The latest commands.
    static var commands: CompletionKind { .custom { words, _, prefix in await NodeCompletion.completeCommand(prefix, in: words) } }

    /// Sessions, those that run first.
    static var sessions: CompletionKind { .custom { words, _, prefix in await NodeCompletion.completeSession(prefix, in: words) } }
}
