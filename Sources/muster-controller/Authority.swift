import ArgumentParser
import Glibc
import MusterController

/// The certificate authority and its successor.
struct Authority: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "ca",
        abstract: "Replace the certificate authority without losing a node: prepare, switch, retire.",
        discussion: """
            Run it as the user that the controller belongs to, on its data directory. The controller may run; it takes each change \
            within a second. Each command is done or not done, whatever interrupts it, and leaves an event in the audit trail.
            """,
        subcommands: [Status.self, Prepare.self, Switch.self, Retire.self], defaultSubcommand: Status.self)

    struct Status: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Show the authorities, and the nodes that are not ready for the next step.")

        @OptionGroup var common: CommonOptions

        func run() async throws {
            ResultOutput.out(AuthorityReport(try await AuthorityAdministration(configuration: try common.configuration()).status()))
        }
    }

    struct Prepare: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Make the next authority. Nodes learn it with their renewals; hand the bundle to all operators.")

        @OptionGroup var common: CommonOptions

        func run() async throws {
            ResultOutput.out(AuthorityReport(try await AuthorityAdministration(configuration: try common.configuration()).prepare()))
        }
    }

    struct Switch: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Issue everything from the next authority. Both stay trusted.")

        @OptionGroup var common: CommonOptions

        @Flag(help: "Go on although there are nodes that do not hold the next authority.")
        var force = false

        func run() async throws {
            let outcome = try await AuthorityAdministration(configuration: try common.configuration()).switch(isForced: force)
            if let warning = AuthorityReport.warning(outcome.forced, retired: false) { complain(warning) }
            ResultOutput.out(AuthorityReport(outcome))
        }
    }

    struct Retire: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Trust the former authority no more: its certificates are refused and connections under them end at once.")

        @OptionGroup var common: CommonOptions

        @Flag(help: "Go on although there are nodes that are lost by it; they have to be registered again.")
        var force = false

        func run() async throws {
            let outcome = try await AuthorityAdministration(configuration: try common.configuration()).retire(isForced: force)
            if let warning = AuthorityReport.warning(outcome.forced, retired: true) { complain(warning) }
            ResultOutput.out(AuthorityReport(outcome))
        }
    }
}

private func complain(_ text: String) {
    let bytes = Array((text + "\n").utf8)
    _ = bytes.withUnsafeBytes { write(STDERR_FILENO, $0.baseAddress, $0.count) }
}
